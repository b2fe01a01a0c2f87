"""The surface inside a window of voxels as triangles: naive surface nets (Gibson 1998), our own kernels.

A cell is the cube between eight voxel centres. A cell that the surface crosses gets one vertex, the mean of the points
where its edges change sign; each voxel edge that changes sign gets one quad between its four cells. A cell with any
unknown corner gives nothing, so a surface ends where knowledge ends. A vertex depends on its eight voxels alone:
overlapping windows give the same vertices, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.changes import VoxelWindow
from mapping.kernels import kernel

MAX_STEP_VOXELS = 3.0
"""A real surface changes the distance by about one voxel size per voxel. A larger step is the seam between the free
space of one view and the truncation band behind something else: no surface was seen there."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Triangles in world metres, counter-clockwise when looked at from the free side."""

    vertices_m: NDArray[np.float32]  # (n, 3) world
    indices: NDArray[np.uint32]  # (m, 3)
    rgb: NDArray[np.uint8]  # (n, 3)


def extract(window: VoxelWindow, voxel_size_m: float) -> Surface:
    """Triangulate the zero crossing between the known voxels of a window; deterministic, releases the GIL."""
    known = window.weight > 0.0
    max_step_m = MAX_STEP_VOXELS * voxel_size_m
    cell_vertex, count = _number_cells(window.tsdf_m, known, max_step_m)
    vertices_m = np.empty((count, 3), np.float32)
    rgb = np.empty((count, 3), np.uint8)
    origin = np.array(window.origin_voxel, np.int64)
    _place_vertices(window.tsdf_m, window.rgb, cell_vertex, max_step_m, origin, voxel_size_m, vertices_m, rgb)
    indices = np.empty((6 * count, 3), np.uint32)
    num_triangles = _join_quads(window.tsdf_m, cell_vertex, max_step_m, vertices_m, indices)
    return Surface(vertices_m, indices[:num_triangles].copy(), rgb)


def warm_up() -> None:
    """Compile the kernels on a window with one surface in it."""
    tsdf_m = np.broadcast_to(np.array([-0.05, 0.0, 0.05], np.float32), (3, 3, 3)).copy()
    ones = np.ones((3, 3, 3), np.float32)
    extract(VoxelWindow((0, 0, 0), tsdf_m, ones, np.zeros((3, 3, 3, 3), np.uint8)), 0.05)


@kernel
def _crosses(a: float, b: float, max_step_m: float) -> bool:
    return (a < 0.0) != (b < 0.0) and abs(a - b) <= max_step_m


@kernel
def _number_cells(
    tsdf_m: NDArray[np.float32], known: NDArray[np.bool_], max_step_m: float
) -> tuple[NDArray[np.int32], int]:
    """Vertex index of every cell (nx-1, ny-1, nz-1), -1 where it has none; and how many there are."""
    nx, ny, nz = tsdf_m.shape
    cell_vertex = np.full((max(nx - 1, 0), max(ny - 1, 0), max(nz - 1, 0)), -1, np.int32)
    count = 0
    for i in range(nx - 1):
        for j in range(ny - 1):
            was_known, was_solid = False, 0
            for k in range(nz):
                is_known = known[i, j, k] and known[i, j + 1, k] and known[i + 1, j, k] and known[i + 1, j + 1, k]
                num_solid = 0
                if is_known:
                    num_solid += tsdf_m[i, j, k] < 0.0
                    num_solid += tsdf_m[i, j + 1, k] < 0.0
                    num_solid += tsdf_m[i + 1, j, k] < 0.0
                    num_solid += tsdf_m[i + 1, j + 1, k] < 0.0
                mixed = 0 < num_solid + was_solid < 8
                if is_known and was_known and mixed and _any_edge_crosses(tsdf_m, i, j, k - 1, max_step_m):
                    cell_vertex[i, j, k - 1] = count
                    count += 1
                was_known, was_solid = is_known, num_solid
    return cell_vertex, count


@kernel
def _any_edge_crosses(tsdf_m: NDArray[np.float32], i: int, j: int, k: int, max_step_m: float) -> bool:
    for a in range(2):
        for b in range(2):
            if (
                _crosses(tsdf_m[i, j + a, k + b], tsdf_m[i + 1, j + a, k + b], max_step_m)
                or _crosses(tsdf_m[i + a, j, k + b], tsdf_m[i + a, j + 1, k + b], max_step_m)
                or _crosses(tsdf_m[i + a, j + b, k], tsdf_m[i + a, j + b, k + 1], max_step_m)
            ):
                return True
    return False


@kernel
def _place_vertices(
    tsdf_m: NDArray[np.float32],
    voxel_rgb: NDArray[np.uint8],
    cell_vertex: NDArray[np.int32],
    max_step_m: float,
    origin: NDArray[np.int64],
    voxel_size_m: float,
    vertices_m: NDArray[np.float32],
    rgb: NDArray[np.uint8],
) -> None:
    """Put each cell's vertex at the mean of its edge crossings; colour from each edge's voxel nearer to the surface."""
    nx, ny, nz = cell_vertex.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                vertex = cell_vertex[i, j, k]
                if vertex < 0:
                    continue
                sum_x = sum_y = sum_z = red = green = blue = 0.0
                num = 0
                for edge in range(12):
                    axis, a, b = edge // 4, (edge >> 1) & 1, edge & 1
                    x0, y0, z0 = i + (a if axis else 0), j + (b if axis == 2 else 0 if axis else a), k + (axis < 2) * b
                    x1, y1, z1 = x0 + (axis == 0), y0 + (axis == 1), z0 + (axis == 2)
                    d0, d1 = float(tsdf_m[x0, y0, z0]), float(tsdf_m[x1, y1, z1])
                    if not _crosses(d0, d1, max_step_m):
                        continue
                    t = d0 / (d0 - d1)
                    sum_x += (x0 - i) + t * (x1 - x0)
                    sum_y += (y0 - j) + t * (y1 - y0)
                    sum_z += (z0 - k) + t * (z1 - z0)
                    xc, yc, zc = (x0, y0, z0) if t < 0.5 else (x1, y1, z1)
                    red += voxel_rgb[xc, yc, zc, 0]
                    green += voxel_rgb[xc, yc, zc, 1]
                    blue += voxel_rgb[xc, yc, zc, 2]
                    num += 1
                vertices_m[vertex, 0] = (origin[0] + i + 0.5 + sum_x / num) * voxel_size_m
                vertices_m[vertex, 1] = (origin[1] + j + 0.5 + sum_y / num) * voxel_size_m
                vertices_m[vertex, 2] = (origin[2] + k + 0.5 + sum_z / num) * voxel_size_m
                rgb[vertex, 0] = int(red / num + 0.5)
                rgb[vertex, 1] = int(green / num + 0.5)
                rgb[vertex, 2] = int(blue / num + 0.5)


@kernel
def _edge_quad(
    tsdf_m: NDArray[np.float32],
    cell_vertex: NDArray[np.int32],
    max_step_m: float,
    axis: int,
    i: int,
    j: int,
    k: int,
    quad: NDArray[np.int32],
) -> bool:
    """Fill `quad` (4,) with the vertices around the voxel edge (i, j, k) -> +axis, seen from its free end."""
    dx, dy, dz = int(axis == 0), int(axis == 1), int(axis == 2)
    a, b = float(tsdf_m[i, j, k]), float(tsdf_m[i + dx, j + dy, k + dz])
    if not _crosses(a, b, max_step_m):
        return False
    for n in range(4):
        back = 3 - n if a < 0.0 else n  # solid behind, free in front: counter-clockwise about +axis; else about -axis
        u, v = (1, 1) if back == 3 else (0, 1) if back == 2 else (0, 0) if back == 1 else (1, 0)
        x = i - (0 if axis == 0 else v if axis == 1 else u)
        y = j - (u if axis == 0 else 0 if axis == 1 else v)
        z = k - (v if axis == 0 else u if axis == 1 else 0)
        quad[n] = cell_vertex[x, y, z]
        if quad[n] < 0:
            return False
    return True


@kernel
def _join_quads(
    tsdf_m: NDArray[np.float32],
    cell_vertex: NDArray[np.int32],
    max_step_m: float,
    vertices_m: NDArray[np.float32],
    indices: NDArray[np.uint32],
) -> int:
    """Two triangles per quad, split along its shorter diagonal; fills `indices` and tells how many rows it took.

    The quad of voxel edge (i, j, k) -> +axis has cell (i, j, k) as one corner, so cells with a vertex find all quads.
    """
    row = 0
    quad = np.empty(4, np.int32)
    nx, ny, nz = cell_vertex.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if cell_vertex[i, j, k] < 0:
                    continue
                for axis in range(3):
                    inside = (i > 0 or axis == 0) and (j > 0 or axis == 1) and (k > 0 or axis == 2)
                    if not inside or not _edge_quad(tsdf_m, cell_vertex, max_step_m, axis, i, j, k, quad):
                        continue
                    diagonal_02 = diagonal_13 = 0.0
                    for c in range(3):
                        diagonal_02 += (vertices_m[quad[0], c] - vertices_m[quad[2], c]) ** 2
                        diagonal_13 += (vertices_m[quad[1], c] - vertices_m[quad[3], c]) ** 2
                    first = 0 if diagonal_02 <= diagonal_13 else 1
                    for t in range(2):
                        indices[row, 0] = quad[first]
                        indices[row, 1] = quad[(first + 1 + t) % 4]
                        indices[row, 2] = quad[(first + 2 + t) % 4]
                        row += 1
    return row
