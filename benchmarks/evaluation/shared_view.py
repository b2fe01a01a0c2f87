"""Which frames look at the same things, by the truth: what two cameras share says when they could be merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import Clip
from benchmarks.evaluation.phone import Phone
from mapping.transforms import F64, invert, project, unproject
from streams.frame import DepthMap

SHARED = 0.3
"""Share of a view's surface that another view must see for the two to count as shared."""
_POINTS = 300
_SAME_DEPTH = 0.1


class SharedViews:
    """How much every frame with recorded depth sees of what every other one sees, within one world's clips."""

    def __init__(self, clips: Iterable[Clip]) -> None:
        self._rows: dict[Path, tuple[int, NDArray[np.int64]]] = {}
        views: list[tuple[str, DepthMap, F64, F64]] = []
        for clip in {clip.folder: clip for clip in clips}.values():
            numbers = [i for i in range(len(clip.images)) if clip.has_depth(i) and i in clip.truth]
            self._rows[clip.folder] = len(views), np.array(numbers, np.int64)
            for i in numbers:
                depth = clip.depth(i)
                assert depth is not None
                views.append((clip.world, depth, clip.truth[i], _sampled(depth, clip.truth[i])))
        self._overlap = np.zeros((len(views), len(views)), np.float32)
        for i, (world, *_, points) in enumerate(views):
            for j, (there, depth, pose, _) in enumerate(views):
                if world == there:
                    self._overlap[i, j] = _share(points, depth, pose)

    def knows(self, phone: Phone) -> bool:
        """Whether the phone's clip has truth and depth to tell by."""
        return len(self._rows[phone.clip.folder][1]) > 0

    def between(self, a: Phone, b: Phone) -> NDArray[np.float32]:
        """(n, m) how much each frame of `a` sees of what each of `b` sees: by the nearest frames with depth."""
        return self._overlap[np.ix_(self._nearest(a, a.frames), self._nearest(b, b.frames))]

    def best(self, a: Phone, seq: int, b: Phone, others: Sequence[int]) -> tuple[int, float]:
        """The frame among `others` of `b` that sees most of what frame `seq` of `a` sees, and how much."""
        shares = self._overlap[self._nearest(a, (seq,))[0], self._nearest(b, others)]
        best = int(np.argmax(shares))
        return others[best], float(shares[best])

    def _nearest(self, phone: Phone, frames: Sequence[int]) -> NDArray[np.int64]:
        first, numbers = self._rows[phone.clip.folder]
        nearest = np.argmin(np.abs(numbers[None] - np.asarray(frames)[:, None]), axis=1)
        return np.asarray(first + nearest, np.int64)


def shared_times_s(phone: Phone, others: list[Phone], views: SharedViews) -> list[float]:
    """When, on the session's clock, the phone captured frames that see what another phone had seen by then."""
    due_s = np.array([phone.due_s(seq) for seq in phone.frames])
    is_shared = np.zeros(len(due_s), bool)
    for other in others:
        theirs_s = np.array([other.due_s(seq) for seq in other.frames])
        share = np.where(theirs_s[None] <= due_s[:, None], views.between(phone, other), 0.0)
        is_shared |= share.max(axis=1) >= SHARED
    return [float(t) for t in due_s[is_shared]]


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
