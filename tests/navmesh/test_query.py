from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.sdf_world import Box, SdfWorld, room
from mapping.changes import MapChange
from navmesh.incremental import Config, Incremental
from navmesh.query import Query, UnknownAgent
from navmesh.recast import Agent
from navmesh.tiles import NavTile, TileKey

HUMAN, CAT = Agent(), Agent(name="cat", radius_m=0.1, height_m=0.3)
HERE, THERE = (1.0, 0.0, 1.0), (5.0, 0.0, 5.0)


class Scene:
    def __init__(self) -> None:
        self.world = SdfWorld(room())
        self.tiles = Incremental(self.world, [HUMAN, CAT], Config(surfaces=False))
        self.query = Query([HUMAN, CAT], self.world.voxel_size_m)
        self.query.apply(self.tiles.step())

    def change(self, blocks: np.ndarray) -> None:
        self.query.apply(self.tiles.apply(MapChange(epoch=0, dirty_blocks=blocks)))


def test_a_path_names_the_revisions_it_was_found_on() -> None:
    scene = Scene()
    path = scene.query.path(HERE, THERE, "human")
    assert not path.is_partial
    assert path.revisions
    assert set(path.revisions.values()) == {1}
    scene.change(scene.world.add(Box((1.5, 0.0, 1.5), (2.0, 0.5, 2.0))))
    again = scene.query.path(HERE, THERE, "human")
    assert again.revisions[TileKey(0, 0)] == 2
    assert again.revisions[TileKey(0, 0)] == scene.tiles.version("nav", TileKey(0, 0), "human")


def test_a_path_is_no_shorter_than_the_straight_line_and_joins_both_ends() -> None:
    path = Scene().query.path(HERE, THERE, "human")
    assert path.length_m >= np.linalg.norm(np.subtract(HERE, THERE))
    assert path.length_m < 1.3 * np.linalg.norm(np.subtract(HERE, THERE))
    assert path.points_m[0].tolist() == pytest.approx(HERE, abs=0.03)
    assert path.points_m[-1].tolist() == pytest.approx(THERE, abs=0.03)


def test_a_door_that_closes_ends_the_path_before_it_and_opening_restores_it() -> None:
    scene = Scene()
    before = scene.query.path(HERE, THERE, "human")
    door = Box((2.9, 0.0, 2.5), (3.1, 2.0, 3.5))
    scene.change(scene.world.add(door))
    closed = scene.query.path(HERE, THERE, "human", (3.0, 2.0, 3.0))
    assert closed.is_partial
    assert closed.points_m[-1][0] < 3.0
    assert not scene.query.reachable(HERE, THERE, "human")
    scene.change(scene.world.remove(door))
    np.testing.assert_array_equal(scene.query.path(HERE, THERE, "human").points_m, before.points_m)


def test_each_agent_walks_its_own_mesh() -> None:
    scene = Scene()
    scene.change(scene.world.add(Box((2.9, 0.5, 2.5), (3.1, 2.0, 3.5))))  # half a metre is left below
    assert not scene.query.reachable(HERE, THERE, "human")
    assert scene.query.reachable(HERE, THERE, "cat")


def test_the_same_path_whatever_order_the_tiles_came_in() -> None:
    world = SdfWorld(room())
    tiles = list(Incremental(world, [HUMAN], Config(surfaces=False)).step().nav)
    paths = []
    for order in (tiles, tiles[::-1]):
        query = Query([HUMAN], world.voxel_size_m)
        query.set(order)
        paths.append(query.path(HERE, THERE, "human").points_m)
    np.testing.assert_allclose(paths[0], paths[1], atol=1e-3)


def test_rays_and_nearest_points() -> None:
    query = Scene().query
    ray = query.raycast(HERE, (5.0, 0.0, 1.0), "human")
    assert ray is not None
    assert ray.is_blocked
    assert 2.3 < ray.end_m[0] < 2.9
    assert TileKey(0, 0) in ray.revisions
    nearest = query.nearest((0.0, 0.5, 1.0), "human")
    assert nearest is not None
    assert 0.25 <= nearest[0] <= 0.45
    assert query.nearest((0.0, 0.5, 1.0), "human", (0.1, 1.0, 0.1)) is None


def test_a_ray_sees_what_stands_on_its_own_floor_only() -> None:
    world = SdfWorld([Box((-0.5, -0.3, -0.5), (6.5, 0.0, 6.5)), Box((-0.5, 2.7, -0.5), (6.5, 3.0, 6.5))])
    query = Query([HUMAN], world.voxel_size_m)
    query.apply(Incremental(world, [HUMAN], Config(surfaces=False)).step())
    near = (0.5, 0.5, 0.5)
    below, above = (query.raycast((1, 0, 1), (5, y_m, 5), "human", near) for y_m in (0, 3))
    assert below is not None
    assert above is not None
    assert not below.is_blocked
    assert below.sees_end
    assert not above.sees_end


def test_a_standing_names_the_tile_it_is_on() -> None:
    query = Scene().query
    here = query.standing(HERE, "human")
    assert here is not None
    assert here.revisions == {TileKey(0, 0): 1}
    assert query.standing((90.0, 0.0, 0.0), "human") is None


def test_reach_goes_through_the_door_only_when_the_walk_is_long_enough() -> None:
    query = Scene().query
    short, long = (query.reach(HERE, within_m, "human") for within_m in (1.5, 20.0))
    assert short is not None
    assert long is not None
    assert TileKey(1, 1) not in short.revisions
    assert set(long.revisions) == {TileKey(0, 0), TileKey(0, 1), TileKey(1, 0), TileKey(1, 1)}
    assert (np.diff(long.walk_m[:2]) >= 0).all()


def test_mistakes_are_named() -> None:
    query = Scene().query
    assert query.agents == ("human", "cat")
    with pytest.raises(UnknownAgent, match="no agent 'dog' on this map; there are human, cat"):
        query.path(HERE, THERE, "dog")
    with pytest.raises(ValueError, match="finite"):
        query.path((float("inf"), 0.0, 0.0), THERE, "human")
    stranger = NavTile(
        TileKey(0, 0), "dog", (0, 0, 0), 0.05, 0.025, *[np.empty((0, 3), np.uint16)] * 3, np.empty(0, np.uint8)
    )  # type: ignore[arg-type]
    with pytest.raises(UnknownAgent):
        query.set([stranger])


def test_a_tile_that_detour_refuses_is_left_out_and_counted_and_the_others_go_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    tiles = Incremental(scene.world, [HUMAN], Config(surfaces=False)).step().nav
    spoiled = replace(tiles[0], blob=tiles[0].blob[:100])
    query = Query([HUMAN], scene.world.voxel_size_m)
    query.set(tiles)
    with caplog.at_level("WARNING"):
        query.set([spoiled, *tiles[1:]])
    assert query.num_refused == 1
    assert "left out" in caplog.text
    inside = ((spoiled.key.x + 0.5) * 3.2, 0.0, (spoiled.key.z + 0.5) * 3.2)
    assert query.nearest(inside, "human", (0.5, 1.0, 0.5)) is None
    assert {query.revision("human", tile.key) for tile in tiles} == {2}
    query.set([tiles[0]])
    assert query.nearest(inside, "human", (0.5, 1.0, 0.5)) is not None


def test_a_ray_says_where_one_stands() -> None:
    ray = Scene().query.raycast((1.0, 0.4, 1.0), (1.0, 0.0, 2.0), "human")
    assert ray is not None
    assert ray.start_m == pytest.approx(HERE, abs=0.03)


def test_what_hangs_together_after_many_changes_is_what_a_fresh_mesh_says() -> None:
    rng = np.random.default_rng(5)
    scene = Scene()
    walls: list[Box] = []
    places = [(x, 0.0, z) for x in (0.8, 2.0, 4.0, 5.2) for z in (0.8, 3.0, 5.2)]
    cut = 0
    for _ in range(14):
        if walls and rng.random() < 0.4:
            scene.change(scene.world.remove(walls.pop(int(rng.integers(len(walls))))))
        else:
            x, z, along = rng.uniform(0.0, 5.0), rng.uniform(0.0, 5.0), rng.random() < 0.5
            walls.append(Box((x, 0.0, z), (x + (0.1 if along else 3.0), 2.0, z + (3.0 if along else 0.1))))
            scene.change(scene.world.add(walls[-1]))
        fresh = Query([HUMAN], scene.world.voxel_size_m)
        fresh.set(Incremental(scene.world, [HUMAN], Config(surfaces=False)).step().nav)
        for a, b in zip(places, np.roll(places, 5, axis=0).tolist(), strict=True):
            assert scene.query.reachable(a, tuple(b), "human") == fresh.reachable(a, tuple(b), "human")
            cut += not fresh.reachable(a, tuple(b), "human")
    assert 0 < cut < 14 * len(places)


class ShortSighted:
    """A world that finds no more than the first metres of a way."""

    def __init__(self, world: Any, sight_m: float) -> None:
        self._world, self._sight_m = world, sight_m

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def path(self, *ends: Any) -> Any:
        points_m, revisions, is_partial = self._world.path(*ends)
        step_m = points_m[1] - points_m[0]
        length_m = float(np.linalg.norm(step_m))
        if length_m <= self._sight_m:
            return points_m[:2], revisions, is_partial or len(points_m) > 2
        return np.stack([points_m[0], points_m[0] + step_m * (self._sight_m / length_m)]), revisions, True


@pytest.mark.parametrize(("sight_m", "is_found"), [(7.0, True), (5.5, False), (2.0, False)])
def test_a_goal_too_far_for_one_search_is_reached_in_legs_or_the_way_ends_early(sight_m: float, is_found: bool) -> None:
    world = SdfWorld([Box((-0.5, -0.3, -0.5), (26.0, 0.0, 3.0))])
    query = Query([HUMAN], world.voxel_size_m)
    query.set(Incremental(world, [HUMAN], Config(surfaces=False)).step().nav)
    here, there = (0.5, 0.0, 1.0), (25.0, 0.0, 1.0)
    whole = query.path(here, there, "human")
    query._worlds["human"] = ShortSighted(query._worlds["human"], sight_m)  # type: ignore[assignment]
    path = query.path(here, there, "human")
    assert path.is_partial != is_found
    if is_found:
        assert path.length_m == pytest.approx(whole.length_m, rel=0.01)
        assert path.revisions == whole.revisions
    else:
        assert path.points_m[-1][0] < 24.0
