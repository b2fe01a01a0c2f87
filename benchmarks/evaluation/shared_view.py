"""Which frames of a clip look at the same things, by the truth: what two cameras share says when they could merge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import Clip
from benchmarks.evaluation.phone import Phone
from mapping.transforms import F64, invert, project, unproject
from streams.frame import DepthMap

SHARED = 0.3
"""Share of a view's surface that another view must see for the two to count as shared."""
_POINTS = 400
_SAME_DEPTH = 0.1


class SharedViews:
    """How much every frame with recorded depth sees of what every other one sees."""

    def __init__(self, clip: Clip) -> None:
        self._numbers = np.array([i for i in range(len(clip.images)) if clip.has_depth(i) and i in clip.truth])
        views = []
        for i in self._numbers.tolist():
            depth = clip.depth(i)
            assert depth is not None
            views.append((depth, clip.truth[i], _sampled(depth, clip.truth[i])))
        self._overlap = np.array([[_share(points, depth, pose) for depth, pose, _ in views] for *_, points in views])

    @property
    def known(self) -> bool:
        """Whether the clip has truth and depth to tell by."""
        return len(self._numbers) > 0

    def overlap(self, a: int, b: int) -> float:
        """Share of what frame `a` sees that frame `b` sees too, by the nearest frames with depth."""
        return float(self._overlap[self._nearest(a), self._nearest(b)])

    def best(self, a: int, others: NDArray[np.int64]) -> tuple[int, float]:
        """The frame of `others` that sees most of what frame `a` sees, and how much."""
        shares = self._overlap[self._nearest(a), [self._nearest(int(b)) for b in others]]
        best = int(np.argmax(shares))
        return int(others[best]), float(shares[best])

    def _nearest(self, frame: int) -> int:
        return int(np.argmin(np.abs(self._numbers - frame)))


def shared_times_s(phone: Phone, others: list[Phone], views: SharedViews) -> list[float]:
    """When, on the session's clock, the phone captured frames that see what another phone had seen by then."""
    seen = [(other.due_s(seq), seq) for other in others for seq in other.frames]
    times = []
    for seq in phone.frames:
        now_s = phone.due_s(seq)
        earlier = np.array(sorted({s for due_s, s in seen if due_s <= now_s}), np.int64)
        if len(earlier) and views.best(seq, earlier)[1] >= SHARED:
            times.append(now_s)
    return times


def _sampled(depth: DepthMap, pose: F64) -> F64:
    points = unproject(depth.z_m, depth.intrinsics)[depth.z_m > 0].astype(np.float64)
    points = points[:: max(1, len(points) // _POINTS)]
    return np.asarray(points @ pose[:3, :3].T + pose[:3, 3])


def _share(points_world: F64, depth: DepthMap, pose: F64) -> float:
    """Share of points (n, 3) that a depth frame sees: in its picture, and at about the depth it measured there."""
    if not len(points_world):
        return 0.0
    camera_from_world = invert(pose)
    inside = points_world @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    uv = np.floor(np.nan_to_num(project(inside, depth.intrinsics), nan=-1.0)).astype(np.int64)
    h, w = depth.z_m.shape
    ok = (inside[:, 2] > 0.1) & (uv[:, 0] >= 0) & (uv[:, 0] < w) & (uv[:, 1] >= 0) & (uv[:, 1] < h)
    z = inside[ok, 2]
    measured = depth.z_m[uv[ok, 1], uv[ok, 0]]
    return float(np.count_nonzero(np.abs(measured - z) < _SAME_DEPTH * z)) / len(points_world)
