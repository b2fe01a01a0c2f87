"""Culling tiles lie inside: whatever they hide, the true surface hides."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.rays import first_hits, gather
from benchmarks.sdf_world import Box, SdfWorld, room
from mapping.changes import MapChange, VoxelWindow
from mapping.volume.surface import extract
from navmesh.culling import Config, build_culling_tile
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental
from navmesh.occlusion import surface_window
from navmesh.recast import Agent
from navmesh.tiles import SurfaceTile, TileKey

FURNITURE = [
    Box((2.9, 0.0, 1.0), (3.9, 0.7, 1.6)),
    Box((0.6, 0.0, 4.0), (1.3, 1.8, 4.9)),
    Box((4.3, 0.4, 4.1), (4.33, 0.8, 5.0)),  # too thin to lie inside of
]
KEYS = [TileKey(x, z) for x, z in product(range(2), repeat=2)]


def tiles(world: SdfWorld) -> list[SurfaceTile]:
    return [build_culling_tile(surface_window(world, key, (-1, 6), 2), key, 0.05, Config()) for key in KEYS]


def on_triangles(tile: SurfaceTile, per_triangle: int = 20) -> NDArray[np.float32]:
    """Points spread over every triangle, its corners among them."""
    shares = np.random.default_rng(0).dirichlet([0.5, 0.5, 0.5], (len(tile.indices), per_triangle))
    points = np.einsum("tsk,tkc->tsc", shares, tile.vertices_m[tile.indices].astype(np.float64)).reshape(-1, 3)
    return np.concatenate([points.astype(np.float32), tile.vertices_m])


def sampled(window: VoxelWindow, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """The window's distance between voxel centres, trilinear."""
    place = points / 0.05 - 0.5 - np.array(window.origin_voxel)
    low = np.floor(place).astype(int)
    share = place - low
    total = np.zeros(len(points))
    for corner in product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1)
        total += weight * window.tsdf_m[tuple((low + corner).T)]
    return total


@pytest.mark.parametrize("noise_m", [0.0, 0.006])
def test_no_point_lies_outside_the_surface_of_the_map(noise_m: float) -> None:
    world = SdfWorld([*room(), *FURNITURE], noise_m=noise_m)
    points = np.concatenate([on_triangles(tile) for tile in tiles(world)])
    assert len(points) > 2000
    assert sampled(world.window((-6, -8, -6), (140, 64, 140)), points).max() < 0.001


def test_nor_does_it_leave_the_world_by_more_than_voxels_round_an_inner_corner() -> None:
    world = SdfWorld([*room(), *FURNITURE])
    points = np.concatenate([on_triangles(tile) for tile in tiles(world)])
    outside_m = np.min([shape.distance(*points.T) for shape in world.shapes], axis=0)
    assert outside_m.max() < 0.3 * 0.05
    assert np.mean(outside_m > 0.001) < 0.1


@pytest.mark.parametrize("noise_m", [0.0, 0.006])
def test_no_ray_is_stopped_before_the_full_surface(noise_m: float) -> None:
    """Ray oracle: the whole surface of the same voxels, unsimplified."""
    world = SdfWorld([*room(), *FURNITURE], noise_m=noise_m)
    surface = extract(world.window((-6, -8, -6), (140, 64, 140)), 0.05)
    rng = np.random.default_rng(1)
    eyes = rng.uniform([0.4, 0.9, 0.4], [2.5, 1.7, 2.5], (20_000, 3)).astype(np.float32)
    ahead = rng.normal(size=eyes.shape).astype(np.float32)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    full_m = first_hits(gather(surface.vertices_m[surface.indices]), eyes, ahead)
    culling_m = first_hits(gather(np.concatenate([t.vertices_m[t.indices] for t in tiles(world)])), eyes, ahead)
    stopped = np.isfinite(culling_m)
    assert stopped.mean() > 0.3
    assert (full_m[stopped] <= culling_m[stopped] + 0.001).all()


def test_it_stands_for_walls_and_leaves_thin_things_out() -> None:
    world = SdfWorld([*room(), *FURNITURE])
    points = np.concatenate([on_triangles(tile) for tile in tiles(world)])
    assert any(np.abs(points[:, 0] - 0.62) < 0.03)
    assert FURNITURE[2].distance(*points.T).min() > 0.0


def test_nothing_leads_through_the_unknown() -> None:
    world = SdfWorld([*room(), *FURNITURE])
    world.hidden = lambda x, y, z: (x - 1.5) ** 2 + (z - 1.5) ** 2 + 0 * y < 0.7**2
    for tile in tiles(world):
        points = on_triangles(tile)
        assert ((points[:, 0] - 1.5) ** 2 + (points[:, 2] - 1.5) ** 2 > 0.6**2).all()


def test_only_scenes_that_want_them_have_them_each_at_its_own_pace() -> None:
    world = SdfWorld(room())
    assert Incremental(world, [Agent()], TilesConfig()).step().culling == ()
    now_s = [0.0]
    config = TilesConfig(surface_period_s=0.3, culling=Config(is_built=True, period_s=1.0))
    incremental = Incremental(world, [Agent()], config, clock=lambda: now_s[0])
    first = incremental.step()
    assert {tile.key for tile in first.culling} == {tile.key for tile in first.occluder}
    blocks = world.add(FURNITURE[0])
    now_s[0] = 0.5
    change = incremental.apply(MapChange(0, dirty_blocks=blocks))
    assert change.occluder
    assert change.culling == ()
    assert incremental.pending
    now_s[0] = 1.0
    assert incremental.step().culling
    assert incremental.pending == 0
    now_s[0] = 1.1
    moved = incremental.apply(MapChange(1, dirty_blocks=world.remove(FURNITURE[0])))
    assert moved.culling, "a new epoch does not wait for its turn"
