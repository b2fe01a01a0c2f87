"""Plane sweep (Collins 1996): how well each pixel matches its neighbours' images at each hypothesised depth.

The reference view's fronto-parallel plane at inverse depth q maps its pixel p to a source's pixel by
`A p + q b` (homogeneous), A = Ks R inv(Kr), b = Ks t. Match quality is ZNCC over a square patch; a pixel's score is the
mean of its two best sources, so that a source in which it is hidden does not count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import fast_kernel

NO_SCORE = -2.0
"""Stands where no source sees the patch, or the patch has no texture."""
MIN_STD = 1.2
"""Patches with less contrast, in gray levels, match anything: their scores would be noise."""


@fast_kernel
def patch_statistics(image: NDArray[np.float32], radius: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation (h, w) of the patch around each pixel; 0 within `radius` of the border."""
    h, w = image.shape
    mean, std = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    count = (2 * radius + 1) ** 2
    for v in range(radius, h - radius):
        for u in range(radius, w - radius):
            total = squares = 0.0
            for y in range(v - radius, v + radius + 1):
                for x in range(u - radius, u + radius + 1):
                    total += image[y, x]
                    squares += image[y, x] * image[y, x]
            m = total / count
            mean[v, u] = m
            std[v, u] = np.sqrt(max(squares / count - m * m, 0.0))
    return mean, std


@fast_kernel
def _warp(
    source: NDArray[np.float32],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    q: float,
    warped: NDArray[np.float32],
    inside: NDArray[np.float32],
) -> None:
    """Bring a source image to the reference view's pixels over the plane at inverse depth q; `inside` is 1 or 0."""
    h, w = warped.shape
    source_h, source_w = source.shape
    for v in range(h):
        x = a[0, 0] * 0.5 + a[0, 1] * (v + 0.5) + a[0, 2] + q * b[0]
        y = a[1, 0] * 0.5 + a[1, 1] * (v + 0.5) + a[1, 2] + q * b[1]
        z = a[2, 0] * 0.5 + a[2, 1] * (v + 0.5) + a[2, 2] + q * b[2]
        for u in range(w):
            zi = 1.0 / z if z > 1e-9 else -1.0
            fx, fy = x * zi - 0.5, y * zi - 0.5
            x += a[0, 0]
            y += a[1, 0]
            z += a[2, 0]
            if zi > 0.0 and fx >= 0.0 and fy >= 0.0 and fx < source_w - 1 and fy < source_h - 1:
                i, j = int(fx), int(fy)
                du, dv = np.float32(fx - i), np.float32(fy - j)
                top = source[j, i] + du * (source[j, i + 1] - source[j, i])
                bottom = source[j + 1, i] + du * (source[j + 1, i + 1] - source[j + 1, i])
                warped[v, u] = top + dv * (bottom - top)
                inside[v, u] = 1.0
            else:
                warped[v, u] = 0.0
                inside[v, u] = 0.0


@fast_kernel
def sweep(
    reference: NDArray[np.float32],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    sources: NDArray[np.float32],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    inverse_depths: NDArray[np.float64],
    first: int,
    stop: int,
    radius: int,
    score: NDArray[np.float32],
) -> None:
    """Fill `score` (h, w, d) for hypotheses first..stop-1, in -1..1 or NO_SCORE.

    Args:
        reference: (h, w) gray levels around 0, with the patch statistics `mean` and `std`.
        sources: (n, hs, ws) gray levels around 0.
        a: (n, 3, 3), b: (n, 3): see above.
    """
    h, w = reference.shape
    size = 2 * radius + 1
    count = np.float32(size * size)
    warped, inside = np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    best, second = np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    columns = np.empty((4, w), np.float32)  # sums over the patch's rows: source, its square, product, pixels inside
    for d in range(first, stop):
        best[:] = NO_SCORE
        second[:] = NO_SCORE
        for n in range(len(sources)):
            _warp(sources[n], a[n], b[n], inverse_depths[d], warped, inside)
            columns[:] = 0.0
            for v in range(h):
                for u in range(w):
                    s, r = warped[v, u], reference[v, u]
                    columns[0, u] += s
                    columns[1, u] += s * s
                    columns[2, u] += s * r
                    columns[3, u] += inside[v, u]
                if v >= size:
                    for u in range(w):
                        s, r = warped[v - size, u], reference[v - size, u]
                        columns[0, u] -= s
                        columns[1, u] -= s * s
                        columns[2, u] -= s * r
                        columns[3, u] -= inside[v - size, u]
                if v < size - 1:
                    continue
                row = v - radius
                s1 = s2 = s12 = seen = np.float32(0.0)
                for u in range(w):
                    s1 += columns[0, u]
                    s2 += columns[1, u]
                    s12 += columns[2, u]
                    seen += columns[3, u]
                    if u >= size:
                        s1 -= columns[0, u - size]
                        s2 -= columns[1, u - size]
                        s12 -= columns[2, u - size]
                        seen -= columns[3, u - size]
                    at = u - radius
                    if u < size - 1 or seen < count - 0.5 or std[row, at] < MIN_STD:
                        continue
                    m = s1 / count
                    variance = s2 / count - m * m
                    if variance < MIN_STD * MIN_STD:
                        continue
                    zncc = (s12 / count - m * mean[row, at]) / (std[row, at] * np.sqrt(variance))
                    if zncc > best[row, at]:
                        second[row, at] = best[row, at]
                        best[row, at] = zncc
                    elif zncc > second[row, at]:
                        second[row, at] = zncc
        for v in range(h):
            for u in range(w):
                one, two = best[v, u], second[v, u]
                score[v, u, d] = 0.5 * (one + two) if two > NO_SCORE else one


@fast_kernel
def fill_in(score: NDArray[np.float32], coarse: NDArray[np.float32], first: int, stop: int) -> None:
    """Where rows first..stop-1 of `score` (h, w, d) have none, take that of `coarse` (h / 2, w / 2, d), interpolated.

    A patch of an image of half the size covers four times the ground: it finds texture where the fine one finds none.
    """
    _, w, num = score.shape
    coarse_h, coarse_w, _ = coarse.shape
    half = np.float32(0.5)
    for v in range(first, stop):
        y = min(max(0.5 * v - 0.25, 0.0), coarse_h - 1.0)
        j = min(int(y), coarse_h - 2)
        dv = np.float32(y - j)
        for u in range(w):
            x = min(max(0.5 * u - 0.25, 0.0), coarse_w - 1.0)
            i = min(int(x), coarse_w - 2)
            du = np.float32(x - i)
            for d in range(num):
                if score[v, u, d] > NO_SCORE:
                    continue
                total = weight = np.float32(0.0)
                for corner in range(4):
                    down, right = corner // 2, corner % 2
                    share = (dv if down else 1 - dv) * (du if right else 1 - du)
                    found = coarse[j + down, i + right, d]
                    if found > NO_SCORE:
                        total += share * found
                        weight += share
                if weight > half:
                    score[v, u, d] = total / weight
