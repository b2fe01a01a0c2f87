"""The yardstick itself: a NavMesh of the flat's exact voxels passes, and each kind of fault is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import sdf_world, synthetic, walkability
from benchmarks.synthetic import layout
from benchmarks.synthetic.flat import Flat
from mapping.transforms import Sim3
from navmesh.incremental import Config, Incremental
from navmesh.query import Query
from navmesh.recast import Agent, radius_cells
from navmesh.recast import Config as RecastConfig
from navmesh.tiles import NavTile

AGENT = Agent()


@pytest.fixture(scope="module")
def flat() -> Flat:
    plan = layout.plan()
    boxes = np.array([[*b.lo, *b.hi] for b in plan.boxes])
    return Flat(plan, boxes, None, None)  # type: ignore[arg-type]  # nothing is drawn here


def build(world: sdf_world.SdfWorld) -> tuple[list[NavTile], Query]:
    tiles, query = {}, Query((AGENT,), world.voxel_size_m)
    incremental = Incremental(world, (AGENT,), Config())
    while incremental.pending:
        change = incremental.step()
        query.apply(change)
        tiles |= {tile.key: tile for tile in change.nav}
    return list(tiles.values()), query


def world_of(flat: Flat, without: str = "") -> sdf_world.SdfWorld:
    return sdf_world.SdfWorld(sdf_world.Box(b.lo, b.hi) for b in flat.plan.boxes if b.name != (without or None))


def floor(flat: Flat, radius_m: float) -> synthetic.FloorGrid:
    return synthetic.walkable(flat, radius_m=radius_m, height_m=AGENT.height_m, climb_m=AGENT.max_climb_m)


@pytest.fixture(scope="module")
def exact(flat: Flat) -> tuple[list[NavTile], Query]:
    return build(world_of(flat))


def test_a_navmesh_of_exact_voxels_passes(flat: Flat, exact: tuple[list[NavTile], Query]) -> None:
    tiles, query = exact
    promised = floor(flat, radius_cells(AGENT, 0.05, RecastConfig()) * 0.05)
    area = walkability.area(tiles, Sim3.identity(), floor(flat, AGENT.radius_m), promised)
    assert area.precision > 0.99
    assert area.recall > 0.95
    ways = walkability.ways(query, AGENT.name, Sim3.identity(), flat, promised)
    assert (ways.doors_passable, ways.blocked) == (6, ())
    assert ways.paths == 200
    assert ways.paths_through_solid == 0


def test_a_map_in_other_coordinates_is_judged_the_same(flat: Flat, exact: tuple[list[NavTile], Query]) -> None:
    tiles, _ = exact
    allowed = floor(flat, AGENT.radius_m)
    shifted = Sim3(1.0, np.eye(3), np.array([0.5, 0.0, 0.0]))
    straight = walkability.area(tiles, Sim3.identity(), allowed, allowed)
    assert walkability.area(tiles, shifted, allowed, allowed).precision < straight.precision - 0.1
    above = Sim3(1.0, np.eye(3), np.array([0.0, 0.5, 0.0]))
    assert walkability.area(tiles, above, allowed, allowed).recall == 0.0


def test_missing_walls_and_furniture_are_noticed(flat: Flat) -> None:
    tiles, query = build(world_of(flat, without="wall"))
    allowed = floor(flat, AGENT.radius_m)
    assert walkability.area(tiles, Sim3.identity(), allowed, allowed).precision < 0.9
    assert walkability.ways(query, AGENT.name, Sim3.identity(), flat, allowed).paths_through_solid > 20


def test_a_blocked_door_is_named(flat: Flat) -> None:
    door = flat.plan.doors[0]
    x, z = door.center
    world = world_of(flat)
    world.add(sdf_world.Box((x - 0.4, 0.0, z - 0.3), (x + 0.4, 2.0, z + 0.3)))
    _, query = build(world)
    ways = walkability.ways(query, AGENT.name, Sim3.identity(), flat, floor(flat, 0.35), pairs=1)
    assert ways.blocked == (door.name,)
