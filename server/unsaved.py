"""What the disk does not have yet of a scene: voxels that changed, tiles that were published, and whether the volume
begins afresh. It leaves as one group of records, so that a crash never mixes two epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.changes import VoxelSource
from mapping.store.records import DropBlocks, Record, StoredBlocks, StoredTile
from mapping.volume import tsdf

BlockKey = tuple[int, int, int]


class Unsaved:
    """Bound: one entry per block and per tile of the map."""

    def __init__(self) -> None:
        self._blocks: set[BlockKey] = set()
        self._tiles: dict[tuple[str, tuple[int | str, ...]], StoredTile] = {}
        self._starts_afresh = False

    def note(self, blocks: NDArray[np.int32]) -> None:
        """Voxels of these (n, 3) BlockKeys changed."""
        self._blocks |= as_set(blocks)

    def start_afresh(self, voxels: VoxelSource) -> None:
        """A new epoch began: what is stored lies in the old world, and all blocks there are replace it."""
        self._starts_afresh = True
        self.note(voxels.block_keys())

    def hold(self, tiles: Sequence[StoredTile]) -> None:
        """These were published; the newest of each key counts."""
        self._tiles |= {(tile.layer, tile.key): tile for tile in tiles}

    def take(self, copy: Callable[[NDArray[np.int32]], tsdf.Blocks]) -> list[Record]:
        """All of it, once; `copy` gives voxels as they are now."""
        records: list[Record] = list(self._tiles.values())
        if self._starts_afresh:
            records.append(DropBlocks())
        if self._blocks:
            records.append(_stored(copy(np.array(sorted(self._blocks), np.int32))))
        self._tiles.clear()
        self._blocks.clear()
        self._starts_afresh = False
        return records


def as_set(keys: NDArray[np.int32]) -> set[BlockKey]:
    """BlockKeys (n, 3) as a set."""
    return set(map(tuple, keys.tolist()))


def _stored(blocks: tsdf.Blocks) -> StoredBlocks:
    return StoredBlocks(
        keys=blocks.keys,
        tsdf_m=blocks.tsdf_m.astype(np.float16),
        weight=blocks.weight.astype(np.float16),
        rgb=blocks.rgb,
    )
