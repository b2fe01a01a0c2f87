"""Fewer triangles before the real simplification: the vertices of a flat patch become one.

Simplifying by edge collapse costs by the triangle it is given, and most of a room is flat. So vertices are first
gathered by cubes of cells (vertex clustering, Rossignac & Borrel 1993), but only where all that a cube holds lies on
one plane and no border of the surface runs through it: edges, corners, rims and thin things keep every vertex.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from navmesh.triangles import normals

F32 = NDArray[np.float32]
U32 = NDArray[np.uint32]
I32 = NDArray[np.int32]

_AGREEMENT = 0.9
"""Length of the sum of a cube's normals over the sum of their lengths; 1 = they are all the same."""


def coarsen(vertices_m: F32, indices: U32, cube_m: float, tolerance_m: float) -> tuple[F32, U32]:
    """Merge the vertices (n, 3) of every flat cube; returns vertices and those triangles (m, 3) that are left.

    Args:
        tolerance_m: how far a vertex may lie off the cube's plane.
    """
    if len(indices) == 0:
        return vertices_m, indices
    normal, is_rim = normals(vertices_m, indices)
    cube_of, num_cubes = _cubes(vertices_m, cube_m)
    new_index, merged = _merge(vertices_m, normal, is_rim, cube_of, num_cubes, tolerance_m)
    return merged, _renumber(indices, new_index)


@kernel
def _cubes(vertices_m: F32, cube_m: float) -> tuple[I32, int]:
    """Number of the cube that each vertex lies in, counted over the cubes that hold any."""
    low = np.empty(3)
    shape = np.empty(3, np.int64)
    for c in range(3):
        low[c] = np.floor(vertices_m[:, c].min() / cube_m)
        shape[c] = np.int64(np.floor(vertices_m[:, c].max() / cube_m) - low[c]) + 1
    number = np.full(shape[0] * shape[1] * shape[2], -1, np.int32)
    cube_of = np.empty(len(vertices_m), np.int32)
    count = 0
    for v in range(len(vertices_m)):
        i = np.int64(np.floor(vertices_m[v, 0] / cube_m) - low[0])
        j = np.int64(np.floor(vertices_m[v, 1] / cube_m) - low[1])
        k = np.int64(np.floor(vertices_m[v, 2] / cube_m) - low[2])
        at = (i * shape[1] + j) * shape[2] + k
        if number[at] < 0:
            number[at] = count
            count += 1
        cube_of[v] = number[at]
    return cube_of, count


@kernel
def _merge(
    vertices_m: F32,
    vertex_normal: F32,
    is_rim: NDArray[np.bool_],
    cube_of: I32,
    num_cubes: int,
    tolerance_m: float,
) -> tuple[U32, F32]:
    """New number of every vertex, and the new vertices: one, their mean, for each flat cube."""
    mean = np.zeros((num_cubes, 3))
    normal = np.zeros((num_cubes, 3))
    total = np.zeros(num_cubes)
    size = np.zeros(num_cubes, np.int64)
    is_flat = np.ones(num_cubes, np.bool_)
    for v in range(len(vertices_m)):
        cube = cube_of[v]
        size[cube] += 1
        total[cube] += np.sqrt(vertex_normal[v, 0] ** 2 + vertex_normal[v, 1] ** 2 + vertex_normal[v, 2] ** 2)
        is_flat[cube] = is_flat[cube] and not is_rim[v]
        for c in range(3):
            mean[cube, c] += vertices_m[v, c]
            normal[cube, c] += vertex_normal[v, c]
    for cube in range(num_cubes):
        length = np.sqrt(normal[cube, 0] ** 2 + normal[cube, 1] ** 2 + normal[cube, 2] ** 2)
        is_flat[cube] = is_flat[cube] and length >= _AGREEMENT * total[cube] and length > 0.0
        for c in range(3):
            mean[cube, c] /= size[cube]
            normal[cube, c] /= max(length, 1e-30)
    for v in range(len(vertices_m)):
        cube = cube_of[v]
        off = 0.0
        for c in range(3):
            off += (vertices_m[v, c] - mean[cube, c]) * normal[cube, c]
        if abs(off) > tolerance_m:
            is_flat[cube] = False
    new_index = np.empty(len(vertices_m), np.uint32)
    of_cube = np.full(num_cubes, -1, np.int64)
    merged = np.empty_like(vertices_m)
    count = 0
    for v in range(len(vertices_m)):
        cube = cube_of[v]
        if is_flat[cube] and of_cube[cube] >= 0:
            new_index[v] = of_cube[cube]
            continue
        for c in range(3):
            merged[count, c] = mean[cube, c] if is_flat[cube] else vertices_m[v, c]
        new_index[v] = count
        of_cube[cube] = count
        count += 1
    return new_index, merged[:count].copy()


@kernel
def _renumber(indices: U32, new_index: U32) -> U32:
    out = np.empty_like(indices)
    row = 0
    for t in range(len(indices)):
        a, b, c = new_index[indices[t, 0]], new_index[indices[t, 1]], new_index[indices[t, 2]]
        if a != b and b != c and c != a:
            out[row, 0], out[row, 1], out[row, 2] = a, b, c
            row += 1
    return out[:row].copy()
