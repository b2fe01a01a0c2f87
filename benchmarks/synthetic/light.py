"""Bake soft room light into each face: how much sky of lamps and open space every few centimetres of surface sees."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

SPACING_M = 0.14
RAYS = 40
REACH_M = 1.2
"""Surfaces farther than this no longer darken a corner."""
LAMP_REACH_M = 5.0


def bake(
    origin: NDArray[np.float64],
    right: NDArray[np.float64],
    down: NDArray[np.float64],
    size_m: NDArray[np.float64],
    boxes: NDArray[np.float64],
    lamps: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Light of faces (n, 3) among boxes (m, 6: lo, hi): first texel and (rows, columns) of each, and texels (k, 3)."""
    columns = np.maximum(2, np.ceil(size_m[:, 0] / SPACING_M).astype(np.int64) + 1)
    rows = np.maximum(2, np.ceil(size_m[:, 1] / SPACING_M).astype(np.int64) + 1)
    start = np.concatenate([[0], np.cumsum(rows * columns)[:-1]]).astype(np.int64)
    shape = np.stack([rows, columns], axis=1).astype(np.int32)
    light = np.empty((int((rows * columns).sum()), 3), np.float32)
    directions = _hemisphere(RAYS)
    for i in range(len(origin)):
        corners = (
            origin[i] + np.outer([0, 1, 0, 1], right[i] * size_m[i, 0]) + np.outer([0, 0, 1, 1], down[i] * size_m[i, 1])
        )
        near = np.all((boxes[:, :3] < corners.max(0) + REACH_M) & (boxes[:, 3:] > corners.min(0) - REACH_M), axis=1)
        texels = light[start[i] : start[i] + rows[i] * columns[i]]
        _bake_face(
            origin[i], right[i], down[i], size_m[i], rows[i], columns[i], boxes[near], boxes, lamps, directions, texels
        )
    return start, shape, light


def _hemisphere(count: int) -> NDArray[np.float64]:
    """(count, 3) cosine-weighted directions around +Z on a golden spiral."""
    i = np.arange(count) + 0.5
    radius, turn = np.sqrt(i / count), i * np.pi * (3 - np.sqrt(5))
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), np.sqrt(1 - radius**2)], axis=1)


@njit(cache=True, nogil=True, fastmath=True)
def first_hit(x, y, z, dx, dy, dz, reach, boxes):  # type: ignore[no-untyped-def]
    """Distance along (dx, dy, dz) from (x, y, z) to the nearest box entered within `reach`, else `reach`."""
    ix = 1.0 / dx if abs(dx) > 1e-12 else 1e12
    iy = 1.0 / dy if abs(dy) > 1e-12 else 1e12
    iz = 1.0 / dz if abs(dz) > 1e-12 else 1e12
    best = reach
    for b in range(boxes.shape[0]):
        a0, a1 = (boxes[b, 0] - x) * ix, (boxes[b, 3] - x) * ix
        b0, b1 = (boxes[b, 1] - y) * iy, (boxes[b, 4] - y) * iy
        c0, c1 = (boxes[b, 2] - z) * iz, (boxes[b, 5] - z) * iz
        enter = max(max(min(a0, a1), min(b0, b1)), min(c0, c1))
        leave = min(min(max(a0, a1), max(b0, b1)), max(c0, c1))
        if enter <= leave and enter > 1e-6 and enter < best:
            best = enter
    return best


@njit(cache=True, nogil=True, fastmath=True)
def _bake_face(origin, right, down, size_m, rows, columns, near, boxes, lamps, directions, light):  # type: ignore[no-untyped-def]
    """Fill a face's texels (rows * columns, 3); only `near` boxes can darken its corners, all can shade a lamp."""
    n = -np.cross(right, down)
    for row in range(rows):
        for column in range(columns):
            # A little inside the border: a texel on the edge would see only the wall it touches.
            along = min(max(size_m[0] * column / (columns - 1), 0.015), size_m[0] - 0.015)
            across = min(max(size_m[1] * row / (rows - 1), 0.015), size_m[1] - 0.015)
            p = origin + along * right + across * down + 0.008 * n
            open_share = 0.0
            for k in range(directions.shape[0]):
                d = directions[k, 0] * right + directions[k, 1] * down + directions[k, 2] * n
                open_share += first_hit(p[0], p[1], p[2], d[0], d[1], d[2], REACH_M, near) / REACH_M
            open_share /= directions.shape[0]
            direct = 0.0
            for k in range(lamps.shape[0]):
                # Each lamp is a square of four points, so that shadows have soft edges.
                for corner in range(4):
                    t = lamps[k].copy()
                    t[0] += 0.22 if corner & 1 else -0.22
                    t[2] += 0.22 if corner & 2 else -0.22
                    d = t - p
                    distance = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
                    facing = (d[0] * n[0] + d[1] * n[1] + d[2] * n[2]) / distance
                    if distance > LAMP_REACH_M or facing <= 0.0:
                        continue
                    d /= distance
                    if first_hit(p[0], p[1], p[2], d[0], d[1], d[2], distance, boxes) >= distance:
                        direct += 0.25 * facing / (1.0 + 0.32 * distance * distance)
            ambient = 0.62 * open_share**0.8
            at = row * columns + column
            light[at, 0] = min(0.10 + ambient + 0.82 * direct, 1.25)
            light[at, 1] = min(0.10 + ambient + 0.77 * direct, 1.22)
            light[at, 2] = min(0.115 + 1.04 * ambient + 0.68 * direct, 1.18)
