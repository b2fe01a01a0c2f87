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
    inverse_std = np.zeros((h, w), np.float32)
    for v in range(h):
        for u in range(w):
            if std[v, u] >= MIN_STD:
                inverse_std[v, u] = np.float32(1.0) / std[v, u]
    warped, inside = np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    best, second = np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    for d in range(first, stop):
        best[:] = NO_SCORE
        second[:] = NO_SCORE
        for n in range(len(sources)):
            _warp(sources[n], a[n], b[n], inverse_depths[d], warped, inside)
            _match(warped, inside, reference, mean, inverse_std, radius, best, second)
        for v in range(h):
            for u in range(w):
                one, two = best[v, u], second[v, u]
                score[v, u, d] = np.float32(0.5) * (one + two) if two > NO_SCORE else one


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
    flat = source.reshape(-1)
    corner, du, dv = np.empty(w, np.int32), np.empty(w, np.float32), np.empty(w, np.float32)
    step_x, step_y, step_z = np.float32(a[0, 0]), np.float32(a[1, 0]), np.float32(a[2, 0])
    for v in range(h):
        x = np.float32(a[0, 0] * 0.5 + a[0, 1] * (v + 0.5) + a[0, 2] + q * b[0])
        y = np.float32(a[1, 0] * 0.5 + a[1, 1] * (v + 0.5) + a[1, 2] + q * b[1])
        z = np.float32(a[2, 0] * 0.5 + a[2, 1] * (v + 0.5) + a[2, 2] + q * b[2])
        _look_up(x, y, z, step_x, step_y, step_z, source_w, source_h, corner, du, dv, inside[v])
        _interpolate(flat, source_w, corner, du, dv, inside[v], warped[v])


@fast_kernel
def _look_up(
    x: np.float32, y: np.float32, z: np.float32, step_x: np.float32, step_y: np.float32, step_z: np.float32,
    source_w: int, source_h: int,
    corner: NDArray[np.int32], du: NDArray[np.float32], dv: NDArray[np.float32], inside: NDArray[np.float32],
) -> None:  # fmt: skip
    """Where a row's pixels (w,) lie in the source: number of the upper left neighbour, the way from there, inside?

    Without branches, so that it runs on vectors: a pixel that lies elsewhere is moved to the border, and marked.
    """
    zero, one, half = np.float32(0.0), np.float32(1.0), np.float32(0.5)
    last_x, last_y = np.float32(source_w - 1.001), np.float32(source_h - 1.001)
    for u in range(len(corner)):
        n = np.float32(u)
        depth = z + n * step_z
        inverse = one / depth
        fx, fy = (x + n * step_x) * inverse - half, (y + n * step_y) * inverse - half
        near_x, near_y = min(max(fx, zero), last_x), min(max(fy, zero), last_y)
        i, j = np.int32(near_x), np.int32(near_y)
        corner[u] = j * np.int32(source_w) + i
        du[u], dv[u] = near_x - np.float32(i), near_y - np.float32(j)
        is_inside = one if near_x == fx else zero
        is_inside = is_inside if near_y == fy else zero
        inside[u] = is_inside if depth > np.float32(1e-9) else zero


@fast_kernel
def _interpolate(
    flat: NDArray[np.float32], width: int, corner: NDArray[np.int32], du: NDArray[np.float32],
    dv: NDArray[np.float32], inside: NDArray[np.float32], warped: NDArray[np.float32],
) -> None:  # fmt: skip
    one, down, across = np.uint64(1), np.uint64(width), np.uint64(width + 1)  # unsigned: no index counts from the end
    for u in range(len(corner)):
        at = np.uint64(corner[u])
        top = flat[at] + du[u] * (flat[at + one] - flat[at])
        bottom = flat[at + down] + du[u] * (flat[at + across] - flat[at + down])
        warped[u] = inside[u] * (top + dv[u] * (bottom - top))


@fast_kernel
def _match(
    warped: NDArray[np.float32],
    inside: NDArray[np.float32],
    reference: NDArray[np.float32],
    mean: NDArray[np.float32],
    inverse_std: NDArray[np.float32],
    radius: int,
    best: NDArray[np.float32],
    second: NDArray[np.float32],
) -> None:
    """Compare every patch (ZNCC) with one warped source; keep each pixel's two best scores over the calls."""
    h, w = reference.shape
    size = 2 * radius + 1
    # Sums over a patch's rows, in each column: of the source, its square, its product with the reference.
    sums, squares, products = np.zeros(w, np.float32), np.zeros(w, np.float32), np.zeros(w, np.float32)
    s1, s2, s12 = (
        np.empty(w - size + 1, np.float32),
        np.empty(w - size + 1, np.float32),
        np.empty(w - size + 1, np.float32),
    )
    for v in range(h):
        _add_row(np.float32(1.0), warped[v], reference[v], sums, squares, products)
        if v >= size:
            _add_row(np.float32(-1.0), warped[v - size], reference[v - size], sums, squares, products)
        if v < size - 1:
            continue
        _sum_across(sums, size, s1)
        _sum_across(squares, size, s2)
        _sum_across(products, size, s12)
        row, left, right = v - radius, radius, w - radius
        _score(
            s1, s2, s12, inside[v - size + 1], inside[v], mean[row, left:right], inverse_std[row, left:right], size,
            best[row, left:right], second[row, left:right],
        )  # fmt: skip


@fast_kernel
def _add_row(
    sign: np.float32, warped: NDArray[np.float32], reference: NDArray[np.float32],
    sums: NDArray[np.float32], squares: NDArray[np.float32], products: NDArray[np.float32],
) -> None:  # fmt: skip
    for u in range(len(warped)):
        s = sign * warped[u]
        sums[u] += s
        squares[u] += s * warped[u]
        products[u] += s * reference[u]


@fast_kernel
def _sum_across(columns: NDArray[np.float32], size: int, out: NDArray[np.float32]) -> None:
    """out[u] = sum of columns[u : u + size]."""
    for u in range(len(out)):
        out[u] = columns[u]
    for k in range(1, size):
        for u in range(len(out)):
            out[u] += columns[u + k]


@fast_kernel
def _score(
    s1: NDArray[np.float32], s2: NDArray[np.float32], s12: NDArray[np.float32],
    upper_inside: NDArray[np.float32], lower_inside: NDArray[np.float32],
    mean: NDArray[np.float32], inverse_std: NDArray[np.float32], size: int,
    best: NDArray[np.float32], second: NDArray[np.float32],
) -> None:  # fmt: skip
    """A patch lies inside of a source if its four corners do: planes map squares to convex shapes."""
    zero, none, low = np.float32(0.0), np.float32(NO_SCORE), np.float32(MIN_STD * MIN_STD)
    share = np.float32(1.0) / np.float32(size * size)
    for u in range(len(s1)):
        m = s1[u] * share
        variance = s2[u] * share - m * m
        zncc = (s12[u] * share - m * mean[u]) * inverse_std[u] / np.sqrt(max(variance, low))
        corners = upper_inside[u] * upper_inside[u + size - 1] * lower_inside[u] * lower_inside[u + size - 1]
        zncc = zncc if corners > zero else none
        zncc = zncc if variance >= low else none
        zncc = zncc if inverse_std[u] > zero else none
        second[u] = max(second[u], min(best[u], zncc))
        best[u] = max(best[u], zncc)


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
