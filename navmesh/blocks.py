"""From TSDF blocks to tiles: which blocks stand beside which, and which tiles must look at them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navmesh.tiles import TILE_BLOCKS, TileKey

BlockKey = tuple[int, int, int]
Column = tuple[int, int]
"""Block coordinates (i, k) of a vertical stack of blocks."""

_NEIGHBOURHOOD = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(1, 27, 3)
_BITS = 21
_HALF = 1 << (_BITS - 1)


def dilate(keys: NDArray[np.int32]) -> NDArray[np.int32]:
    """Blocks (n, 3) and the 26 around each, without repeats."""
    return _unique_rows((keys[:, None, :] + _NEIGHBOURHOOD).reshape(-1, 3))


def tiles_reached(keys: NDArray[np.int32], reach_blocks: int) -> set[TileKey]:
    """Tiles whose square, widened by `reach_blocks` on all sides, holds one of the blocks (n, 3)."""
    columns = _unique_rows(keys[:, [0, 2]])
    offsets = sorted({*range(-reach_blocks, reach_blocks, TILE_BLOCKS), 0, reach_blocks})
    corners = [np.floor_divide(columns + np.array([dx, dz]), TILE_BLOCKS) for dx in offsets for dz in offsets]
    return {TileKey(x, z) for x, z in _unique_rows(np.concatenate(corners)).tolist()}


def _unique_rows(rows: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Distinct rows of small integers, sorted: packed into one integer each, which numpy sorts far faster than rows."""
    width = rows.shape[1]
    packed = np.zeros(len(rows), np.int64)
    for axis in range(width):
        packed = (packed << _BITS) | (rows[:, axis].astype(np.int64) + _HALF)
    packed = np.unique(packed)
    shifts = [_BITS * (width - 1 - axis) for axis in range(width)]
    return np.stack([((packed >> shift) & (2 * _HALF - 1)) - _HALF for shift in shifts], axis=1).astype(np.int32)


def columns_of(tile: TileKey, reach_blocks: int) -> Iterator[Column]:
    """Block columns of a tile's square widened by `reach_blocks`, along x first to last, then along z."""
    for i in range(tile.x * TILE_BLOCKS - reach_blocks, (tile.x + 1) * TILE_BLOCKS + reach_blocks):
        for k in range(tile.z * TILE_BLOCKS - reach_blocks, (tile.z + 1) * TILE_BLOCKS + reach_blocks):
            yield i, k


class HeightIndex:
    """The lowest and highest block of every column that ever held one."""

    def __init__(self) -> None:
        self._range: dict[Column, tuple[int, int]] = {}

    def add(self, keys: NDArray[np.int32]) -> None:
        """Take note of blocks (n, 3)."""
        if len(keys) == 0:
            return
        ordered = keys[np.lexsort((keys[:, 1], keys[:, 2], keys[:, 0]))]
        is_first = np.append(True, (np.diff(ordered[:, [0, 2]], axis=0) != 0).any(axis=1))
        is_last = np.append(is_first[1:], True)
        for (i, j, k), top in zip(ordered[is_first].tolist(), ordered[is_last, 1].tolist(), strict=True):
            low, high = self._range.get((i, k), (j, top))
            self._range[i, k] = (min(low, j), max(high, top))

    def clear(self) -> None:
        self._range.clear()

    def range_of(self, columns: Iterable[Column]) -> tuple[int, int] | None:
        """Lowest and highest block over several columns; None when they are all empty."""
        ranges = [self._range[column] for column in columns if column in self._range]
        if not ranges:
            return None
        return min(low for low, _ in ranges), max(high for _, high in ranges)
