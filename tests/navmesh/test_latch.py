import numpy as np
import pytest

from benchmarks.sdf_world import Box, Ramp, SdfWorld
from navmesh.latch import FREE, SOLID, STATE_MASK, UNKNOWN, Config, LatchedCells
from navmesh.tiles import TileKey

TILES = [TileKey(x, z) for x in range(-1, 3) for z in range(-1, 3)]
BLOCKS = np.array([(i, j, k) for i in range(8) for k in range(8) for j in range(-8, 10)], np.int32)
STEEP_45 = 0b100
FLOOR = Box((-1.0, -0.3, -1.0), (4.0, 0.0, 4.0))


def read(world: SdfWorld, cells: LatchedCells | None = None) -> LatchedCells:
    cells = cells or LatchedCells([45.0], world.voxel_size_m, Config())
    look(world, cells, world.block_keys())
    return cells


def look(world: SdfWorld, cells: LatchedCells, blocks: np.ndarray) -> set[TileKey]:
    """Read changed blocks until nothing is stale; the tiles that changed."""
    changed, stale = set(), cells.mark(blocks)
    while stale:
        read = cells.refresh(world, stale)
        changed |= read.changed
        stale = read.stale
    return changed


def column(cells: LatchedCells, x: int, z: int) -> dict[int, int]:
    """Cells of one column of the tile by height (in half voxels from y = 0)."""
    keys = np.array([(x // 8, j, z // 8) for j in range(-8, 10)], np.int32)
    stacks = zip(keys[:, 1].tolist(), cells.get(keys)[:, x % 8, z % 8].tolist(), strict=True)
    return {j * 16 + h: cell for j, stack in stacks for h, cell in enumerate(stack)}


@pytest.mark.parametrize("floor_m", [0.0, 0.012, 0.025, 0.038])
def test_the_surface_is_found_to_half_a_voxel(floor_m: float) -> None:
    world = SdfWorld([Box((-1.0, -0.3, -1.0), (4.0, floor_m, 4.0))])
    cells = column(read(world), 30, 30)
    top = max(h for h, cell in cells.items() if cell & STATE_MASK == SOLID) + 1
    assert abs(top * 0.025 - floor_m) <= 0.0126
    assert cells[top] & STATE_MASK == FREE


def test_what_was_never_seen_is_unknown_and_so_is_nan() -> None:
    world = SdfWorld([Box((-1.0, -1.0, -1.0), (4.0, 0.0, 4.0))])
    assert column(read(world), 30, 30)[-16] & STATE_MASK == UNKNOWN  # deeper than the truncation

    def spoil(tsdf_m: np.ndarray, weight: np.ndarray) -> None:
        tsdf_m[:] = np.nan
        weight[::2] = np.nan

    world.spoil = spoil
    assert set(column(read(world), 30, 30).values()) == {UNKNOWN}


def test_noise_within_the_hysteresis_changes_nothing() -> None:
    world = SdfWorld([FLOOR, Box((1.0, 0.0, 1.0), (2.0, 0.8, 2.0))])
    cells = read(world)
    before = cells.get(BLOCKS)
    world.noise_m = 0.005
    for observation in range(4):
        world.observation = observation
        look(world, cells, world.block_keys())
    solid_before, solid_after = (c & STATE_MASK == SOLID for c in (before, cells.get(BLOCKS)))
    assert (solid_before != solid_after).mean() < 1e-4


def test_without_hysteresis_the_same_noise_changes_much() -> None:
    world = SdfWorld([FLOOR], noise_m=0.008)
    cells = LatchedCells([45.0], world.voxel_size_m, Config(hysteresis_m=0.0))
    before = read(world, cells).get(BLOCKS)
    world.observation = 1
    look(world, cells, world.block_keys())
    assert (cells.get(BLOCKS) != before).any(axis=(1, 2, 3)).sum() > 50


def test_a_removed_object_leaves_what_would_be_there_without_it() -> None:
    untouched = read(SdfWorld([FLOOR])).get(BLOCKS)
    world = SdfWorld([FLOOR])
    cells = read(world)
    box = Box((1.013, 0.0, 1.047), (1.61, 0.33, 1.702))
    assert look(world, cells, world.add(box)) == {TileKey(0, 0)}
    assert look(world, cells, world.remove(box)) == {TileKey(0, 0)}
    np.testing.assert_array_equal(cells.get(BLOCKS), untouched)


@pytest.mark.parametrize(("slope_deg", "is_steep"), [(20.0, False), (35.0, False), (50.0, True), (60.0, True)])
def test_slope_comes_from_the_gradient(slope_deg: float, is_steep: bool) -> None:
    world = SdfWorld([FLOOR, Ramp((0.5, 0.0, 0.5), (2.5, 3.0, 2.5), slope_deg)])
    cells = read(world)
    ground = [cells_at_top(column(cells, x, 30)) for x in range(16, 40)]
    assert all(bool(cell & STEEP_45) == is_steep for cell in ground)


def cells_at_top(cells: dict[int, int]) -> int:
    top = max(h for h, cell in cells.items() if cell & STATE_MASK == SOLID)
    assert cells[top + 1] & STATE_MASK == FREE
    return cells[top]


def test_slope_at_the_limit_does_not_flicker() -> None:
    def changes(slope_hysteresis_deg: float) -> int:
        world = SdfWorld([FLOOR, Ramp((0.5, 0.0, 0.5), (2.5, 3.0, 2.5), 44.0)], noise_m=0.006)
        cells = read(world, LatchedCells([45.0], 0.05, Config(slope_hysteresis_deg=slope_hysteresis_deg)))
        before = [cells_at_top(column(cells, x, z)) for x in range(16, 40) for z in range(14, 46)]
        world.observation = 1
        read(world, cells)
        after = [cells_at_top(column(cells, x, z)) for x in range(16, 40) for z in range(14, 46)]
        return sum((a ^ b) & STEEP_45 != 0 for a, b in zip(before, after, strict=True))

    assert changes(5.0) < changes(0.0) / 4


def test_refresh_reports_only_blocks_that_differ() -> None:
    world = SdfWorld([FLOOR])
    assert look(world, read(world), world.block_keys()) == set()


def test_reading_in_any_order_gives_the_same_cells() -> None:
    box = Box((3.0, 0.0, 1.0), (3.6, 0.5, 1.6))  # over the edge between two tiles
    results = []
    for order in (TILES, TILES[::-1]):
        world = SdfWorld([FLOOR, box])
        cells = read(world)
        stale = cells.mark(world.remove(box))
        while stale:
            stale = set().union(*(cells.refresh(world, [tile]).stale for tile in order if tile in stale))
        results.append(cells.get(BLOCKS).tobytes())
    assert results[0] == results[1]


def test_more_slope_limits_than_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="6 different slope limits"):
        LatchedCells([10, 20, 30, 40, 50, 60, 70], 0.05, Config())
