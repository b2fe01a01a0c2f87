"""Where rays first meet a set of triangles: an exact oracle, fast enough for a hundred thousand rays.

Triangles are listed in the cells of a uniform grid that their bounding boxes touch; a ray walks the grid cell by cell
(Amanatides & Woo 1987) and tests what is listed there (Moeller & Trumbore 1997), both faces alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Triangles:
    """Triangles in a grid."""

    corners_m: F32  # (m, 3, 3)
    low_m: F32  # (3,) the grid's corner
    cell_m: float
    shape: tuple[int, int, int]
    starts: I32  # (cells + 1,)
    members: I32  # triangle numbers, cell after cell


def gather(corners_m: F32, cell_m: float = 0.2) -> Triangles:
    """Put triangles (m, 3, 3) into a grid.

    Raises:
        ValueError: there are none.
    """
    if len(corners_m) == 0:
        raise ValueError("no triangles to cast rays at")
    corners = np.ascontiguousarray(corners_m, np.float32)
    low = corners.min(axis=(0, 1)) - np.float32(1e-3)
    shape = np.floor((corners.max(axis=(0, 1)) + 1e-3 - low) / cell_m).astype(np.int64) + 1
    first = np.floor((corners.min(axis=1) - low) / cell_m).astype(np.int32)
    last = np.floor((corners.max(axis=1) - low) / cell_m).astype(np.int32)
    starts, members = _list(first, last, shape)
    return Triangles(corners, low, cell_m, tuple(shape.tolist()), starts, members)


def first_hits(triangles: Triangles, eyes_m: F32, ahead: F32) -> F32:
    """Distance (n,) along each ray to the nearest triangle, inf = none; `ahead` (n, 3) are unit vectors."""
    t = triangles
    out = np.full(len(eyes_m), np.inf, np.float32)
    shape = np.array(t.shape, np.int64)
    _cast(t.corners_m, t.low_m, t.cell_m, shape, t.starts, t.members, eyes_m, ahead, out)
    return out


@kernel
def _list(first: I32, last: I32, shape: NDArray[np.int64]) -> tuple[I32, I32]:
    """Count, then fill: triangle numbers cell after cell."""
    starts = np.zeros(shape[0] * shape[1] * shape[2] + 1, np.int32)
    members = np.zeros(0, np.int32)
    for fill in range(2):
        if fill:
            starts = np.cumsum(starts).astype(np.int32)
            members = np.empty(starts[-1], np.int32)
        at = starts.copy()
        for t in range(len(first)):
            for i in range(first[t, 0], last[t, 0] + 1):
                for j in range(first[t, 1], last[t, 1] + 1):
                    for k in range(first[t, 2], last[t, 2] + 1):
                        cell = (i * shape[1] + j) * shape[2] + k
                        if fill:
                            members[at[cell]] = t
                            at[cell] += 1
                        else:
                            starts[cell + 1] += 1
    return starts, members


@kernel
def _cast(
    corners: F32,
    low: F32,
    cell_m: float,
    shape: NDArray[np.int64],
    starts: I32,
    members: I32,
    eyes: F32,
    ahead: F32,
    out: F32,
) -> None:
    cell = np.zeros(3, np.int64)
    step = np.zeros(3, np.int64)
    to_next = np.zeros(3)
    each = np.zeros(3)
    for r in range(len(eyes)):
        enter, leave = 0.0, np.inf
        for c in range(3):
            d = ahead[r, c] if abs(ahead[r, c]) > 1e-9 else 1e-9
            a, b = (low[c] - eyes[r, c]) / d, (low[c] + shape[c] * cell_m - eyes[r, c]) / d
            enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
        if enter >= leave:
            continue
        for c in range(3):
            d = ahead[r, c] if abs(ahead[r, c]) > 1e-9 else 1e-9
            at = eyes[r, c] + enter * d - low[c]
            cell[c] = min(max(int(at / cell_m), 0), shape[c] - 1)
            step[c] = 1 if d > 0 else -1
            each[c] = cell_m / abs(d)
            to_next[c] = enter + ((cell[c] + (d > 0)) * cell_m - at) / d
        while True:
            here = (cell[0] * shape[1] + cell[1]) * shape[2] + cell[2]
            for m in range(starts[here], starts[here + 1]):
                out[r] = min(out[r], _hit(corners[members[m]], eyes[r], ahead[r]))
            axis = 0 if to_next[0] <= min(to_next[1], to_next[2]) else 1 if to_next[1] <= to_next[2] else 2
            if out[r] <= to_next[axis]:
                break
            cell[axis] += step[axis]
            if cell[axis] < 0 or cell[axis] >= shape[axis]:
                break
            to_next[axis] += each[axis]


@kernel
def _hit(triangle: F32, eye: F32, ahead: F32) -> float:
    """Distance to one triangle (3, 3), inf = missed."""
    u, v, s = triangle[1] - triangle[0], triangle[2] - triangle[0], eye - triangle[0]
    px = ahead[1] * v[2] - ahead[2] * v[1]
    py = ahead[2] * v[0] - ahead[0] * v[2]
    pz = ahead[0] * v[1] - ahead[1] * v[0]
    det = u[0] * px + u[1] * py + u[2] * pz
    if abs(det) < 1e-12:
        return np.inf
    a = (s[0] * px + s[1] * py + s[2] * pz) / det
    if a < 0.0 or a > 1.0:
        return np.inf
    qx, qy, qz = s[1] * u[2] - s[2] * u[1], s[2] * u[0] - s[0] * u[2], s[0] * u[1] - s[1] * u[0]
    b = (ahead[0] * qx + ahead[1] * qy + ahead[2] * qz) / det
    if b < 0.0 or a + b > 1.0:
        return np.inf
    distance = (v[0] * qx + v[1] * qy + v[2] * qz) / det
    return distance if distance > 0.0 else np.inf
