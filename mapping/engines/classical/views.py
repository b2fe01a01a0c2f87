"""Which neighbours to match a keyframe against, and between which depths to look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.engines import View
from mapping.transforms import F64, invert
from streams.frame import Intrinsics

_GOOD_ANGLES_DEG = (4.0, 14.0)
_MAX_ANGLE_DEG = 35.0
_MIN_ANGLE_DEG = 0.5
_MIN_OVERLAP = 0.3
_GRID = 6
_AGAIN = 0.5
"""What seeing a point is still worth after each view that sees it already."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One keyframe at working size, straightened."""

    keyframe: KeyframeId
    gray: NDArray[np.float32]  # (h, w) levels around 0
    intrinsics: Intrinsics  # of that size, k1 = 0
    window_from_camera: F64
    landmarks: NDArray[np.float32] | None  # (n, 3) window

    @property
    def pinhole(self) -> F64:
        """(4,) fx, fy, cx, cy."""
        return np.array([self.intrinsics.fx, self.intrinsics.fy, self.intrinsics.cx, self.intrinsics.cy])

    def halved(self) -> Prepared:
        """The same view at half the size."""
        h, w = self.gray.shape
        gray = cv2.resize(self.gray, (w // 2, h // 2), interpolation=cv2.INTER_AREA)
        return replace(self, gray=np.asarray(gray, np.float32), intrinsics=self.intrinsics.scaled(w // 2, h // 2))


def prepare(view: View, intrinsics: Intrinsics, window_from_camera: F64, long_side_px: int) -> Prepared:
    """Shrink a view to working size and take the lens's distortion out."""
    height, width = view.rgb.shape[:2]
    shrink = min(1.0, long_side_px / max(height, width))
    w, h = max(16, round(width * shrink)), max(16, round(height * shrink))
    gray = cv2.resize(cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY), (w, h), interpolation=cv2.INTER_AREA)
    lens = intrinsics.scaled(w, h)
    straight = Intrinsics(lens.fx, lens.fy, lens.cx, lens.cy, w, h)
    if lens.k1:
        k = straight.matrix() - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV's pixel centres are whole
        gray = cv2.undistort(gray, k, np.array([lens.k1, 0.0, 0.0, 0.0]), None, k)
    levels = np.ascontiguousarray(gray, np.float32) - np.float32(128)
    return Prepared(view.keyframe, levels, straight, window_from_camera, view.landmarks_window)


def depth_range(reference: Prepared, default: tuple[float, float]) -> tuple[float, float]:
    """Nearest and farthest depth worth looking at, from the landmarks that the view sees, with room on both sides."""
    if reference.landmarks is None or len(reference.landmarks) < 12:
        return default
    camera = invert(reference.window_from_camera)
    z = reference.landmarks @ camera[2, :3] + camera[2, 3]
    z = z[z > 0]
    if len(z) < 12:
        return default
    near, far = (float(q) for q in np.quantile(z, (0.03, 0.97)))
    return 0.5 * near, 1.8 * far


def choose_sources(reference: Prepared, others: Sequence[Prepared], depth: float, max_sources: int) -> list[Prepared]:
    """The views that together see most of the same things from a good angle, best first; may be empty.

    One after the other, each for what it adds: what two views see already, a third one hardly improves.

    Args:
        depth: a typical depth of the reference view, in window units.
    """
    worth = _worths(reference, others, depth)
    chosen: list[int] = []
    gain = np.ones(_GRID * _GRID)
    while len(chosen) < max_sources:
        added = worth @ gain
        added[chosen] = 0.0
        if not added.any():
            break
        best = len(added) - 1 - int(np.argmax(added[::-1]))  # of equals the newest
        chosen.append(best)
        gain = np.where(worth[best] > 0, gain * _AGAIN, gain)
    return [others[n] for n in chosen]


def share_seen_twice(reference: Prepared, others: Sequence[Prepared], depth: float) -> float:
    """Share of the reference view, taken to be `depth` away, that at least two others see from a useful angle."""
    return float(np.mean(np.count_nonzero(_worths(reference, others, depth), axis=0) >= 2))


def _worths(reference: Prepared, others: Sequence[Prepared], depth: float) -> F64:
    """(others, n) what `_worth` says about a grid of points of the reference view."""
    k = reference.intrinsics
    u, v = np.meshgrid((np.arange(_GRID) + 0.5) / _GRID * k.width, (np.arange(_GRID) + 0.5) / _GRID * k.height)
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u)], axis=-1).reshape(-1, 3)
    points = (rays * depth) @ reference.window_from_camera[:3, :3].T + reference.window_from_camera[:3, 3]
    worth = [_worth(reference, other, points) for other in others]
    return np.array(worth, np.float64).reshape(len(others), len(points))


def _worth(reference: Prepared, other: Prepared, points: F64) -> F64:
    """(n,) how well the other view helps with each point: 0 unless seen, 1 where the rays' angle suits stereo."""
    camera = invert(other.window_from_camera)
    local = points @ camera[:3, :3].T + camera[:3, 3]
    z = np.maximum(local[:, 2], 1e-9)
    k = other.intrinsics
    u, v = k.fx * local[:, 0] / z + k.cx, k.fy * local[:, 1] / z + k.cy
    is_seen = (local[:, 2] > 0) & (u > 0) & (v > 0) & (u < k.width) & (v < k.height)
    a, b = points - reference.window_from_camera[:3, 3], points - other.window_from_camera[:3, 3]
    cosine = np.sum(a * b, axis=1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    angle_deg = float(np.degrees(np.median(np.arccos(np.clip(cosine, -1.0, 1.0)))))
    is_turned = other.gray.shape != reference.gray.shape  # the phone was turned in between
    if is_turned or np.mean(is_seen) < _MIN_OVERLAP or not _MIN_ANGLE_DEG < angle_deg < _MAX_ANGLE_DEG:
        return np.zeros(len(points))
    low, high = _GOOD_ANGLES_DEG
    quality = min(1.0, angle_deg / low, (_MAX_ANGLE_DEG - angle_deg) / (_MAX_ANGLE_DEG - high))
    return np.where(is_seen, quality, 0.0)
