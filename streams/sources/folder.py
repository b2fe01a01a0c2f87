"""A recorded folder: `rgb/NNNNNN.jpg`, and beside it what else is known of the camera.

- `camera.json`: `fps`, `rgb` intrinsics, `depth` intrinsics with `scale` (metres a count) and `invalid` counts.
- `depth/NNNNNN.png`: 16 bit, for some of the frames. Its camera is taken to stand where the colour camera stands.
- `groundtruth.txt`: TUM lines `timestamp tx ty tz qx qy qz qw`, world_from_camera, OpenCV camera axes.

Frame i has time i / fps. `gravity_down_world` in camera.json, if present, turns the world so that +Y is up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.clock import NS_PER_S
from streams.encoded import PictureError, decode_depth, decode_rgb
from streams.frame import DepthMap, Frame, GivenPose, Image, Intrinsics, StreamId
from streams.poses import PoseError, rigid_from_quaternion
from streams.sources import SourceError

MAX_TEXT_BYTES = 64 * 1024 * 1024
MAX_TRAJECTORY = 1_000_000
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Side = Annotated[int, msgspec.Meta(gt=0, le=16384)]


class CameraSpec(msgspec.Struct, frozen=True):
    """Intrinsics in pixels of one image size."""

    width: Side
    height: Side
    fx: Positive
    fy: Positive
    cx: Positive
    cy: Positive
    k1: Annotated[float, msgspec.Meta(ge=-2, le=2)] = 0.0

    def intrinsics(self) -> Intrinsics:
        return Intrinsics(self.fx, self.fy, self.cx, self.cy, self.width, self.height, self.k1)


class DepthSpec(CameraSpec, frozen=True):
    scale: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.001
    """Metres a count."""
    invalid: Annotated[tuple[int, ...], msgspec.Meta(max_length=64)] = (0,)
    """Counts that stand for unknown."""


class RecordingSpec(msgspec.Struct, frozen=True):
    """What camera.json says; more is allowed in it and ignored."""

    fps: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 30.0
    rgb: CameraSpec | None = None
    depth: DepthSpec | None = None
    gravity_down_world: tuple[float, float, float] | None = None


def read_camera(text: bytes) -> RecordingSpec:
    """Read a camera.json.

    Raises:
        SourceError: it is not JSON, or a value in it cannot be.
    """
    try:
        return msgspec.json.decode(text, type=RecordingSpec)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"camera.json: {error}") from error


def read_trajectory(text: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read TUM lines: times (n,) in s, rising, and world_from_camera (n, 4, 4).

    Raises:
        SourceError: a line is malformed or out of order; the message names it.
    """
    times: list[float] = []
    poses: list[NDArray[np.float64]] = []
    for number, line in enumerate(text.decode("utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            time_s, tx, ty, tz, qx, qy, qz, qw = (float(field) for field in line.split())
            poses.append(rigid_from_quaternion((tx, ty, tz), (qw, qx, qy, qz)))
        except (PoseError, ValueError) as error:
            raise SourceError(f"groundtruth.txt, line {number}: {error}") from error
        if not np.isfinite(time_s) or (times and time_s <= times[-1]):
            raise SourceError(f"groundtruth.txt, line {number}: times must rise")
        times.append(time_s)
        if len(times) > MAX_TRAJECTORY:
            raise SourceError(f"groundtruth.txt: more than {MAX_TRAJECTORY} poses")
    return np.array(times), np.array(poses).reshape(-1, 4, 4)


class FolderSource:
    """Plays a recorded folder: pixels only, or (`posed`) with the poses and depth that were recorded."""

    live = False

    def __init__(
        self, path: Path, stream: StreamId, intrinsics: Intrinsics | None = None, *, posed: bool = False
    ) -> None:
        self._path, self._stream, self._posed = path, stream, posed
        self._images = sorted(p for p in (path / "rgb").glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not self._images:
            raise SourceError(f"{path}: there is no rgb/NNNNNN.jpg in it")
        camera = path / "camera.json"
        self.spec = read_camera(_read(camera)) if camera.exists() else RecordingSpec()
        known = self.spec.rgb.intrinsics() if self.spec.rgb else None
        if known is not None and intrinsics is not None and not _is_same_lens(known, intrinsics):
            raise SourceError(
                f"{camera} knows another camera ({_in_words(known)}) than the one given ({_in_words(intrinsics)}); "
                "give none, or mend `rgb` in that file"
            )
        self._intrinsics = known or intrinsics
        self._times_s, self._poses = np.empty(0), np.empty((0, 4, 4))
        if posed:
            if not (path / "groundtruth.txt").exists():
                raise SourceError(f"{path}: it has no groundtruth.txt, so play it without its poses")
            self._times_s, self._poses = read_trajectory(_read(path / "groundtruth.txt"))
            self._poses = _upright(self.spec.gravity_down_world) @ self._poses
        self._closed = False
        self._dropped = 0

    @property
    def num_frames(self) -> int | None:
        return len(self._images)

    @property
    def dropped(self) -> int:
        return self._dropped

    @property
    def ended_early(self) -> str | None:
        """Always None: a folder has as many frames as it has."""
        return None

    def close(self) -> None:
        self._closed = True

    def frames(self) -> Iterator[Frame]:
        """See `Source.frames`. With `posed`, frames without a recorded pose come without one."""
        for seq, path in enumerate(self._images):
            if self._closed:
                return
            time_ns = round(seq / self.spec.fps * NS_PER_S)
            try:
                rgb = decode_rgb(_read(path))
                depth = self._depth(path.stem) if self._posed else None
            except PictureError:
                self._dropped += 1
                continue
            yield Frame(
                stream=self._stream,
                seq=seq,
                capture_ns=time_ns,
                received_ns=time_ns,
                image=Image(rgb=rgb),
                intrinsics=self._intrinsics and self._intrinsics.scaled(rgb.shape[1], rgb.shape[0]),
                pose=self._pose(seq / self.spec.fps),
                depth=depth,
            )
        if self._dropped == len(self._images):
            raise SourceError(f"{self._path}: none of its {self._dropped} images can be decoded")

    def _pose(self, time_s: float) -> GivenPose | None:
        """The pose recorded within half a frame of that time."""
        if not len(self._times_s):
            return None
        i = min(bisect_left(self._times_s, time_s), len(self._times_s) - 1)
        nearest = min({max(i - 1, 0), i}, key=lambda j: abs(float(self._times_s[j]) - time_s))
        if abs(float(self._times_s[nearest]) - time_s) > 0.5 / self.spec.fps:
            return None
        return GivenPose(self._poses[nearest])

    def _depth(self, stem: str) -> DepthMap | None:
        path = self._path / "depth" / f"{stem}.png"
        spec = self.spec.depth
        if spec is None or not path.exists():
            return None
        z_m = decode_depth(_read(path), spec.scale, spec.invalid)
        return DepthMap(z_m, spec.intrinsics().scaled(z_m.shape[1], z_m.shape[0]))


def _is_same_lens(a: Intrinsics, b: Intrinsics) -> bool:
    """Within a pixel, at the first one's size."""
    b = b.scaled(a.width, a.height)
    return bool(np.allclose((a.fx, a.fy, a.cx, a.cy), (b.fx, b.fy, b.cx, b.cy), atol=1.0, rtol=0.0))


def _in_words(k: Intrinsics) -> str:
    return f"fx={k.fx:g} fy={k.fy:g} cx={k.cx:g} cy={k.cy:g} at {k.width}x{k.height}"


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise SourceError(f"{path}: larger than {MAX_TEXT_BYTES} bytes")
    return path.read_bytes()


def _upright(down_world: tuple[float, float, float] | None) -> NDArray[np.float64]:
    """Rotation (4, 4) that turns the recorded world so that `down_world` points along -Y."""
    out = np.eye(4)
    if down_world is None:
        return out
    up = -np.asarray(down_world) / np.linalg.norm(down_world)
    axis, cosine = np.cross(up, [0.0, 1.0, 0.0]), float(up[1])
    rotation, _ = cv2.Rodrigues(axis / max(float(np.linalg.norm(axis)), 1e-12) * np.arccos(np.clip(cosine, -1.0, 1.0)))
    out[:3, :3] = rotation if cosine > -1 + 1e-9 else np.diag([1.0, -1.0, -1.0])
    return out
