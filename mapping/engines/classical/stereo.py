"""Depth of one prepared view from its neighbours: sweep, smooth, decide, clean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.engines.classical import semiglobal
from mapping.engines.classical.config import Config
from mapping.engines.classical.sweep import NO_SCORE, fill_in, patch_statistics, sweep
from mapping.engines.classical.views import Prepared
from mapping.transforms import F64, invert


class Stereo:
    """Plane-sweep stereo on a few threads; the same images give the same depth, however many there are."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._executor: Executor = ThreadPoolExecutor(config.threads, thread_name_prefix="stereo")

    def depth(
        self, reference: Prepared, sources: Sequence[Prepared], depth_range: tuple[float, float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth (h, w) in window units, 0 = unknown, and the margin (h, w) by which it won; all 0 without sources."""
        h, w = reference.gray.shape
        if not sources:
            return np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
        config = self._config
        inverse = np.linspace(1.0 / depth_range[1], 1.0 / depth_range[0], config.hypotheses)
        score = self._scores(reference, sources, inverse)
        total = np.zeros_like(score)
        p1, p2 = config.smooth_small, config.smooth_jump
        self._spread(h, lambda i, j: semiglobal.along_rows(score, reference.gray, p1, p2, i, j, total))
        self._spread(w, lambda i, j: semiglobal.along_columns(score, reference.gray, p1, p2, i, j, total))
        index, margin = semiglobal.winners(score, total, config.min_score, config.min_margin)
        index = _without_speckles(index, round(config.max_speckle * h * w))
        known = index >= 0
        steps = np.interp(index, np.arange(config.hypotheses), inverse)
        depth = np.where(known, 1.0 / steps, 0.0).astype(np.float32)
        return depth, np.where(known, margin, 0.0).astype(np.float32)

    def _scores(self, reference: Prepared, sources: Sequence[Prepared], inverse: F64) -> NDArray[np.float32]:
        """(h, w, d) match of every pixel at every inverse depth; bare patches are judged at half the size."""
        fine = self._sweep(reference, sources, inverse)
        coarse = self._sweep(reference.halved(), [source.halved() for source in sources], inverse)
        self._spread(len(fine), lambda i, j: fill_in(fine, coarse, i, j))
        return fine

    def _sweep(self, reference: Prepared, sources: Sequence[Prepared], inverse: F64) -> NDArray[np.float32]:
        radius = self._config.patch_radius_px
        score = np.full((*reference.gray.shape, len(inverse)), NO_SCORE, np.float32)
        mean, std = patch_statistics(reference.gray, radius)
        a, b = _plane_maps(reference, sources)
        images = np.stack([source.gray for source in sources])
        self._spread(
            len(inverse), lambda i, j: sweep(reference.gray, mean, std, images, a, b, inverse, i, j, radius, score)
        )
        return score

    def _spread(self, total: int, work: Callable[[int, int], None]) -> None:
        """Run `work(first, stop)` over 0..total in as many pieces as there are threads."""
        bounds = np.linspace(0, total, self._config.threads + 1).astype(int).tolist()
        jobs = [self._executor.submit(work, i, j) for i, j in pairwise(bounds) if j > i]
        for job in jobs:
            job.result()


def _plane_maps(reference: Prepared, sources: Sequence[Prepared]) -> tuple[F64, F64]:
    """(n, 3, 3) and (n, 3): reference pixel p at inverse depth q lies at `A p + q b` in source n (homogeneous)."""
    from_reference = np.linalg.inv(reference.intrinsics.matrix())
    relative = [invert(source.window_from_camera) @ reference.window_from_camera for source in sources]
    cameras = [source.intrinsics.matrix() for source in sources]
    a = np.stack([k @ t[:3, :3] @ from_reference for k, t in zip(cameras, relative, strict=True)])
    return a, np.stack([k @ t[:3, 3] for k, t in zip(cameras, relative, strict=True)])


def _without_speckles(index: NDArray[np.float32], max_px: int) -> NDArray[np.float32]:
    """Make small islands of equal depth unknown: chance matches come in small islands, surfaces do not."""
    fixed = np.round(index * 16).astype(np.int16)
    fixed[index < 0] = -16
    cv2.filterSpeckles(fixed, -16, max_px, 24)
    return np.where(fixed < 0, np.float32(-1), index)
