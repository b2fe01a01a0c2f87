"""What an agent can and cannot do in a world whose every distance is known."""

import itertools

import numpy as np
import pytest

from benchmarks.sdf_world import Box, Ramp, SdfWorld, Shape, room
from navmesh.incremental import Config, Incremental
from navmesh.query import Query
from navmesh.recast import Agent

HUMAN = Agent()
NEAR = (0.3, 0.3, 0.3)
FLOOR = Box((-0.5, -0.3, -0.5), (6.5, 0.0, 6.5))
NAV_ONLY = Config(surfaces=False)


def walk(*shapes: Shape, agent: Agent = HUMAN, world: SdfWorld | None = None) -> Query:
    world = world or SdfWorld(shapes)
    tiles = Incremental(world, [agent], NAV_ONLY)
    query = Query([agent], world.voxel_size_m)
    query.apply(tiles.step())
    return query


def can_stand(query: Query, x: float, y: float, z: float, agent: str = "human") -> bool:
    found = query.nearest((x, y, z), agent, (0.05, 0.15, 0.05))
    return found is not None


@pytest.mark.parametrize(("slope_deg", "is_walkable"), [(20, True), (35, True), (50, False), (60, False)])
def test_ramps(slope_deg: float, is_walkable: bool) -> None:
    run = 2.0
    query = walk(FLOOR, Ramp((2.0, 0.0, 2.0), (2.0 + run, 4.0, 4.0), slope_deg))
    x = 2.8
    assert can_stand(query, x, (x - 2.0) * float(np.tan(np.radians(slope_deg))), 3.0) == is_walkable
    assert can_stand(query, 1.0, 0.0, 3.0)


@pytest.mark.parametrize(("rise_m", "is_climbed"), [(0.17, True), (0.35, False)])
def test_stairs(rise_m: float, is_climbed: bool) -> None:
    steps = [Box((2.0 + 0.3 * i, 0.0, 2.0), (5.0, rise_m * (i + 1), 4.0)) for i in range(5)]
    query = walk(FLOOR, *steps)
    top = (4.2, 5 * rise_m, 3.0)
    assert query.reachable((1.0, 0.0, 3.0), top, "human", NEAR) == is_climbed


@pytest.mark.parametrize(("door_m", "is_passable"), [(1.0, True), (0.9, True), (0.4, False)])
def test_doors(door_m: float, is_passable: bool) -> None:
    query = walk(*room(door_m=door_m))
    assert query.reachable((1.0, 0.0, 1.0), (5.0, 0.0, 5.0), "human", NEAR) == is_passable
    path = query.path((1.0, 0.0, 1.0), (5.0, 0.0, 5.0), "human")
    assert path.is_partial != is_passable


def test_a_path_goes_through_the_door_and_through_no_wall() -> None:
    query = walk(*room())
    path = query.path((1.0, 0.0, 1.0), (5.0, 0.0, 1.0), "human")
    assert not path.is_partial
    for a, b in itertools.pairwise(path.points_m):
        if min(a[0], b[0]) <= 3.0 <= max(a[0], b[0]) and a[0] != b[0]:
            z = a[2] + (b[2] - a[2]) * (3.0 - a[0]) / (b[0] - a[0])
            assert 2.5 < z < 3.5
    assert query.raycast((1.0, 0.0, 1.0), (5.0, 0.0, 1.0), "human").is_blocked  # type: ignore[union-attr]


@pytest.mark.parametrize(("height_m", "fits"), [(1.7, False), (0.6, True)])
def test_a_table_is_a_roof_for_those_who_fit_under_it(height_m: float, fits: bool) -> None:
    table = Box((2.0, 0.7, 2.0), (4.0, 0.75, 4.0))
    query = walk(FLOOR, table, agent=Agent(name="a", height_m=height_m))
    assert can_stand(query, 3.0, 0.0, 3.0, "a") == fits
    assert can_stand(query, 1.0, 0.0, 1.0, "a")


def test_two_storeys_are_both_walkable() -> None:
    query = walk(FLOOR, Box((-0.5, 2.7, -0.5), (6.5, 3.0, 6.5)))
    assert can_stand(query, 3.0, 0.0, 3.0)
    assert can_stand(query, 3.0, 3.0, 3.0)
    assert not query.reachable((3.0, 0.0, 3.0), (3.0, 3.0, 3.0), "human", NEAR)


def test_a_storey_too_low_for_the_agent_has_only_its_roof() -> None:
    query = walk(FLOOR, Box((-0.5, 1.5, -0.5), (6.5, 1.8, 6.5)))
    assert not can_stand(query, 3.0, 0.0, 3.0)
    assert can_stand(query, 3.0, 1.8, 3.0)


def test_the_mesh_ends_before_the_unknown() -> None:
    world = SdfWorld([FLOOR])
    world.hidden = lambda x, y, z: x > 4.0
    query = walk(world=world)
    assert can_stand(query, 3.4, 0.0, 3.0)
    assert not can_stand(query, 3.9, 0.0, 3.0)


def test_unknown_air_above_a_seen_floor_takes_no_headroom() -> None:
    world = SdfWorld([FLOOR])
    world.hidden = lambda x, y, z: y > 0.11
    assert can_stand(walk(world=world), 3.0, 0.0, 3.0)


def test_the_back_of_a_wall_seen_from_one_side_is_no_ground() -> None:
    world = SdfWorld([FLOOR, Box((3.0, 0.0, -0.5), (3.5, 1.0, 6.5))])
    world.hidden = lambda x, y, z: (x > 3.1) & (y > -1.0)
    query = walk(world=world)
    assert not can_stand(query, 3.05, 1.0, 3.0)
    assert can_stand(query, 2.0, 0.0, 3.0)


@pytest.mark.parametrize("radius_m", [0.15, 0.25, 0.5])
def test_no_path_comes_nearer_to_a_solid_than_the_agents_radius(radius_m: float) -> None:
    """Voxels say where a solid is to half a voxel, so the promise holds to within 2.5 cm of the true surface."""
    rng = np.random.default_rng(3)
    low = rng.uniform(0.5, 5.0, (10, 2))
    size = rng.uniform(0.15, 0.8, (10, 3))
    boxes = [
        Box((x, 0.0, z), (x + w, 0.3 + h, z + d)) for (x, z), (w, h, d) in zip(low.tolist(), size.tolist(), strict=True)
    ]
    agent = Agent(name="a", radius_m=radius_m)
    query = walk(FLOOR, *boxes, agent=agent)
    nearest_m, paths = np.inf, 0
    for start, goal in rng.uniform(0.3, 6.0, (60, 2, 2)):
        path = query.path((start[0], 0.0, start[1]), (goal[0], 0.0, goal[1]), "a")
        for a, b in itertools.pairwise(path.points_m):
            samples = a + np.linspace(0, 1, 40)[:, None] * (b - a)
            x, y, z = (samples[:, i].astype(np.float32) for i in range(3))
            nearest_m = min(nearest_m, *(box.distance(x, y + np.float32(0.4), z).min() for box in boxes))
            paths += 1
    assert paths > 20
    assert nearest_m >= radius_m - 0.025
