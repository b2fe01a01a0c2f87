"""Islands: small ground that leads nowhere, found tile by tile as the map changes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.copies import furnished
from benchmarks.sdf_world import Box, SdfWorld, Shape, room
from mapping.changes import MapChange
from navmesh.incremental import Config, Incremental
from navmesh.islands import MIN_GROUND_M2, closest
from navmesh.query import Query
from navmesh.recast import Agent
from navmesh.tiles import TileKey

HUMAN, CAT = Agent(), Agent(name="cat", radius_m=0.1, height_m=0.3, max_climb_m=0.1)
TABLE = Box((1.8, 0.65, 0.6), (4.2, 0.7, 1.8))
"""Across the border between two tiles."""
ON_TABLE = (3.4, 0.7, 1.3)


class Scene:
    def __init__(self, *shapes: Shape) -> None:
        self.world = SdfWorld(shapes or (*room(door_m=5.0), TABLE))
        self.tiles = Incremental(self.world, [HUMAN, CAT], Config(surfaces=False))
        self.query = Query([HUMAN, CAT], self.world.voxel_size_m)
        self.islands: dict[tuple[str, TileKey], tuple[int, ...]] = {}
        self.follow(np.empty((0, 3), np.int32))

    def follow(self, blocks: np.ndarray, most_tiles: int = 1000) -> list[tuple[str, TileKey]]:
        """Build and look for islands; returns whose islands changed."""
        self.query.apply(self.tiles.apply(MapChange(epoch=0, dirty_blocks=blocks)))
        news = []
        while self.query.islands_pending:
            for tile in self.query.find_islands(most_tiles):
                self.islands[tile.agent, tile.key] = tile.polygons
                news.append((tile.agent, tile.key))
        return news

    def flagged(self) -> dict[tuple[str, TileKey], tuple[int, ...]]:
        return {key: polygons for key, polygons in self.islands.items() if polygons}


def test_a_table_top_is_an_island_for_who_fits_there_and_the_floor_is_not() -> None:
    scene = Scene()
    flagged = scene.flagged()
    assert {agent for agent, _ in flagged} == {"cat", "human"}
    assert {key for _, key in flagged} == {TileKey(0, 0), TileKey(1, 0)}
    on = scene.query.standing(ON_TABLE, "cat")
    assert on is not None
    assert on.point_m[1] == pytest.approx(0.7, abs=0.05)


def test_islands_can_be_passed_over() -> None:
    query = Scene().query
    down = query.standing(ON_TABLE, "cat", (2.0, 2.0, 2.0), islands=False)
    assert down is not None
    assert down.point_m[1] == pytest.approx(0.0, abs=0.06)
    assert query.nearest(ON_TABLE, "cat", (0.2, 0.2, 0.2), islands=False) is None
    floor = (1.0, 0.0, 1.0)
    assert query.standing(floor, "cat", islands=False) == query.standing(floor, "cat")


def test_a_step_beside_the_table_makes_it_ground_and_taking_it_away_an_island() -> None:
    scene = Scene()
    before = scene.flagged()
    stairs = [Box((2.7, 0.0, 1.8 + 0.3 * i), (3.7, 0.08 * (8 - i), 2.1 + 0.3 * i)) for i in range(8)]
    for box in stairs:
        scene.follow(scene.world.add(box))
    assert not {key for agent, key in scene.flagged() if agent == "cat"}
    for box in stairs:
        scene.follow(scene.world.remove(box))
    assert scene.flagged() == before
    scene.follow(scene.world.remove(TABLE))
    assert not scene.flagged()


def test_what_did_not_change_is_not_told_again() -> None:
    scene = Scene()
    assert scene.follow(scene.world.blocks_around(TABLE)) == []
    far = Box((5.0, 0.0, 5.0), (5.4, 0.6, 5.4))
    scene.follow(scene.world.add(far), most_tiles=1)
    assert ("human", TileKey(0, 0)) not in scene.follow(scene.world.remove(far))


def test_islands_found_bit_by_bit_equal_those_found_at_once() -> None:
    rng = np.random.default_rng(2)
    scene = Scene(*furnished())
    standing: list[Box] = []
    for _ in range(30):
        if standing and rng.random() < 0.4:
            blocks = scene.world.remove(standing.pop())
        else:
            x, z, w, h, d = rng.uniform([0.5, 0.5, 0.3, 0.2, 0.3], [18, 18, 2.0, 0.9, 2.0]).tolist()
            standing.append(Box((x, 0.0, z), (x + w, h, z + d)))
            blocks = scene.world.add(standing[-1])
        scene.follow(blocks, most_tiles=int(rng.integers(1, 8)))
    assert len(scene.flagged()) > 10
    assert scene.flagged() == Scene(*scene.world.shapes).flagged()


def test_every_island_is_smaller_than_ground_and_cannot_be_left() -> None:
    scene = Scene(*furnished())
    tiles = {(t.agent, t.key): t for t in Incremental(scene.world, [HUMAN, CAT], Config(surfaces=False)).step().nav}
    from navmesh.tiles import polygons_m

    on_islands = 0
    for (agent, key), polygons in scene.flagged().items():
        for polygon in polygons:
            x, y, z = polygons_m(tiles[agent, key])[polygon].mean(axis=0).tolist()
            reach = scene.query.reach((x, y, z), 50.0, agent, (0.05, 0.5, 0.05))
            assert reach is not None
            assert len(reach.polygons) < 5 * MIN_GROUND_M2
            on_islands += 1
    assert on_islands > 10


def test_the_closest_place_of_a_polygon() -> None:
    slope = np.array([[0, 0, 0], [0, 0, 2], [2, 1, 2], [2, 1, 0]], np.float64)
    np.testing.assert_allclose(closest(slope, (1.0, 5.0, 1.0)), [1.0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(closest(slope[::-1], (3.0, 0.0, 1.0)), [2.0, 1.0, 1.0], atol=1e-6)
