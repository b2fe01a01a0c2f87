"""Whether views agree about depth: what one claims to see the others must see, or something nearer.

Who walks through the picture is seen through: views from a moment before show what lies behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import fast_kernel
from mapping.transforms import F64, invert
from streams.frame import Intrinsics

F32 = NDArray[np.float32]
_MIN_HEARD = 200


@dataclass(frozen=True, slots=True, eq=False)
class PosedDepth:
    """A view's depth, and where it was seen from."""

    window_from_camera: F64  # (4, 4)
    camera: Intrinsics  # of the depth map's size
    depth: F32  # (h, w) in the pose's unit, 0 = unknown


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What others said about each pixel of a view."""

    error: F32  # (h, w) relative difference in depth, the mean over those who see the same surface; 0 = nobody does
    agree: NDArray[np.int16]  # (h, w) how many do
    through: NDArray[np.int16]  # (h, w) how many see something clearly farther along the same line

    @property
    def is_refuted(self) -> NDArray[np.bool_]:
        """(h, w) where more views look through than agree."""
        return np.asarray(self.through > self.agree)

    def factor(self, certainty: F32) -> float | None:
        """Median of error times the network's certainty (h, w); None where too few pixels were heard about."""
        known = self.agree > 0
        if np.count_nonzero(known) < _MIN_HEARD:
            return None
        return float(np.median(self.error[known] * certainty[known]))


def hear(view: PosedDepth, others: Sequence[PosedDepth], reach: float) -> Heard:
    """Ask others about a view.

    Args:
        reach: relative difference in depth beyond which two pixels are not of one surface.
    """
    shape = view.depth.shape
    error, agree, through = np.zeros(shape, np.float32), np.zeros(shape, np.int16), np.zeros(shape, np.int16)
    for other in others:
        other_from_camera = invert(other.window_from_camera) @ view.window_from_camera
        _ask(
            view.depth, _pinhole(view.camera), other_from_camera, other.depth, _pinhole(other.camera), reach,
            error, agree, through,
        )  # fmt: skip
    return Heard(np.divide(error, np.maximum(agree, 1), dtype=np.float32), agree, through)


def _pinhole(camera: Intrinsics) -> F64:
    return np.array([camera.fx, camera.fy, camera.cx, camera.cy])


@fast_kernel
def _ask(
    depth: F32,
    k: F64,
    other_from_camera: F64,
    other_depth: F32,
    other_k: F64,
    reach: float,
    error: F32,
    agree: NDArray[np.int16],
    through: NDArray[np.int16],
) -> None:
    """Add what one other view says; where it knows nothing or sees something nearer, it says nothing.

    Args:
        k, other_k: (4,) fx, fy, cx, cy.
    """
    h, w = depth.shape
    other_h, other_w = other_depth.shape
    r = other_from_camera
    for v in range(h):
        for u in range(w):
            z = depth[v, u]
            if not z > 0.0:
                continue
            x, y = (u + 0.5 - k[2]) / k[0] * z, (v + 0.5 - k[3]) / k[1] * z
            oz = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + r[2, 3]
            if oz < 1e-9:
                continue
            ou = (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + r[0, 3]) / oz * other_k[0] + other_k[2]
            ov = (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + r[1, 3]) / oz * other_k[1] + other_k[3]
            if ou < 0.0 or ov < 0.0 or ou >= other_w or ov >= other_h:
                continue
            seen = other_depth[int(ov), int(ou)]
            if not seen > 0.0:
                continue
            off = (seen - oz) / oz
            if abs(off) <= reach:
                error[v, u] += abs(off)
                agree[v, u] += 1
            elif off > 0.0:
                through[v, u] += 1
