"""The floor of a tile with its heights, as a few triangles more: read from the tile that Detour gets.

A Detour tile (version 7, 32-bit references, little-endian) is a header and arrays one after the other, each padded to
four bytes; https://github.com/recastnavigation/recastnavigation, DetourNavMesh.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navmesh.tiles import NavTile

MAGIC, VERSION = int.from_bytes(b"DNAV", "big"), 7

HEADER = np.dtype(
    [
        *((name, "<i4") for name in ("magic", "version", "x", "z", "layer", "user_id", "polys", "verts", "links")),
        *((name, "<i4") for name in ("detail_meshes", "detail_verts", "detail_tris", "bv_nodes", "off_mesh", "base")),
        *((name, "<f4") for name in ("walkable_height_m", "walkable_radius_m", "walkable_climb_m")),
        ("low_m", "<f4", 3),
        ("high_m", "<f4", 3),
        ("bv_factor", "<f4"),
    ]
)
_VERT_BYTES, _LINK_BYTES = 12, 12
_POLY = np.dtype(
    [("first_link", "<u4"), ("verts", "<u2", 6), ("sides", "<u2", 6), ("flags", "<u2"), ("count", "u1"), ("area", "u1")]
)
_MESH = np.dtype(
    [("vert_base", "<u4"), ("tri_base", "<u4"), ("vert_count", "u1"), ("tri_count", "u1"), ("_pad", "<u2")]
)


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """Triangles that follow the floor more closely than the polygons do."""

    verts_m: NDArray[np.float32]  # (d, 3) world, besides the tile's own `verts`
    tris: NDArray[np.uint16]  # (t, 4) polygon, then three vertices: the tile's own first, `verts_m` after them


def detail_of(tile: NavTile) -> Detail:
    """Read the detail triangles of a tile; one without a blob has none.

    Raises:
        ValueError: the blob is not a Detour tile, or is cut short.
    """
    if not tile.blob:
        return Detail(np.empty((0, 3), np.float32), np.empty((0, 4), np.uint16))
    header = header_of(tile.blob)
    reader = _Reader(tile.blob, HEADER.itemsize)
    reader.skip(_VERT_BYTES * int(header["verts"]))
    polys = reader.take(_POLY, int(header["polys"]))
    reader.skip(_LINK_BYTES * int(header["links"]))
    meshes = reader.take(_MESH, int(header["detail_meshes"]))
    verts_m = reader.take(np.dtype(("<f4", 3)), int(header["detail_verts"]))
    corners = reader.take(np.dtype(("u1", 4)), int(header["detail_tris"]))[:, :3].astype(np.int64)

    owner = np.repeat(np.arange(len(meshes)), meshes["tri_count"])  # Detour keeps the triangles in the polygons' order
    if len(polys) != len(meshes) or len(owner) != len(corners):
        raise ValueError("not a Detour tile: its detail triangles do not match its polygons")
    own = polys["verts"][owner[:, None], np.minimum(corners, 5)].astype(np.int64)
    sides = polys["count"].astype(np.int64)[owner][:, None]
    further = len(tile.verts) + meshes["vert_base"].astype(np.int64)[owner][:, None] + corners - sides
    vertices = np.where(corners < sides, own, further)
    if len(vertices) and int(vertices.max()) >= len(tile.verts) + len(verts_m):
        raise ValueError("not a Detour tile: a triangle names a vertex that does not exist")
    return Detail(verts_m.astype(np.float32), np.column_stack([owner, vertices]).astype(np.uint16))


def header_of(blob: bytes) -> np.void:
    """The header of a Detour tile, as one `HEADER` record.

    Raises:
        ValueError: it is not one, or of another version.
    """
    if len(blob) < HEADER.itemsize:
        raise ValueError(f"not a Detour tile: {len(blob)} bytes")
    header: np.void = np.frombuffer(blob, HEADER, 1)[0]
    if header["magic"] != MAGIC or header["version"] != VERSION:
        raise ValueError(f"not a Detour tile of version {VERSION}")
    return header


class _Reader:
    def __init__(self, blob: bytes, at: int) -> None:
        self._blob, self._at = blob, at

    def skip(self, num_bytes: int) -> None:
        self._at += num_bytes + -num_bytes % 4

    def take(self, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        if count < 0 or self._at + count * dtype.itemsize > len(self._blob):
            raise ValueError("not a Detour tile: it is cut short")
        items = np.frombuffer(self._blob, dtype, count, self._at)
        self.skip(count * dtype.itemsize)
        return items
