"""Three who walk one map together: what stops one does not stop another, and each has tiles of its own."""

import pytest

from benchmarks.sdf_world import Box, SdfWorld
from mapping.changes import MapChange
from navmesh.incremental import Config, Incremental
from navmesh.query import Query
from navmesh.recast import Agent

HUMAN = Agent()
ROBOT = Agent(name="robot", radius_m=0.12, height_m=0.4, max_climb_m=0.05, max_slope_deg=15.0)
CREATURE = Agent(name="creature", radius_m=0.6, height_m=2.4, max_climb_m=0.4, max_slope_deg=50.0)
ALL = (HUMAN, ROBOT, CREATURE)
NEAR = (0.2, 0.15, 0.2)

Point = tuple[float, float, float]
HALL: Point = (1.5, 0.0, 4.8)
CELL: Point = (1.5, 0.0, 1.0)  # behind a door of 0.9 m
YARD: Point = (4.8, 0.0, 1.0)  # behind a door of 2 m
TABLE: Point = (4.8, 0.0, 6.8)  # below a top at 0.6 m
TERRACE: Point = (8.3, 0.51, 1.5)  # up three steps of 17 cm
LEDGE: Point = (8.3, 0.35, 6.5)  # up one step of 35 cm

DOOR_WALL = [
    Box((0.0, 0.0, 2.9), (1.05, 2.7, 3.1)),
    Box((1.95, 0.0, 2.9), (3.8, 2.7, 3.1)),
    Box((5.8, 0.0, 2.9), (9.6, 2.7, 3.1)),
    Box((3.2, 0.0, 0.0), (3.4, 2.7, 3.0)),
]
WORLD = [
    Box((-0.3, -0.3, -0.3), (9.9, 0.0, 9.9)),
    *DOOR_WALL,
    Box((3.8, 0.6, 6.0), (5.8, 0.65, 7.6)),
    *(Box((6.6 + 0.3 * i, 0.0, 0.0), (9.6, 0.17 * (i + 1), 2.9)) for i in range(3)),
    Box((7.0, 0.0, 5.0), (9.6, 0.35, 9.6)),
]


class Scene:
    def __init__(self) -> None:
        self.world = SdfWorld(WORLD)
        self.tiles = Incremental(self.world, ALL, Config(surfaces=False))
        self.query = Query(ALL, self.world.voxel_size_m)
        self.query.apply(self.tiles.step())

    def those_who_get_to(self, place: Point) -> set[str]:
        return {agent.name for agent in ALL if self.query.reachable(HALL, place, agent.name, NEAR)}

    def change(self, box: Box, *, is_added: bool) -> set[str]:
        """Put a box there or take it away; who got new tiles?"""
        blocks = self.world.add(box) if is_added else self.world.remove(box)
        change = self.tiles.apply(MapChange(epoch=0, dirty_blocks=blocks))
        self.query.apply(change)
        return {tile.agent for tile in change.nav}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(
    ("place", "who"),
    [
        (HALL, {"human", "robot", "creature"}),
        (CELL, {"human", "robot"}),
        (YARD, {"human", "robot", "creature"}),
        (TABLE, {"robot"}),
        (TERRACE, {"human", "creature"}),
        (LEDGE, {"creature"}),
    ],
)
def test_who_gets_where(scene: Scene, place: Point, who: set[str]) -> None:
    assert scene.those_who_get_to(place) == who


def test_a_way_that_is_open_to_one_is_partial_for_another(scene: Scene) -> None:
    for place in (CELL, TABLE, TERRACE, LEDGE):
        arrived = {agent.name for agent in ALL if not scene.query.path(HALL, place, agent.name, NEAR).is_partial}
        assert arrived == scene.those_who_get_to(place)


def test_all_follow_the_same_edit_each_on_a_mesh_of_its_own() -> None:
    scene = Scene()
    lintel = Box((1.0, 0.5, 2.9), (2.0, 2.7, 3.1))  # the narrow door is bricked up but for half a metre
    changed = scene.change(lintel, is_added=True)
    assert "human" in changed
    assert "robot" not in changed, "it walks below as it did before"
    assert scene.those_who_get_to(CELL) == {"robot"}
    scene.change(lintel, is_added=False)
    assert scene.those_who_get_to(CELL) == {"human", "robot"}
    fresh = Incremental(scene.world, ALL, Config(surfaces=False)).step().nav
    assert {tile.agent for tile in fresh} == {agent.name for agent in ALL}
    for agent in ALL:
        alone = Incremental(scene.world, [agent], Config(surfaces=False)).step().nav
        together = [tile for tile in fresh if tile.agent == agent.name]
        assert {tile.key: tile.blob for tile in alone} == {tile.key: tile.blob for tile in together}
