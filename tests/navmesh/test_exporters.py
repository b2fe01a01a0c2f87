"""A whole NavMesh into each format, and back by somebody else's eyes."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from navmesh import exporters
from navmesh.exporters import ExportError, NavMesh
from navmesh.exporters.bin import HEADER, MAGIC, PARAMS, TILE
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental
from navmesh.query import SEARCH_M, Query
from navmesh.recast import Agent, World
from navmesh.tiles import TileKey, polygons_m
from tests.navmesh.test_peer import furnished


@pytest.fixture(scope="module")
def mesh() -> NavMesh:
    tiles = Incremental(furnished(3), [Agent()], TilesConfig(surfaces=False)).step().nav
    marked = [replace(tile, areas=np.where(np.arange(len(tile.areas)) % 3, 63, 5).astype(np.uint8)) for tile in tiles]
    return exporters.whole(marked, "human")


def ground_area_m2(mesh: NavMesh, area: int | None = None) -> float:
    total = 0.0
    for tile in mesh.tiles:
        for polygon, kind in zip(polygons_m(tile), tile.areas.tolist(), strict=True):
            x, z = polygon[:, 0].astype(float), polygon[:, 2].astype(float)
            if area in (None, kind):
                total += abs(x @ np.roll(z, -1) - z @ np.roll(x, -1)) / 2
    return total


def test_every_format_says_what_it_is(mesh: NavMesh) -> None:
    assert exporters.available() == ["bin", "glb", "obj"]
    for name in exporters.available():
        exporter = exporters.create(name)
        assert exporter.suffix == f".{name}"
        assert "/" in exporter.media_type
        assert exporter.encode(mesh) == exporter.encode(mesh)


def test_a_tile_set_holds_the_tiles_and_they_find_the_same_paths(mesh: NavMesh) -> None:
    data = exporters.create("bin").encode(mesh)
    magic, version, count = HEADER.unpack_from(data)
    assert (magic, version, count, data[:4]) == (MAGIC, 1, len(mesh.tiles), b"TESM")
    *origin_m, width, height, max_tiles, max_polys = PARAMS.unpack_from(data, HEADER.size)
    assert (width, height) == pytest.approx((3.2, 3.2))
    world, at, refs = World(width, tuple(origin_m)), HEADER.size + PARAMS.size, set()
    poly_bits = (max_polys - 1).bit_length()
    for tile in mesh.tiles:
        ref, size = TILE.unpack_from(data, at)
        blob = data[at + TILE.size : at + TILE.size + size]
        assert blob == tile.blob
        assert len(tile.polys) <= max_polys
        refs.add(ref >> poly_bits & max_tiles - 1)
        world.set(tile.key, blob)
        at += TILE.size + size
    assert at == len(data)
    assert refs == set(range(count)), "each tile has a slot of its own"
    query = Query([Agent()], 0.05)
    query.set(mesh.tiles)
    start, goals = (1.7, 0.0, 6.4), [(x, 0.0, z) for x in (1.0, 4.8, 8.0) for z in (1.0, 5.6, 8.5)]
    turns = 0
    for goal in goals:
        ours = query.path(start, goal, "human").points_m
        np.testing.assert_array_equal(ours, world.path(start, goal, SEARCH_M)[0])
        turns += len(ours)
    assert turns > 2 * len(goals)


def test_obj_holds_the_polygons_and_shares_their_corners(mesh: NavMesh) -> None:
    lines = exporters.create("obj").encode(mesh).decode().splitlines()
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    faces, kind = [], ""
    for line in lines:
        if line.startswith("o "):
            kind = line.removeprefix("o navmesh_area_")
        elif line.startswith("f "):
            faces.append((kind, vertices[[int(i) - 1 for i in line.split()[1:]]]))
    theirs = {(kind, tuple(map(tuple, face.round(3).tolist()))) for kind, face in faces}
    ours = {
        (str(area), tuple(map(tuple, polygon.astype(float).round(3).tolist())))
        for tile in mesh.tiles
        for polygon, area in zip(polygons_m(tile), tile.areas.tolist(), strict=True)
    }
    assert theirs == ours
    assert len(np.unique(vertices, axis=0)) == len(vertices) < sum(len(tile.verts) for tile in mesh.tiles)


def test_glb_opens_elsewhere_with_the_area_of_each_kind_of_ground(mesh: NavMesh) -> None:
    data = exporters.create("glb").encode(mesh)
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length])
    assert struct.unpack_from("<I", data, 8)[0] == len(data)
    assert document["scenes"][0]["extras"] == {"agent": "human"}
    scene = trimesh.load(io.BytesIO(data), file_type="glb", process=False)
    assert set(scene.geometry) == {"navmesh_area_5", "navmesh_area_63"}
    for kind in (5, 63):
        triangles = scene.geometry[f"navmesh_area_{kind}"].triangles
        turns = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 1]
        assert (turns >= 0).all(), "triangles turn counter-clockwise from above"
        assert turns.sum() / 2 == pytest.approx(ground_area_m2(mesh, kind), rel=1e-4)


def test_what_cannot_be_written_says_why(mesh: NavMesh) -> None:
    with pytest.raises(ExportError, match="choose bin, glb, obj"):
        exporters.create("fbx")
    with pytest.raises(ExportError, match="nothing is walkable"):
        exporters.whole(mesh.tiles, "giant")
    with pytest.raises(ExportError, match="different grids"):
        exporters.whole([*mesh.tiles, replace(mesh.tiles[0], cell_size_m=0.1, key=TileKey(9, 9))], "human")
    with pytest.raises(ExportError, match="no Detour data"):
        exporters.create("bin").encode(replace(mesh, tiles=(replace(mesh.tiles[0], blob=b""),)))
    crowded = replace(mesh.tiles[0], polys=np.zeros((1 << 16, 6), np.uint16))
    many = tuple(replace(crowded, key=TileKey(x, 0)) for x in range(65))
    with pytest.raises(ExportError, match="too many"):
        exporters.create("bin").encode(NavMesh("human", many))
