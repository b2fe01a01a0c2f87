"""What tiles do to triangles: cut to a square, simplify, push outwards, and put in the order that packs best."""

from __future__ import annotations

import meshoptimizer
import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel

F32 = NDArray[np.float32]
U32 = NDArray[np.uint32]


def simplify(vertices_m: F32, indices: U32, error_m: float) -> U32:
    """Collapse edges until the error is used up (quadrics, Garland & Heckbert 1997); borders may move. Returns (m, 3).

    meshoptimizer's error is a root mean square over what a vertex stands for, so single points may be off by more.
    """
    flat = np.ascontiguousarray(indices.reshape(-1))
    out = np.empty_like(flat)
    count = meshoptimizer.simplify(
        out, flat, vertices_m, target_index_count=0, target_error=error_m, options=meshoptimizer.SIMPLIFY_ERROR_ABSOLUTE
    )
    return out[:count].reshape(-1, 3)


def in_strips(vertices_m: F32, indices: U32) -> tuple[F32, U32]:
    """Triangles next to their neighbours, vertices in the order of their first use: what index codecs pack best."""
    flat = np.ascontiguousarray(indices.reshape(-1))
    if len(flat) == 0:
        return vertices_m[:0], indices
    ordered = np.empty_like(flat)
    meshoptimizer.optimize_vertex_cache_strip(ordered, flat, len(flat), len(vertices_m))
    return compact(vertices_m, ordered.reshape(-1, 3))


def compact(vertices_m: F32, indices: U32) -> tuple[F32, U32]:
    """Only the vertices that triangles use, in the order of their first use."""
    new_indices, used = by_first_use(indices, len(vertices_m))
    return vertices_m[used], new_indices


@kernel
def by_first_use(indices: U32, num_vertices: int) -> tuple[U32, U32]:
    """Renumber triangles (m, 3); also tells which vertex each new number stands for."""
    new_number = np.full(num_vertices, -1, np.int64)
    used = np.empty(num_vertices, np.uint32)
    out = np.empty_like(indices)
    count = 0
    for t in range(len(indices)):
        for c in range(3):
            vertex = indices[t, c]
            if new_number[vertex] < 0:
                new_number[vertex] = count
                used[count] = vertex
                count += 1
            out[t, c] = new_number[vertex]
    return out, used[:count].copy()


@kernel
def inside(vertices_m: F32, indices: U32, low_x: float, low_z: float, side_m: float) -> U32:
    """The triangles whose centre lies in a square of the xz plane, its lower edges included."""
    out = np.empty_like(indices)
    row = 0
    for t in range(len(indices)):
        x = z = 0.0
        for c in range(3):
            x += vertices_m[indices[t, c], 0] / 3.0
            z += vertices_m[indices[t, c], 2] / 3.0
        if low_x <= x < low_x + side_m and low_z <= z < low_z + side_m:
            out[row, 0], out[row, 1], out[row, 2] = indices[t, 0], indices[t, 1], indices[t, 2]
            row += 1
    return out[:row].copy()


@kernel
def normals(vertices_m: F32, indices: U32) -> tuple[F32, NDArray[np.bool_]]:
    """Sum of the normals of a vertex's triangles, twice their areas long (n, 3); and which vertices are on a rim."""
    out = np.zeros_like(vertices_m)
    balance = np.zeros(len(vertices_m), np.int64)
    for t in range(len(indices)):
        a, b, c = indices[t, 0], indices[t, 1], indices[t, 2]
        ax, ay, az = vertices_m[a, 0], vertices_m[a, 1], vertices_m[a, 2]
        ux, uy, uz = vertices_m[b, 0] - ax, vertices_m[b, 1] - ay, vertices_m[b, 2] - az
        vx, vy, vz = vertices_m[c, 0] - ax, vertices_m[c, 1] - ay, vertices_m[c, 2] - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            out[corner, 0] += nx
            out[corner, 1] += ny
            out[corner, 2] += nz
        # around an inner vertex, every neighbour comes once as the next and once as the one before
        balance[a] += np.int64(b) - np.int64(c)
        balance[b] += np.int64(c) - np.int64(a)
        balance[c] += np.int64(a) - np.int64(b)
    return out, balance != 0


def pushed(vertices_m: F32, indices: U32, outward_m: float) -> F32:
    """Vertices (n, 3) moved towards the free side."""
    normal, _ = normals(vertices_m, indices)
    length = np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.float32(1e-12))
    return np.asarray(vertices_m + normal * (np.float32(outward_m) / length), np.float32)
