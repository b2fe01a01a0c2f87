"""Whatever comes over the native border is built, or refused with an error that says why; the process lives.

`make sanitize` runs these with the address and undefined-behaviour sanitizers.
"""

import contextlib
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.changes import VoxelBlocks, VoxelWindow
from navmesh.build import build_nav_tile
from navmesh.latch import Config as LatchConfig
from navmesh.latch import LatchedCells
from navmesh.recast import Agent, Config, TileFrame, World, build_from_spans
from navmesh.spans import Config as SpanConfig
from navmesh.tiles import NavTile, TileKey

HUMAN = Agent()
NEAR = (1.0, 2.0, 1.0)
TILE_M, CELL_M = 3.2, 0.05

seeds = st.integers(0, 2**32 - 1)


class Voxels:
    """Any blocks at all, lent as they are."""

    voxel_size_m, truncation_m = CELL_M, 0.15

    def __init__(self, keys: np.ndarray, tsdf_m: np.ndarray, weight: np.ndarray) -> None:
        self.keys = keys.astype(np.int32)
        self.tsdf_m, self.weight = tsdf_m.astype(np.float32), weight.astype(np.float32)

    def block_keys(self) -> np.ndarray:
        return self.keys

    def lend(self, keys: np.ndarray) -> VoxelBlocks:
        rows = {tuple(key): row for row, key in enumerate(self.keys.tolist())}
        found = [rows.get(tuple(key), -1) for key in keys.tolist()]
        return VoxelBlocks(np.array(found, np.int64), self.tsdf_m, self.weight, 0.2)

    def window(self, origin_voxel: tuple[int, int, int], shape: tuple[int, int, int]) -> VoxelWindow:
        raise NotImplementedError("cells are read from blocks")


def tile_of(voxels: Voxels, agent: Agent = HUMAN, config: Config = Config()) -> NavTile:  # noqa: B008
    cells = LatchedCells([agent.max_slope_deg], CELL_M, LatchConfig())
    stale = cells.mark(voxels.keys)
    while stale:
        stale = cells.refresh(voxels, stale).stale
    return build_nav_tile(cells, TileKey(0, 0), 0, agent, CELL_M, config, SpanConfig())


def column_of_blocks(heights: range) -> np.ndarray:
    return np.array([(i, j, k) for i in range(-3, 11) for k in range(-3, 11) for j in heights], np.int32)


def walk_on(tile: NavTile) -> None:
    if tile.blob:
        world = World(TILE_M, (0.0, tile.origin_m[1], 0.0))
        world.set(tile.key, tile.blob)
        world.path((0.1, 0.0, 0.1), (3.1, 0.0, 3.1), NEAR)
        world.reach((1.0, 0.0, 1.0), 5.0, (4.0, 200.0, 4.0))


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_any_spans_make_a_tile(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = TileFrame(TileKey(0, 0), CELL_M, 0.025, border_cells=10, tile_cells=16)
    spans = rng.integers(0, [36, 36, 200, 60, 1], (int(rng.integers(0, 4000)), 5)).astype(np.uint16)
    spans[:, 3] += spans[:, 2] + 1
    spans[:, 4] = rng.choice([0, 63, 62, 61], len(spans))
    walk_on(build_from_spans(spans, frame, HUMAN, Config()))


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_no_bytes_at_all_harm_the_border(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = TileFrame(TileKey(0, 0), CELL_M, 0.025, border_cells=10, tile_cells=16)
    spans = rng.integers(0, 2**16, (int(rng.integers(1, 50)), 5)).astype(np.uint16)
    with pytest.raises(ValueError, match=r"span|area"):
        build_from_spans(spans, frame, HUMAN, Config())


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_any_voxels_make_a_tile(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = np.unique(rng.integers([-3, -2, -3], [11, 3, 11], (400, 3)), axis=0)
    strange = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0, 0.1, -0.1, 1e-40], np.float32)
    tsdf_m = np.where(rng.random((len(keys), 8, 8, 8)) < 0.3, rng.choice(strange, (len(keys), 8, 8, 8)), -0.02)
    weight = np.where(rng.random(tsdf_m.shape) < 0.2, rng.choice(strange, tsdf_m.shape), 1.0)
    walk_on(tile_of(Voxels(keys, tsdf_m, weight)))


def test_unknown_solid_and_empty_space_have_nothing_to_walk_on() -> None:
    keys = column_of_blocks(range(-1, 2))
    shape = (len(keys), 8, 8, 8)
    assert not tile_of(Voxels(keys, np.full(shape, -0.1), np.ones(shape))).blob
    assert not tile_of(Voxels(keys, np.full(shape, 0.1), np.ones(shape))).blob
    assert not tile_of(Voxels(keys, np.full(shape, -0.1), np.zeros(shape))).blob
    assert not tile_of(Voxels(keys, np.full(shape, np.nan), np.ones(shape))).blob
    assert not tile_of(Voxels(keys[:0], np.empty((0, 8, 8, 8)), np.empty((0, 8, 8, 8)))).blob


@pytest.mark.parametrize("partition", ["watershed", "monotone", "layers"])
def test_many_storeys_of_many_pieces(partition: Literal["watershed", "monotone", "layers"]) -> None:
    """Far more runs of ground in one row than the row has columns: Recast's sweeps have no room for them."""
    frame = TileFrame(TileKey(0, 0), CELL_M, 0.025, border_cells=4, tile_cells=48)
    x, z, floor = (a.ravel() for a in np.meshgrid(np.arange(56), np.arange(56), np.arange(60), indexing="ij"))
    keep = x % 4 != 0
    x, z, low = x[keep], z[keep], 30 * floor[keep]
    spans = np.stack([x, z, low, low + 2, np.full(len(x), 63)], axis=1).astype(np.uint16)
    agent = Agent(name="mouse", radius_m=0.01, height_m=0.1, max_climb_m=0.05)
    config = Config(partition=partition, radius_margin_cells=0, min_region_m2=0, merge_region_m2=0)
    for _ in range(5):
        walk_on(build_from_spans(spans, frame, agent, config))


def test_more_storeys_than_recast_has_layers() -> None:
    """70 floors of 0.8 m: the lowest 63 are walked on, the others left out, which is Recast's limit."""
    keys = column_of_blocks(range(-70, 70))
    tsdf_m = np.where((keys[:, 1] % 2 == 0)[:, None, None, None], -0.05, 0.05) * np.ones((1, 8, 8, 8))
    tile = tile_of(Voxels(keys, tsdf_m, np.ones(tsdf_m.shape)), Agent(name="cat", radius_m=0.1, height_m=0.3))
    assert np.unique(tile.verts[:, 1]).tolist() == [4096 + 16 * floor for floor in range(-69, 56, 2)]
    walk_on(tile)


@given(
    radius_m=st.floats(0.001, 10),
    height_m=st.floats(0.001, 10),
    climb_m=st.floats(0, 10),
    slope_deg=st.floats(0.1, 89.9),
    contour=st.floats(0, 1e6),
    region_m2=st.floats(0, 1e4),
)
@settings(max_examples=40, deadline=None)
def test_agents_and_settings_are_taken_or_refused(
    radius_m: float, height_m: float, climb_m: float, slope_deg: float, contour: float, region_m2: float
) -> None:
    keys = column_of_blocks(range(-1, 1))
    tsdf_m = np.where((keys[:, 1] < 0)[:, None, None, None], -0.05, 0.05) * np.ones((1, 8, 8, 8))
    agent = Agent(name="a", radius_m=radius_m, height_m=height_m, max_climb_m=climb_m, max_slope_deg=slope_deg)
    config = Config(contour_error_cells=contour, min_region_m2=region_m2, merge_region_m2=region_m2)
    with contextlib.suppress(ValueError):
        walk_on(tile_of(Voxels(keys, tsdf_m, np.ones(tsdf_m.shape)), agent, config))


def test_blocks_out_of_this_world_are_refused_or_passed_over() -> None:
    cells = LatchedCells([45.0], CELL_M, LatchConfig())
    with pytest.raises(ValueError, match="too far"):
        cells.mark(np.array([[2**30, 0, 0]], np.int32))
    assert cells.mark(np.array([[0, 1 << 19, 0]], np.int32)) == set()
    assert cells.nbytes < 10_000


def test_rows_that_do_not_fit_are_refused() -> None:
    native = LatchedCells([45.0], CELL_M, LatchConfig()).native
    native.mark(np.zeros((1, 3), np.int32))
    picked, keys = native.begin([(0, 0)])
    voxels = np.zeros((1, 8, 8, 8), np.float32)
    for rows in (np.array([7]), np.array([0, 0])):
        with pytest.raises(ValueError, match="row"):
            native.latch(0, picked, rows, voxels, voxels, 0.0)
    with pytest.raises(IndexError, match="not picked"):
        native.latch(0, picked + 1, np.zeros(len(keys), np.int64), voxels, voxels, 0.0)
