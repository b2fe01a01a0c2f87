"""What kind of ground the polygons say it is, in worlds whose every border is known."""

import itertools

import numpy as np
import pytest

from benchmarks.sdf_world import Box, Ramp, SdfWorld, Shape
from mapping.changes import MapChange
from navmesh import _voxels
from navmesh.incremental import Config, Incremental
from navmesh.query import Query
from navmesh.recast import Agent, AreaCosts
from navmesh.recast import Config as RecastConfig
from navmesh.spans import Config as SpanConfig
from navmesh.tiles import FLOOR, RAMP, STAIRS, NavTile, TileKey, polygons_m
from tests.navmesh.turned import Turned

HUMAN = Agent()
GROUND = Box((-0.5, -0.3, -0.5), (9.6, 0.0, 6.5))
NAV_ONLY = Config(surfaces=False)
NOISE_M = 0.008
BORDER_M = 0.15


def tiles_of(*shapes: Shape, noise_m: float = 0.0, seed: int = 0, config: Config = NAV_ONLY) -> tuple[NavTile, ...]:
    world = SdfWorld([GROUND, *shapes], noise_m=noise_m, seed=seed)
    return Incremental(world, [HUMAN], config).step().nav


def asking(tiles: tuple[NavTile, ...], agent: Agent = HUMAN) -> Query:
    query = Query([agent], 0.05)
    query.set(tiles)
    return query


def area_at(query: Query, x: float, y: float, z: float) -> int:
    found = query.standing((x, y, z), "human", (0.04, 0.15, 0.04))
    return 0 if found is None else found.area


def ground_m2(tiles: tuple[NavTile, ...], area: int | None = None) -> float:
    """How much ground there is, of one kind or in all, seen from above."""
    total = 0.0
    for tile in tiles:
        for polygon, kind in zip(polygons_m(tile), tile.areas.tolist(), strict=True):
            x, z = polygon[:, 0], polygon[:, 2]
            if area in (None, kind):
                total += abs(float(x @ np.roll(z, 1) - z @ np.roll(x, 1))) / 2
    return total


def staircase(
    x: float, steps: int = 6, *, tread_m: float = 0.3, rise_m: float = 0.17, far_m: float = 7.0
) -> list[Shape]:
    """Steps up along x from a place on, to a landing that ends at `far_m`."""
    return [Box((x + tread_m * i, 0.0, 1.0), (far_m, rise_m * (i + 1), 4.0)) for i in range(steps)]


@pytest.mark.parametrize("noise_m", [0.0, NOISE_M])
@pytest.mark.parametrize("foot_m", [2.0, 2.55])
def test_stairs_lie_from_the_first_riser_to_the_last(noise_m: float, foot_m: float) -> None:
    """Across the border of two tiles, at 3.2 m."""
    query = asking(tiles_of(*staircase(foot_m), noise_m=noise_m))
    head_m = foot_m + 5 * 0.3
    for x in np.arange(1.0, 6.0, 0.05):
        height = float(np.clip(np.floor((x - foot_m) / 0.3) + 1, 0, 6)) * 0.17
        if min(abs(x - foot_m), abs(x - head_m)) > BORDER_M:
            for z in (1.6, 2.5, 3.4):
                assert area_at(query, float(x), height, z) == (STAIRS if foot_m < x < head_m else FLOOR), (x, z)
    assert query.reachable((1.0, 0.0, 2.5), (6.0, 6 * 0.17, 2.5), "human")


@pytest.mark.parametrize("noise_m", [0.0, NOISE_M])
@pytest.mark.parametrize("slope_deg", [12.0, 20.0, 35.0])
def test_a_ramp_lies_from_its_foot_to_its_head(slope_deg: float, noise_m: float) -> None:
    foot_m, head_m, slope = 2.0, 4.0, float(np.tan(np.radians(slope_deg)))
    rise_m = 2.0 * slope
    landing = Box((head_m, 0.0, 1.0), (7.0, rise_m, 4.0))
    ramp = Ramp((foot_m, 0.0, 1.0), (head_m, 4.0, 4.0), slope_deg)
    query = asking(tiles_of(ramp, landing, noise_m=noise_m))
    for x in np.arange(1.0, 6.0, 0.05):
        if min(abs(x - foot_m), abs(x - head_m)) > BORDER_M:
            height = float(np.clip((x - foot_m) * slope, 0.0, rise_m))
            for z in (1.7, 2.5, 3.3):
                assert area_at(query, float(x), height, z) == (RAMP if foot_m < x < head_m else FLOOR), (x, z)
    assert query.reachable((1.0, 0.0, 2.5), (6.0, rise_m, 2.5), "human")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_makes_neither_stairs_nor_ramps_of_a_floor(seed: int) -> None:
    tiles = tiles_of(noise_m=NOISE_M, seed=seed)
    assert {area for tile in tiles for area in tile.areas.tolist()} == {FLOOR}


@pytest.mark.parametrize(
    "shape",
    [
        Box((2.0, 0.0, 1.0), (5.0, 0.17, 4.0)),  # a single step up
        Box((2.0, 0.0, 1.0), (2.3, 0.17, 4.0)),  # a beam
        Box((2.0, 0.0, 1.0), (2.2, 0.05, 4.0)),  # a doorsill
        Ramp((2.0, 0.0, 1.0), (5.0, 4.0, 4.0), 4.0),  # hardly a slope
        Ramp((2.0, 0.0, 1.0), (2.25, 4.0, 4.0), 20.0),  # a wedge
    ],
)
@pytest.mark.parametrize("noise_m", [0.0, NOISE_M])
def test_what_rises_once_or_hardly_is_floor(shape: Shape, noise_m: float) -> None:
    tiles = tiles_of(shape, noise_m=noise_m)
    assert {area for tile in tiles for area in tile.areas.tolist()} == {FLOOR}


@pytest.mark.parametrize("angle_deg", [15.0, 30.0, 45.0, 75.0])
def test_stairs_may_stand_at_any_angle(angle_deg: float) -> None:
    steps = [Box((-0.9 + 0.3 * i, 0.0, -1.0), (1.4, 0.17 * (i + 1), 1.0)) for i in range(6)]
    turned = [Turned(step, angle_deg, 3.2) for step in steps]
    query = asking(tiles_of(*turned))
    x, z = np.meshgrid(np.arange(2.0, 4.4, 0.1), np.arange(2.0, 4.4, 0.1))
    along, across = turned[0].along(x, z)
    inside = (along > -0.9 + BORDER_M) & (along < 0.6 - BORDER_M) & (np.abs(across) < 0.5)
    height = np.floor((along + 0.9) / 0.3 + 1) * 0.17
    places = zip(x[inside].tolist(), height[inside].tolist(), z[inside].tolist(), strict=True)
    found = [area_at(query, *place) for place in places]
    standing = [area for area in found if area]  # right at a riser the height is neither tread's
    assert len(standing) > 0.8 * len(found)
    assert set(standing) == {STAIRS}


def test_each_storey_has_areas_of_its_own() -> None:
    """Stairs under a gallery, and a ramp on it."""
    gallery = Box((0.0, 3.5, 0.0), (7.5, 3.8, 5.0))
    ramp = Ramp((1.0, 3.8, 1.0), (4.0, 8.0, 4.0), 15.0)
    query = asking(tiles_of(*staircase(2.0, 4), gallery, ramp))
    assert area_at(query, 2.45, 0.34, 2.5) == STAIRS
    assert area_at(query, 2.45, 3.8 + 1.45 * float(np.tan(np.radians(15.0))), 2.5) == RAMP
    assert area_at(query, 5.0, 0.68, 2.5) == FLOOR


@pytest.mark.parametrize("partition", ["watershed", "monotone"])
def test_areas_divide_the_ground_and_lose_none_of_it(partition: str) -> None:
    shapes = [*staircase(1.5, 5, far_m=4.0), Ramp((5.0, 0.0, 1.0), (7.0, 4.0, 4.0), 20.0)]
    recast = RecastConfig.model_validate({"partition": partition})
    told = tiles_of(*shapes, config=Config(surfaces=False, recast=recast))
    plain = tiles_of(*shapes, config=Config(surfaces=False, recast=recast, spans=SpanConfig(areas=False)))
    assert {area for tile in plain for area in tile.areas.tolist()} == {FLOOR}
    assert ground_m2(told) == pytest.approx(ground_m2(plain), rel=0.01)
    rim_m = 0.35  # what the agent's radius takes on both sides
    assert ground_m2(told, STAIRS) == pytest.approx(1.2 * (3.0 - 2 * rim_m), rel=0.1)
    assert ground_m2(told, RAMP) == pytest.approx((2.0 - rim_m) * (3.0 - 2 * rim_m), rel=0.15)


def test_python_and_the_extension_mean_the_same_numbers() -> None:
    assert (FLOOR, STAIRS, RAMP) == _voxels.AREAS


def test_both_sides_of_a_tiles_border_agree() -> None:
    """A ramp along the border at x = 3.2 m, and one across it: where ground goes on, so does its kind."""
    tiles = tiles_of(Ramp((2.0, 0.0, 1.0), (4.4, 4.0, 4.6), 20.0))
    query = asking(tiles)
    slope = float(np.tan(np.radians(20.0)))
    for z in np.arange(1.6, 4.0, 0.1):
        west, east = (area_at(query, x, (x - 2.0) * slope, float(z)) for x in (3.15, 3.25))
        assert west == east == RAMP


def test_the_best_way_depends_on_what_ground_costs() -> None:
    """Stairs straight ahead, and a ramp beside them that is a detour."""
    top = Box((4.0, 0.0, 0.0), (7.0, 0.51, 6.0))
    steps = [Box((3.1 + 0.3 * i, 0.0, 0.0), (4.0, 0.17 * (i + 1), 2.0)) for i in range(3)]
    ramp = Ramp((2.0, 0.0, 3.5), (4.0, 0.51, 5.5), float(np.degrees(np.arctan(0.51 / 2.0))))
    tiles = tiles_of(top, *steps, ramp)
    start, goal = (1.0, 0.0, 1.0), (6.0, 0.51, 1.0)

    def kinds(agent: Agent) -> set[int]:
        query = asking(tiles, agent)
        path = query.path(start, goal, agent.name)
        assert not path.is_partial
        walked = [a + t * (b - a) for a, b in itertools.pairwise(path.points_m) for t in np.linspace(0, 1, 60)]
        found = [query.standing(tuple(p.tolist()), agent.name, (0.1, 0.3, 0.1)) for p in walked]
        return {place.area for place in found if place is not None}

    assert STAIRS in kinds(HUMAN)
    wheeled = kinds(Agent(area_costs=AreaCosts(stairs=50.0)))
    assert RAMP in wheeled
    assert STAIRS not in wheeled


@pytest.mark.parametrize("cost", [0.5, float("nan"), float("inf")])
def test_no_ground_is_cheaper_than_a_metre_is_long(cost: float) -> None:
    with pytest.raises(ValueError, match="stairs"):
        AreaCosts(stairs=cost)


def test_areas_follow_edits_and_go_with_them() -> None:
    world = SdfWorld([GROUND])
    tiles = Incremental(world, [HUMAN], NAV_ONLY)
    before = {tile.key: tile.blob for tile in tiles.step().nav}
    shapes = [*staircase(2.0), Ramp((1.0, 0.0, 4.6), (4.0, 1.0, 6.0), 20.0)]
    current = dict(before)
    for edit, each in itertools.product((world.add, world.remove), shapes):
        change = tiles.apply(MapChange(epoch=0, dirty_blocks=edit(each)))
        current.update({tile.key: tile.blob for tile in change.nav})
        fresh = Incremental(world, [HUMAN], NAV_ONLY).step().nav
        assert {k: v for k, v in current.items() if v} == {tile.key: tile.blob for tile in fresh}
    assert current == before


def test_stairs_and_ramps_seen_again_with_noise_stay_calm() -> None:
    shapes = [GROUND, *staircase(1.5, 5, far_m=4.0), Ramp((5.0, 0.0, 1.0), (8.0, 4.0, 4.0), 20.0)]
    world = SdfWorld(shapes, noise_m=NOISE_M)
    tiles = Incremental(world, [HUMAN], NAV_ONLY)
    total = len(tiles.step().nav)
    changed: list[TileKey] = []
    for world.observation in range(1, 6):
        changed += [tile.key for tile in tiles.apply(MapChange(epoch=0, dirty_blocks=world.block_keys())).nav]
    assert total >= 6
    assert len(changed) <= 0.02 * total * 5 + 1
