"""Agreement with recast-navigation-js, an independent and newer build of the same library."""

import os
from typing import Any

import numpy as np
import pytest

from benchmarks.recast_peer import PeerMissing, ask, paths_job, slivers, tile_job
from benchmarks.sdf_world import Box, SdfWorld, room
from navmesh.build import border_cells
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental
from navmesh.latch import Config as LatchConfig
from navmesh.latch import LatchedCells
from navmesh.query import SEARCH_M, Query
from navmesh.recast import Agent, Config, TileFrame, build_from_spans
from navmesh.spans import BASE_HALF_VOXELS, spans_of
from navmesh.spans import Config as SpanConfig
from navmesh.tiles import NavTile, TileKey

HUMAN, CONFIG = Agent(), Config()
BASE_M = -BASE_HALF_VOXELS * 0.025


def ask_or_skip(jobs: list[dict[str, Any]]) -> list[Any]:
    try:
        return ask(jobs)
    except PeerMissing as reason:
        if os.environ.get("CI"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))


def furnished(seed: int) -> SdfWorld:
    rng = np.random.default_rng(seed)
    boxes = [
        Box((x, 0.0, z), (x + w, h, z + d))
        for x, z, w, h, d in rng.uniform([0, 0, 0.1, 0.1, 0.1], [9, 9, 0.9, 1.2, 0.9], (25, 5)).tolist()
    ]
    steps = [Box((7.0, 0.0, 2.0 + 0.3 * i), (8.0, 0.17 * (i + 1), 5.0)) for i in range(5)]
    table = Box((1.0, 0.7, 7.0), (2.4, 0.75, 7.8))
    return SdfWorld([*room(9.6), *boxes, *steps, table])


def test_polygons_and_adjacency_equal_the_peers_on_the_same_spans() -> None:
    world = furnished(0)
    cells = LatchedCells([HUMAN.max_slope_deg], 0.05, LatchConfig())
    cells.refresh(world, cells.mark(world.block_keys()))
    ours: list[NavTile] = []
    jobs = []
    for key in (TileKey(x, z) for x in range(3) for z in range(3)):
        frame = TileFrame(key, 0.05, 0.025, border_cells(HUMAN, 0.05, CONFIG), grid_origin_m=(0.0, BASE_M, 0.0))
        spans = spans_of(cells, key, frame.border_cells, 0, SpanConfig())
        ours.append(build_from_spans(spans, frame, HUMAN, CONFIG))
        jobs.append(tile_job(*slivers(spans, frame), frame, HUMAN, CONFIG))
    for tile, theirs in zip(ours, ask_or_skip(jobs), strict=True):
        assert tile.verts.ravel().tolist() == theirs["verts"]
        assert np.hstack([tile.polys, tile.neighbours]).ravel().tolist() == theirs["polys"]
        assert tile.areas.tolist() == theirs["areas"]
    assert sum(len(tile.polys) for tile in ours) > 30


def test_our_blobs_give_the_peer_the_same_paths() -> None:
    world = furnished(1)
    tiles = Incremental(world, [HUMAN], TilesConfig(surfaces=False)).step().nav
    query = Query([HUMAN], 0.05)
    query.set(tiles)
    rng = np.random.default_rng(2)
    standing = [
        query.nearest((x, 0.0, z), "human", (0.05, 0.3, 0.05)) for x, z in rng.uniform(0, 9.6, (1200, 2)).tolist()
    ]
    places = [place for place in standing if place is not None]
    pairs = list(zip(places[::2], places[1::2], strict=False))
    blobs = [tile.blob for tile in tiles if tile.blob]
    [theirs] = ask_or_skip([paths_job(blobs, pairs, 3.2, (0.0, BASE_M, 0.0), SEARCH_M)])
    assert theirs["added"] == len(blobs)
    assert len(pairs) > 200
    reached = 0
    for (start, goal), other in zip(pairs, theirs["paths"], strict=True):
        path = query.path(start, goal, "human")
        assert path.is_partial != other["reached"]
        if other["reached"]:
            reached += 1
            np.testing.assert_allclose(path.points_m.ravel(), other["points"], atol=1e-3)
    assert reached > 100
