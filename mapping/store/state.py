"""A stored scene in memory: what its records add up to. `apply` is the meaning of the log; nothing here is I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mapping.changes import BLOCK_VOXELS, KeyframeId
from mapping.store.records import (
    DropBlocks,
    EraseKeyframes,
    LayerKey,
    MovedKeyframes,
    Record,
    SceneMeta,
    StoredBlocks,
    StoredKeyframe,
    StoredPlace,
    StoredTile,
)

_ROW_SHAPE = (BLOCK_VOXELS, BLOCK_VOXELS, BLOCK_VOXELS)


class BlockTable:
    """The newest voxels of every block, in rows that grow by doubling and are reused after a drop."""

    def __init__(self) -> None:
        self._row_by_key: dict[tuple[int, int, int], int] = {}
        self._free: list[int] = []
        self._columns = _Columns(
            np.empty((0, *_ROW_SHAPE), np.float16),
            np.empty((0, *_ROW_SHAPE), np.float16),
            np.empty((0, *_ROW_SHAPE, 3), np.uint8),
        )

    def __len__(self) -> int:
        return len(self._row_by_key)

    def put(self, blocks: StoredBlocks) -> None:
        """Add blocks, or replace the ones that are there (the last of equal keys wins)."""
        rows = np.array([self._row(key) for key in map(tuple, blocks.keys.tolist())], np.intp)
        self._columns.tsdf_m[rows] = blocks.tsdf_m
        self._columns.weight[rows] = blocks.weight
        self._columns.rgb[rows] = blocks.rgb

    def drop(self, keys: NDArray[np.int32] | None) -> None:
        """Remove blocks ((n, 3); None = all); keys that are not there are ignored."""
        if keys is None:
            self.__init__()  # type: ignore[misc]
            return
        gone = (self._row_by_key.pop(key, None) for key in map(tuple, keys.tolist()))
        self._free += [row for row in gone if row is not None]

    def all(self) -> StoredBlocks:
        """Every block, sorted by key so that equal maps give equal bytes."""
        rows_by_key = sorted(self._row_by_key.items())
        keys = np.array([key for key, _ in rows_by_key], np.int32).reshape(-1, 3)
        rows = np.array([row for _, row in rows_by_key], np.intp)
        columns = self._columns
        return StoredBlocks(keys=keys, tsdf_m=columns.tsdf_m[rows], weight=columns.weight[rows], rgb=columns.rgb[rows])

    def _row(self, key: tuple[int, int, int]) -> int:
        row = self._row_by_key.get(key)
        if row is None:
            row = self._free.pop() if self._free else len(self._row_by_key)
            self._row_by_key[key] = row
            self._columns.reserve(row + 1)
        return row


@dataclass(slots=True, eq=False)
class _Columns:
    tsdf_m: NDArray[np.float16]  # (capacity, 8, 8, 8)
    weight: NDArray[np.float16]  # (capacity, 8, 8, 8)
    rgb: NDArray[np.uint8]  # (capacity, 8, 8, 8, 3)

    def reserve(self, rows: int) -> None:
        if rows <= len(self.tsdf_m):
            return
        capacity = max(256, 2 * rows)
        for column in fields(self):
            old: NDArray[Any] = getattr(self, column.name)
            new = np.zeros((capacity, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, column.name, new)


@dataclass(slots=True, eq=False)
class SceneState:
    """Everything a scene needs to go on where it stopped."""

    meta: SceneMeta | None = None
    """None = nothing was ever stored about this scene."""
    blocks: BlockTable = field(default_factory=BlockTable)
    keyframes: dict[KeyframeId, StoredKeyframe] = field(default_factory=dict)
    places: dict[KeyframeId, StoredPlace] = field(default_factory=dict)
    tiles: dict[tuple[str, LayerKey], StoredTile] = field(default_factory=dict)
    """Newest message per (layer, key), removals included: who resumes must hear of them too."""

    def apply(self, record: Record) -> None:
        """Let one more record take effect."""
        match record:
            case SceneMeta():
                self.meta = record
            case StoredTile():
                self.tiles[record.layer, record.key] = record
            case StoredBlocks():
                self.blocks.put(record)
            case DropBlocks():
                self.blocks.drop(record.keys)
            case StoredKeyframe():
                self.keyframes[record.id] = record
            case StoredPlace():
                self.places[record.id] = record
            case MovedKeyframes():
                for keyframe, pose in zip(record.ids, record.world_from_camera, strict=True):
                    if keyframe in self.keyframes:
                        old = self.keyframes[keyframe]
                        self.keyframes[keyframe] = msgspec.structs.replace(old, world_from_camera=pose)
            case EraseKeyframes():
                self.keyframes = {k: v for k, v in self.keyframes.items() if not record.matches(v)}
                self.places = {k: v for k, v in self.places.items() if not record.matches(v)}
