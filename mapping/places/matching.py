"""Which descriptors of two images belong together: nearest in Hamming distance, and clearly nearer than the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel

I64 = NDArray[np.int64]


def match(a: NDArray[np.uint8], b: NDArray[np.uint8], max_ratio: float, max_hamming: int) -> tuple[I64, I64]:
    """Rows (k,) of binary descriptors (n, 32) and (m, 32) that pair up, each used once (ratio test: Lowe 2004)."""
    if len(a) < 2 or len(b) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    nearest, first, second = _two_nearest(_words(a), _words(b))
    rows = np.flatnonzero((first < max_ratio * second) & (first <= max_hamming))
    rows = rows[np.argsort(first[rows], kind="stable")]
    _, best = np.unique(nearest[rows], return_index=True)  # a row of b goes to the one most like it
    rows = rows[np.sort(best)]
    return rows, nearest[rows]


def _words(descriptors: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(descriptors).view(np.uint64)


@kernel
def _num_bits(x: np.uint64) -> np.uint64:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@kernel
def _two_nearest(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> tuple[I64, NDArray[np.int32], NDArray[np.int32]]:
    """For each row of a (n, 4): the nearest row of b (m, 4), its distance, and that of the second nearest."""
    nearest, first, second = np.zeros(len(a), np.int64), np.empty(len(a), np.int32), np.empty(len(a), np.int32)
    for i in range(len(a)):
        best, next_best, at = 257, 257, 0
        for j in range(len(b)):
            bits = np.uint64(0)
            for k in range(4):
                bits += _num_bits(a[i, k] ^ b[j, k])
            distance = int(bits)
            if distance < best:
                best, next_best, at = distance, best, j
            elif distance < next_best:
                next_best = distance
        nearest[i], first[i], second[i] = at, best, next_best
    return nearest, first, second


def match_near(
    xy_a: NDArray[np.float64], a: NDArray[np.uint8], xy_b: NDArray[np.floating], b: NDArray[np.uint8], reach: float,
    max_hamming: int,
) -> tuple[I64, I64]:  # fmt: skip
    """The same where one knows where to look: features of b at (m, 2) near where a's should be (n, 2)."""
    if not len(a) or not len(b):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(xy_b[:, 0], kind="stable")
    nearest, distance = _nearest_within(xy_a, _words(a), xy_b.astype(np.float64), _words(b), order, reach)
    rows = np.flatnonzero((nearest >= 0) & (distance <= max_hamming))
    rows = rows[np.argsort(distance[rows], kind="stable")]
    _, best = np.unique(nearest[rows], return_index=True)
    rows = rows[np.sort(best)]
    return rows, nearest[rows]


@kernel
def _nearest_within(
    xy_a: NDArray[np.float64], a: NDArray[np.uint64], xy_b: NDArray[np.float64], b: NDArray[np.uint64], order: I64,
    reach: float,
) -> tuple[I64, NDArray[np.int32]]:  # fmt: skip
    """For each row of a: the row of b in reach that is most like it, -1 = none, and its distance.

    Args:
        order: rows of b by their first coordinate.
    """
    nearest, distance = np.full(len(a), -1), np.full(len(a), 257, np.int32)
    x_b = xy_b[order, 0]
    for i in range(len(a)):
        best = 257
        for k in range(np.searchsorted(x_b, xy_a[i, 0] - reach), len(b)):
            j = order[k]
            dx, dy = xy_b[j, 0] - xy_a[i, 0], xy_b[j, 1] - xy_a[i, 1]
            if dx > reach:
                break
            if dx * dx + dy * dy > reach * reach:
                continue
            bits = np.uint64(0)
            for k in range(4):
                bits += _num_bits(a[i, k] ^ b[j, k])
            if int(bits) < best:
                best, nearest[i] = int(bits), j
        distance[i] = best
    return nearest, distance


def warm_up() -> None:
    """Compile the kernels."""
    some = np.zeros((2, 32), np.uint8)
    match(some, some, 0.8, 256)
    match_near(np.zeros((2, 2)), some, np.zeros((2, 2), np.float32), some, 1.0, 256)
