"""Surface tiles on the NavMesh's grid: the full mesh to look at, and a few triangles that hide virtual things.

Neighbouring occluders overlap by two voxels instead of sharing a border: triangles drawn to depth alone may lie on each
other, and a border that is free to move needs a third of the vertices of a locked one and leaks less. What leaks is at
silhouettes, where simplifying cut a corner off; so the result is pushed outwards by a few millimetres, and hides a
little too much as often as too little.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import BLOCK_VOXELS, VoxelSource, VoxelWindow
from mapping.volume.surface import Surface, extract
from navmesh.calm import calmed
from navmesh.coarsen import coarsen
from navmesh.tiles import TILE_CELLS, SurfaceTile, TileKey
from navmesh.triangles import F32, U32, by_first_use, in_strips, inside, pushed, simplify


class Config(BaseModel):
    """How closely occluders follow the surface."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calm_m: Annotated[float, Field(ge=0)] = 0.005
    """How far noise may be taken out of flat places first: it halves the bytes of a noisy map; 0 = not at all."""
    error_m: Annotated[float, Field(gt=0)] = 0.018
    """The most that simplifying may then move the surface."""
    outward_m: Annotated[float, Field(ge=0)] = 0.005
    """How far the simplified surface is then pushed towards the free side: less leaks, and flat things are that off."""
    overlap_voxels: Annotated[int, Field(ge=1, le=BLOCK_VOXELS - 1)] = 2
    """How far a tile reaches into its neighbours."""
    cube_voxels: Annotated[int, Field(ge=1)] = 4
    """Flat patches are gathered by cubes of this side before they are simplified: it halves the time."""


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
    return mesh_tile(surface, key, voxel_size_m), occluder_tile(surface, key, voxel_size_m, config)


def warm_up() -> None:
    """Compile the kernels on a floor of one tile."""
    y_m = (np.arange(8, dtype=np.float32) - 3.5) * np.float32(0.05)
    tsdf_m = np.broadcast_to(y_m[None, :, None], (70, 8, 70)).copy()
    window = VoxelWindow((-3, 0, -3), tsdf_m, np.ones_like(tsdf_m), np.zeros((*tsdf_m.shape, 3), np.uint8))
    build_surface_tiles(window, TileKey(0, 0), 0.05, Config())


def empty_tile(key: TileKey) -> SurfaceTile:
    """What a tile is when its surface is gone."""
    return SurfaceTile(key, np.empty((0, 3), np.float32), np.empty((0, 3), np.uint32))


def mesh_tile(surface: Surface, key: TileKey, voxel_size_m: float) -> SurfaceTile:
    """Keep the triangles whose centre lies in the tile's square: neighbours share vertices bit for bit, no triangle."""
    side_m = TILE_CELLS * voxel_size_m
    kept = inside(surface.vertices_m, surface.indices, key.x * side_m, key.z * side_m, side_m)
    indices, used = by_first_use(kept, len(surface.vertices_m))
    return SurfaceTile(key, surface.vertices_m[used], indices, surface.rgb[used])


def occluder_tile(surface: Surface, key: TileKey, voxel_size_m: float, config: Config) -> SurfaceTile:
    """A few triangles that stand where the surface does; colours are left behind."""
    if len(surface.indices) == 0:
        return empty_tile(key)
    calm = Surface(calmed(surface.vertices_m, surface.indices, config.calm_m), surface.indices, surface.rgb)
    vertices_m, indices = few_triangles(calm, voxel_size_m, config.cube_voxels, config.error_m)
    return SurfaceTile(key, pushed(vertices_m, indices, config.outward_m), indices)


def few_triangles(surface: Surface, voxel_size_m: float, cube_voxels: int, error_m: float) -> tuple[F32, U32]:
    """Vertices (n, 3) and triangles (m, 3) within about `error_m` of a surface, in the order that packs best."""
    vertices_m, indices = coarsen(surface.vertices_m, surface.indices, cube_voxels * voxel_size_m, error_m / 2)
    return in_strips(vertices_m, simplify(vertices_m, indices, error_m))
