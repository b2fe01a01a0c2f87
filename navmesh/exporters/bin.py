"""Detour tile set: the file that RecastDemo saves, and that Detour's C++ samples and their ports load.

Little-endian throughout; references have 32 bits:

    i32 magic 'MSET', i32 version 1, i32 number of tiles
    dtNavMeshParams: f32 origin[3], f32 tile width, f32 tile height, i32 maxTiles, i32 maxPolys
    for each tile: u32 tile reference, i32 size, then so many bytes for `dtNavMesh::addTile` (data version 7)

The layout is that of the sample RecastDemo of https://github.com/recastnavigation/recastnavigation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from navmesh.exporters import Exporter, ExportError, NavMesh
from navmesh.tiles import TILE_CELLS

MAGIC, VERSION = int.from_bytes(b"MSET", "big"), 1
HEADER, PARAMS, TILE = struct.Struct("<iii"), struct.Struct("<5f2i"), struct.Struct("<Ii")

_INDEX_BITS = 22
"""A reference of 32 bits keeps ten for Detour's salt; tiles and the polygons of one tile share the others."""
_FIRST_SALT = 1


class Config(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class TileSet:
    """The exporter of Detour tile sets."""

    suffix: str = ".bin"
    media_type: str = "application/octet-stream"

    def encode(self, mesh: NavMesh) -> bytes:
        """All tiles of the NavMesh, ready for Detour; see `Exporter`."""
        if missing := [tile.key for tile in mesh.tiles if not tile.blob]:
            raise ExportError(f"tile {tuple(missing[0])} has no Detour data")
        tile_bits = (len(mesh.tiles) - 1).bit_length()
        poly_bits = (max(len(tile.polys) for tile in mesh.tiles) - 1).bit_length()
        if tile_bits + poly_bits > _INDEX_BITS:
            raise ExportError(f"{len(mesh.tiles)} tiles are too many for one Detour NavMesh; export .glb or .obj")
        side_m = TILE_CELLS * mesh.cell_size_m
        origin_m = (0.0, mesh.tiles[0].origin_m[1], 0.0)
        parts = [
            HEADER.pack(MAGIC, VERSION, len(mesh.tiles)),
            PARAMS.pack(*origin_m, side_m, side_m, 1 << tile_bits, 1 << poly_bits),
        ]
        for index, tile in enumerate(mesh.tiles):
            reference = ((_FIRST_SALT << tile_bits) | index) << poly_bits
            parts += [TILE.pack(reference, len(tile.blob)), tile.blob]
        return b"".join(parts)


def create(config: Config) -> Exporter:
    return TileSet()
