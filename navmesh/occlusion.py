"""Surface tiles on the NavMesh's grid: the full mesh to look at, and a few triangles that hide virtual things.

Neighbouring occluders overlap by two voxels instead of sharing a border: triangles drawn to depth alone may lie on each
other, and a border that is free to move needs a third of the vertices of a locked one and leaks less.
"""

from __future__ import annotations

from typing import Annotated

import meshoptimizer
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import BLOCK_VOXELS, VoxelSource, VoxelWindow
from mapping.surface import Surface, extract
from navmesh.tiles import TILE_CELLS, SurfaceTile, TileKey


class Config(BaseModel):
    """How closely occluders follow the surface."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_m: Annotated[float, Field(gt=0)] = 0.02
    """The most that simplifying may move the surface."""
    overlap_voxels: Annotated[int, Field(ge=1, le=BLOCK_VOXELS - 1)] = 2
    """How far a tile reaches into its neighbours."""


def surface_window(
    voxels: VoxelSource, key: TileKey, block_range_y: tuple[int, int], overlap_voxels: int
) -> VoxelWindow:
    """Copy the voxels of a tile and its overlap between the lowest and the highest block given."""
    margin = overlap_voxels + 1  # a triangle joins cells between voxel centres
    low, high = block_range_y
    origin = (key.x * TILE_CELLS - margin, low * BLOCK_VOXELS, key.z * TILE_CELLS - margin)
    side = TILE_CELLS + 2 * margin
    return voxels.window(origin, (side, (high + 1 - low) * BLOCK_VOXELS, side))


def build_surface_tiles(
    window: VoxelWindow, key: TileKey, voxel_size_m: float, config: Config
) -> tuple[SurfaceTile, SurfaceTile]:
    """Extract the surface once; returns the mesh, cut to the tile's square, and the occluder, which overlaps it."""
    surface = extract(window, voxel_size_m)
    return _mesh(surface, key, voxel_size_m), _occluder(surface, key, config.error_m)


def empty_tile(key: TileKey) -> SurfaceTile:
    """What a tile is when its surface is gone."""
    return SurfaceTile(key, np.empty((0, 3), np.float32), np.empty((0, 3), np.uint32))


def _mesh(surface: Surface, key: TileKey, voxel_size_m: float) -> SurfaceTile:
    """Keep the triangles whose centre lies in the tile's square: neighbours share vertices bit for bit, no triangle."""
    low = np.array([key.x, key.z]) * (TILE_CELLS * voxel_size_m)
    high = np.array([key.x + 1, key.z + 1]) * (TILE_CELLS * voxel_size_m)
    centre_xz = surface.vertices_m[:, [0, 2]][surface.indices].mean(axis=1)
    is_inside = np.all((centre_xz >= low) & (centre_xz < high), axis=1)
    indices, used = _compact(surface.indices[is_inside], len(surface.vertices_m))
    return SurfaceTile(key, surface.vertices_m[used], indices, surface.rgb[used])


def _occluder(surface: Surface, key: TileKey, error_m: float) -> SurfaceTile:
    """Simplify until the error is used up (quadric edge collapse, meshoptimizer), colours left behind."""
    if len(surface.indices) == 0:
        return empty_tile(key)
    flat = np.ascontiguousarray(surface.indices.reshape(-1))
    simplified = np.empty_like(flat)
    count = meshoptimizer.simplify(
        simplified,
        flat,
        surface.vertices_m,
        target_index_count=0,
        target_error=error_m,
        options=meshoptimizer.SIMPLIFY_ERROR_ABSOLUTE,
    )
    indices, used = _compact(simplified[:count].reshape(-1, 3), len(surface.vertices_m))
    return SurfaceTile(key, surface.vertices_m[used], indices)


def _compact(indices: NDArray[np.uint32], num_vertices: int) -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
    """Renumber triangles over the vertices they use; returns them and which vertices those are."""
    is_used = np.zeros(num_vertices, np.bool_)
    is_used[indices] = True
    new_index = np.cumsum(is_used, dtype=np.uint32) - np.uint32(1)
    return new_index[indices], np.flatnonzero(is_used)
