"""Records add up: the newest of each thing stays, what was taken away is gone, and rows are reused."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mapping.changes import KeyframeId
from mapping.store.records import MovedKeyframes, StoredBlocks, StoredTile
from mapping.store.state import BlockTable, SceneState

BATCH = st.lists(st.tuples(st.integers(0, 9), st.integers(-99, 99)), max_size=8)
"""(key, value) of some blocks."""


def blocks(batch: list[tuple[int, int]]) -> StoredBlocks:
    values = np.array([value for _, value in batch], np.float16)[:, None, None, None]
    shape = (len(batch), 8, 8, 8)
    return StoredBlocks(
        keys=np.array([(key, -key, 0) for key, _ in batch], np.int32).reshape(-1, 3),
        tsdf_m=np.broadcast_to(values, shape),
        weight=np.broadcast_to(values, shape),
        rgb=np.zeros((*shape, 3), np.uint8),
    )


@given(st.lists(st.tuples(BATCH, st.lists(st.integers(0, 9), max_size=4)), max_size=8))
def test_the_newest_block_of_each_key_stays(history: list[tuple[list[tuple[int, int]], list[int]]]) -> None:
    table, model = BlockTable(), dict[int, int]()
    for batch, dropped in history:
        table.put(blocks(batch))
        model |= dict(batch)
        table.drop(blocks([(key, 0) for key in dropped]).keys)
        for key in dropped:
            model.pop(key, None)
    everything = table.all()
    assert len(table) == len(model)
    assert dict(zip(everything.keys[:, 0].tolist(), everything.tsdf_m[:, 3, 4, 5].tolist(), strict=True)) == model
    assert everything.keys.tolist() == sorted(everything.keys.tolist())


def test_dropped_rows_are_reused() -> None:
    table = BlockTable()
    for value in range(2000):
        table.put(blocks([(value % 7, value)]))
        table.drop(blocks([(value % 7, 0)]).keys)
    assert len(table._columns.tsdf_m) == 256


def test_removals_are_remembered() -> None:
    state = SceneState()
    for removed in (False, True):
        state.apply(StoredTile(layer="nav", key=(1, 2), seq=1, ver=1, wire=b"", removed=removed))
    assert state.tiles["nav", (1, 2)].removed


def test_moves_of_unknown_keyframes_are_ignored() -> None:
    state = SceneState()
    state.apply(MovedKeyframes(ids=[KeyframeId("a/1")], world_from_camera=np.eye(4)[None]))
    assert state.keyframes == {}
