"""What a camera hands over: pixels, the instant they were captured, and whatever else it happens to know.

Images are (height, width); pixels are (u, v) with centres at +0.5. Times are Unix nanoseconds on the server's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NewType

import cv2
import numpy as np
from numpy.typing import NDArray

StreamId = NewType("StreamId", str)
"""Names one camera's connection; unguessable when the server made it."""

SceneId = NewType("SceneId", str)
"""Names one shared map."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Pinhole camera of ONE image size: `u = fx * x / z + cx` in pixels, one radial term `k1` (OpenCV's model)."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    k1: float = 0.0

    @classmethod
    def from_fov(cls, width: int, height: int, long_side_fov_deg: float = 66.0) -> Intrinsics:
        """Guess a camera from the field of view of its long side (phones: 60-70 degrees)."""
        focal_px = 0.5 * max(width, height) / float(np.tan(np.radians(long_side_fov_deg) / 2))
        return cls(focal_px, focal_px, width / 2, height / 2, width, height)

    def scaled(self, width: int, height: int) -> Intrinsics:
        """The same camera at another image size (whole image kept, no crop)."""
        su, sv = width / self.width, height / self.height
        return replace(
            self, fx=self.fx * su, fy=self.fy * sv, cx=self.cx * su, cy=self.cy * sv, width=width, height=height
        )

    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) K for pixel centres at +0.5."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


class Image:
    """Pixels of one frame, converted at most once to each form that somebody asks for; read-only by contract."""

    def __init__(self, *, rgb: NDArray[np.uint8] | None = None, i420: NDArray[np.uint8] | None = None) -> None:
        """Take (h, w, 3) RGB or the (h * 3 / 2, w) I420 planes a video decoder delivers.

        Raises:
            ValueError: neither or both were given, or the shape fits neither form.
        """
        if (rgb is None) == (i420 is None):
            raise ValueError("give exactly one of rgb and i420")
        if rgb is not None and (rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8):
            raise ValueError(f"rgb must be (h, w, 3) uint8, got {rgb.shape} {rgb.dtype}")
        if i420 is not None and (i420.ndim != 2 or i420.shape[0] % 3 or i420.dtype != np.uint8):
            raise ValueError(f"i420 must be (h * 3 / 2, w) uint8, got {i420.shape} {i420.dtype}")
        self._rgb, self._i420 = rgb, i420

    @property
    def height(self) -> int:
        return int(self._rgb.shape[0] if self._rgb is not None else self._planes().shape[0] * 2 // 3)

    @property
    def width(self) -> int:
        return int(self._rgb.shape[1] if self._rgb is not None else self._planes().shape[1])

    @property
    def nbytes(self) -> int:
        return self._rgb.nbytes if self._rgb is not None else self._planes().nbytes

    @cached_property
    def gray(self) -> NDArray[np.uint8]:
        """(h, w) luma; a view of the Y plane when the image came from a decoder."""
        if self._i420 is not None:
            return self._i420[: self.height]
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(h, w, 3) RGB."""
        if self._rgb is not None:
            return self._rgb
        return np.asarray(cv2.cvtColor(self._planes(), cv2.COLOR_YUV2RGB_I420), dtype=np.uint8)

    def _planes(self) -> NDArray[np.uint8]:
        assert self._i420 is not None
        return self._i420


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Depth along the optical axis in metres, 0 = unknown, in the camera's own axes but maybe at another size."""

    z_m: NDArray[np.float32]  # (h, w)
    intrinsics: Intrinsics  # of this map's size
    confidence: NDArray[np.float32] | None = None  # (h, w) in 0..1; None = 1 wherever depth is known


@dataclass(frozen=True, slots=True, eq=False)
class GivenPose:
    """A pose the source brings itself (WebXR, an AR app, a recording), with the trust it claims."""

    world_from_camera: NDArray[np.float64]  # (4, 4) metres, +Y up world of the SOURCE, OpenCV camera axes
    sigma_m: float = 0.02
    sigma_rad: float = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What the phone's own sensors say at the frame's instant, in OpenCV camera axes."""

    up_camera: NDArray[np.float64] | None = None  # (3,) unit vector against gravity
    rate_camera_rad_s: NDArray[np.float64] | None = None  # (3,) angular velocity of the camera


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded image with the instant of its capture; everything but pixels and time is optional."""

    stream: StreamId
    seq: int
    """Counts the frames this source delivered, from 0; gaps are frames that were dropped."""
    capture_ns: int
    """Server clock at exposure, as well as the source lets us know it."""
    received_ns: int
    """Server clock when the decoded frame reached us."""
    image: Image
    intrinsics: Intrinsics | None = None
    pose: GivenPose | None = None
    depth: DepthMap | None = None
    motion: Motion | None = None
    encoded_ns: int = 0
    """Server clock when its last packet arrived; 0 = it did not come encoded. Decoding lasted until `received_ns`."""
    camera: str = ""
    """Names device and lens where the source knows; what is learnt of a lens holds for all frames of its name."""
