import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from navmesh.blocks import HeightIndex, columns_of, dilate, tiles_reached
from navmesh.tiles import TILE_BLOCKS, TileKey

block = st.tuples(*[st.integers(-40, 40)] * 3)
blocks = st.lists(block, max_size=12).map(lambda keys: np.array(keys, np.int32).reshape(-1, 3))


@given(blocks)
@settings(deadline=None)
def test_dilate_adds_every_neighbour_once(keys: np.ndarray) -> None:
    around = [
        (i + a, j + b, k + c) for i, j, k in keys.tolist() for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)
    ]
    assert sorted(map(tuple, dilate(keys).tolist())) == sorted(set(around))


@given(blocks, st.integers(0, 20))
@settings(deadline=None)
def test_a_tile_is_reached_exactly_when_its_widened_square_holds_a_block(keys: np.ndarray, reach: int) -> None:
    expected = {
        TileKey(x, z)
        for x in range(-8, 9)
        for z in range(-8, 9)
        for i, _, k in keys.tolist()
        if x * TILE_BLOCKS - reach <= i < (x + 1) * TILE_BLOCKS + reach
        and z * TILE_BLOCKS - reach <= k < (z + 1) * TILE_BLOCKS + reach
    }
    assert tiles_reached(keys, reach) == expected


def test_columns_of_a_tile_run_along_x_first() -> None:
    columns = list(columns_of(TileKey(-1, 0), 1))
    assert len(columns) == (TILE_BLOCKS + 2) ** 2
    assert columns[0] == (-9, -1)
    assert columns[1] == (-9, 0)
    assert columns[-1] == (0, 8)


@given(blocks, blocks)
@settings(deadline=None)
def test_height_index_keeps_the_extremes_of_all_that_was_added(first: np.ndarray, second: np.ndarray) -> None:
    index = HeightIndex()
    index.add(first)
    index.add(second)
    everything = np.concatenate([first, second])
    columns = [(int(i), int(k)) for i, _, k in everything]
    expected = (int(everything[:, 1].min()), int(everything[:, 1].max())) if len(everything) else None
    assert index.range_of(columns) == expected
    index.clear()
    assert index.range_of(columns) is None
