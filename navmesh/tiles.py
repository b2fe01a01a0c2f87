"""The tile grid and the two products that live on it: what can be walked on, and what hides things.

A tile is a square of the world's xz plane, 64 cells of one voxel (5 cm) each: 3.2 m, or 8 TSDF blocks. Tiles are
values: a pure function of the voxels in their padded window and of the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TILE_CELLS = 64
TILE_BLOCKS = 8

FLOOR, STAIRS, RAMP = 63, 62, 61
"""Areas: what kind of ground a polygon is. Further kinds will count down; 0 is never walked on."""


class TileKey(NamedTuple):
    """Tile (x, z) covers world cells 64x .. 64x+63 along x, and likewise along z."""

    x: int
    z: int


@dataclass(frozen=True, slots=True, eq=False)
class NavTile:
    """Walkable polygons of one tile for one agent profile; `verts` empty = nothing walkable (publish as a removal)."""

    key: TileKey
    agent: str
    origin_m: tuple[float, float, float]
    """World position of vertex (0, 0, 0)."""
    cell_size_m: float
    cell_height_m: float
    verts: NDArray[np.uint16]  # (n, 3) in cells (x, z) and cell heights (y)
    polys: NDArray[np.uint16]  # (m, 6) vertex indices, 0xffff = unused; convex, Recast order
    neighbours: NDArray[np.uint16]  # (m, 6) per edge: 0xffff wall, 0x8000 | side border portal, else polygon
    areas: NDArray[np.uint8]  # (m,) FLOOR, STAIRS or RAMP
    blob: bytes = b""
    """The same tile for Detour (`dtCreateNavMeshData`, version 7), untouched by any navmesh."""


def polygons_m(tile: NavTile) -> list[NDArray[np.float32]]:
    """The polygons of a tile as (3 to 6, 3) world points each, counter-clockwise from above."""
    steps_m = np.array([tile.cell_size_m, tile.cell_height_m, tile.cell_size_m])
    points_m = (np.array(tile.origin_m) + tile.verts * steps_m).astype(np.float32)
    return [points_m[poly[poly != 0xFFFF]] for poly in tile.polys]


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceTile:
    """A triangle mesh of one tile in world metres: full detail (`mesh`) or simplified to hide things (`occluder`)."""

    key: TileKey
    vertices_m: NDArray[np.float32]  # (n, 3) world
    indices: NDArray[np.uint32]  # (m, 3) counter-clockwise from the free side
    rgb: NDArray[np.uint8] | None = None  # (n, 3)


@dataclass(frozen=True, slots=True, eq=False)
class TileChange:
    """What one round of rebuilding gave: only tiles whose bytes differ from the ones before."""

    nav: tuple[NavTile, ...] = ()
    mesh: tuple[SurfaceTile, ...] = ()
    occluder: tuple[SurfaceTile, ...] = ()
    culling: tuple[SurfaceTile, ...] = ()
    """Only when the scene builds them: see `culling`."""
