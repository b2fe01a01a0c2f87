"""What an agent can and cannot do must not depend on how the world stands to the voxel grid, nor on 8 mm of noise."""

import itertools

import numpy as np
import pytest

from benchmarks.sdf_world import Box, Ramp, SdfWorld, Shape
from navmesh.incremental import Config, Incremental
from navmesh.query import Query
from navmesh.recast import Agent
from tests.navmesh.turned import Turned

HUMAN = Agent()
CENTRE_M, NOISE_M = 3.2, 0.008
NEAR = (0.3, 0.3, 0.3)
GROUND = Box((-0.5, -0.3, -0.5), (6.9, 0.0, 6.9))
ANGLES_DEG = [0.0, 17.0, 30.0, 45.0, 75.0]

pytestmark = pytest.mark.parametrize("angle_deg", ANGLES_DEG)


def turn(angle_deg: float, *shapes: Shape) -> list[Turned]:
    return [Turned(shape, angle_deg, CENTRE_M) for shape in shapes]


def walk(shapes: list[Turned], agent: Agent = HUMAN, seed: int = 0) -> Query:
    world = SdfWorld([GROUND, *shapes], noise_m=NOISE_M, seed=seed)
    query = Query([agent], world.voxel_size_m)
    query.apply(Incremental(world, [agent], Config(surfaces=False)).step())
    return query


def climbs(angle_deg: float, rise_m: float, seed: int = 0, agent: Agent = HUMAN) -> bool:
    """Does the agent get from the floor onto the landing of five steps?"""
    steps = turn(angle_deg, *[Box((-0.8 + 0.3 * i, 0.0, -1.0), (2.0, rise_m * (i + 1), 1.0)) for i in range(5)])
    foot, head = steps[0].place(-1.5, 0.0, 0.0), steps[0].place(1.4, 5 * rise_m, 0.0)
    return walk(steps, agent, seed).reachable(foot, head, agent.name, NEAR)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stairs_are_climbed(angle_deg: float, seed: int) -> None:
    assert climbs(angle_deg, 0.17, seed)


def test_steps_higher_than_the_agent_climbs_are_not(angle_deg: float) -> None:
    assert not climbs(angle_deg, 0.35)
    assert not climbs(angle_deg, 0.17, agent=Agent(max_climb_m=0.1))


@pytest.mark.parametrize(("slope_deg", "is_walkable"), [(20.0, True), (35.0, True), (50.0, False), (60.0, False)])
def test_slopes(angle_deg: float, slope_deg: float, is_walkable: bool) -> None:
    [ramp] = turn(angle_deg, Ramp((-1.0, 0.0, -1.2), (1.0, 4.0, 1.2), slope_deg))
    query, rise = walk([ramp]), float(np.tan(np.radians(slope_deg)))
    places = [ramp.place(u, (u + 1.0) * rise, v) for u in np.arange(-0.5, 0.6, 0.1) for v in (-0.6, 0.0, 0.6)]
    found = [query.nearest(place, "human", (0.05, 0.15, 0.05)) is not None for place in places]
    assert found == [is_walkable] * len(found)


@pytest.mark.parametrize(("door_m", "is_passable"), [(1.0, True), (0.4, False)])
def test_doors(angle_deg: float, door_m: float, is_passable: bool) -> None:
    ends = [Box((-0.1, 0.0, -5.0), (0.1, 2.5, -door_m / 2)), Box((-0.1, 0.0, door_m / 2), (0.1, 2.5, 5.0))]
    walls = turn(angle_deg, *ends)
    query = walk(walls)
    sides = walls[0].place(-1.2, 0.0, 0.0), walls[0].place(1.2, 0.0, 0.0)
    assert query.reachable(*sides, "human", NEAR) == is_passable


@pytest.mark.parametrize(("height_m", "fits"), [(1.7, False), (0.5, True)])
def test_a_table_is_a_roof_for_those_who_fit_under_it(angle_deg: float, height_m: float, fits: bool) -> None:
    [table] = turn(angle_deg, Box((-0.8, 0.7, -0.6), (0.8, 0.75, 0.6)))
    query = walk([table], Agent(name="a", height_m=height_m))
    assert (query.nearest(table.place(0.0, 0.0, 0.0), "a", (0.05, 0.15, 0.05)) is not None) == fits


def test_no_path_comes_nearer_to_a_solid_than_the_agents_radius(angle_deg: float) -> None:
    """Voxels say where a solid is to half a voxel, so the promise holds to within 2.5 cm of the true surface."""
    rng = np.random.default_rng(3)
    size, low = rng.uniform(0.15, 0.8, (8, 3)).tolist(), rng.uniform(-2.2, 1.6, (8, 2)).tolist()
    boxes = [Box((x, 0.0, z), (x + w, 0.4 + h, z + d)) for (x, z), (w, h, d) in zip(low, size, strict=True)]
    solids = turn(angle_deg, *boxes)
    query = walk(solids)
    nearest_m, legs = np.inf, 0
    for start, goal in rng.uniform(0.3, 6.3, (60, 2, 2)):
        path = query.path((start[0], 0.0, start[1]), (goal[0], 0.0, goal[1]), "human")
        for a, b in itertools.pairwise(path.points_m):
            samples = a + np.linspace(0, 1, 40)[:, None] * (b - a)
            x, y, z = (samples[:, i].astype(np.float32) for i in range(3))
            nearest_m = min(nearest_m, *(solid.distance(x, y + np.float32(0.35), z).min() for solid in solids))
            legs += 1
    assert legs > 20
    assert nearest_m >= HUMAN.radius_m - 0.025
