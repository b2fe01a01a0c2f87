"""Semi-global matching (Hirschmueller 2008): smooth depth out of a score volume, along four paths through the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.engines.classical.sweep import NO_SCORE
from mapping.kernels import fast_kernel

_EDGE_LEVELS = 12.0
"""A gray-level step of this size halves the price of a jump in depth: jumps like to be where the image has edges."""


@fast_kernel
def _step(
    score: NDArray[np.float32],
    before: NDArray[np.float32],
    now: NDArray[np.float32],
    total: NDArray[np.float32],
    p1: float,
    p2: float,
) -> None:
    """One pixel further along a path: `now` (d,) from `before` (d,), added to `total` (d,)."""
    num = len(score)
    least = before[0]
    for d in range(1, num):
        least = min(least, before[d])
    jump = least + np.float32(p2)
    small = np.float32(p1)
    for d in range(num):
        cost = min(before[d], jump)
        if d > 0:
            cost = min(cost, before[d - 1] + small)
        if d < num - 1:
            cost = min(cost, before[d + 1] + small)
        unlike = np.float32(1.0) - score[d] if score[d] > NO_SCORE else np.float32(1.0)
        now[d] = unlike + cost - least
        total[d] += now[d]


@fast_kernel
def _jump_price(image: NDArray[np.float32], v0: int, u0: int, v1: int, u1: int, p1: float, p2: float) -> float:
    return float(max(p1 * 1.5, p2 / (1.0 + abs(image[v0, u0] - image[v1, u1]) / _EDGE_LEVELS)))


@fast_kernel
def along_rows(
    score: NDArray[np.float32],
    image: NDArray[np.float32],
    p1: float,
    p2: float,
    first: int,
    stop: int,
    total: NDArray[np.float32],
) -> None:
    """Add the costs of both paths along rows first..stop-1 to `total` (h, w, d)."""
    _, w, num = score.shape
    a, b = np.zeros(num, np.float32), np.zeros(num, np.float32)
    for v in range(first, stop):
        for direction in range(2):
            a[:] = 0.0
            for n in range(w):
                u = n if direction == 0 else w - 1 - n
                price = p2 if n == 0 else _jump_price(image, v, u, v, u - 1 if direction == 0 else u + 1, p1, p2)
                _step(score[v, u], a, b, total[v, u], p1, price)
                a, b = b, a


@fast_kernel
def along_columns(
    score: NDArray[np.float32],
    image: NDArray[np.float32],
    p1: float,
    p2: float,
    first: int,
    stop: int,
    total: NDArray[np.float32],
) -> None:
    """Add the costs of both paths along columns first..stop-1 to `total` (h, w, d)."""
    h, _, num = score.shape
    a, b = np.zeros((stop - first, num), np.float32), np.zeros((stop - first, num), np.float32)
    for direction in range(2):
        a[:] = 0.0
        for n in range(h):
            v = n if direction == 0 else h - 1 - n
            for u in range(first, stop):
                price = p2 if n == 0 else _jump_price(image, v, u, v - 1 if direction == 0 else v + 1, u, p1, p2)
                _step(score[v, u], a[u - first], b[u - first], total[v, u], p1, price)
            a, b = b, a


@fast_kernel
def winners(
    score: NDArray[np.float32], total: NDArray[np.float32], min_score: float, min_margin: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The cheapest hypothesis of each pixel, refined by a parabola, and by how much it won.

    Unknown (-1, 0) where the winner is the first or last hypothesis (the truth may lie beyond), where its own match is
    poor, or where a hypothesis elsewhere is about as cheap.

    Returns:
        index (h, w) in hypotheses, -1 = unknown; margin (h, w): how much more, relatively, the best rival costs.
    """
    h, w, num = score.shape
    index, margins = np.full((h, w), -1.0, np.float32), np.zeros((h, w), np.float32)
    for v in range(h):
        for u in range(w):
            cost = total[v, u]
            d = 0
            for n in range(1, num):
                if cost[n] < cost[d]:
                    d = n
            if d == 0 or d == num - 1 or score[v, u, d] < min_score:
                continue
            rival = np.float32(np.inf)
            for n in range(num):
                if abs(n - d) > 2:
                    rival = min(rival, cost[n])
            margin = (rival - cost[d]) / max(cost[d], np.float32(0.05))
            if margin < min_margin:
                continue
            bend = cost[d - 1] - 2.0 * cost[d] + cost[d + 1]
            index[v, u] = d + (0.5 * (cost[d - 1] - cost[d + 1]) / bend if bend > 1e-6 else 0.0)
            margins[v, u] = margin
    return index, margins
