"""The store gives back what it was given, once, to one process, and forgets what it has to."""

from __future__ import annotations

from pathlib import Path

import pytest

from mapping.changes import KeyframeId
from mapping.store.scene_store import Store, StoreError
from streams.frame import StreamId
from tests.mapping.store.scenes import blocks, everything, in_process, keyframe, tile


def test_a_new_scene_is_empty(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "scene", in_process())
    state = store.load()
    assert state.meta is None
    assert len(state.blocks) == 0
    assert (state.keyframes, state.tiles, store.durable_sequence) == ({}, {}, 0)


def test_sequences_count_groups_across_reopening_and_roll_up(tmp_path: Path) -> None:
    store = Store.open(tmp_path, in_process())
    assert store.append(tile(0, 0), tile(1, 0)) == 1
    assert store.append(tile(0, 1)) == 2
    assert store.durable_sequence == 0
    assert store.commit() == store.durable_sequence == 2
    store.roll_up()
    assert store.append(tile(2, 0)) == 3
    store.close()
    store = Store.open(tmp_path, in_process())
    assert store.durable_sequence == 3
    assert store.append(tile(2, 1)) == 4


def test_only_one_process_may_open_a_scene(tmp_path: Path) -> None:
    store = Store.open(tmp_path, in_process())
    with pytest.raises(StoreError, match="open in another process"):
        Store.open(tmp_path, in_process())
    store.close()
    Store.open(tmp_path, in_process()).close()


def test_pixels_reach_the_disk_only_when_retained(tmp_path: Path) -> None:
    picture = b"\xff\xd8 somebody's face"
    for retain in (False, True):
        store = Store.open(tmp_path / str(retain), in_process(retain_pixels=retain))
        store.append(keyframe("a", 0, jpeg=picture))
        store.commit()
        in_log = picture in everything(store.path)
        store.roll_up()
        assert store.load().keyframes[KeyframeId("a/0")].jpeg == (picture if retain else None)
        assert in_log is retain


def test_erased_streams_are_in_no_file_any_more(tmp_path: Path) -> None:
    store = Store.open(tmp_path, in_process(retain_pixels=True))
    store.append(keyframe("thief", 0, jpeg=b"in the snapshot"), keyframe("owner", 0, jpeg=b"stays"))
    store.roll_up()
    store.append(keyframe("thief", 1, jpeg=b"in the log"))
    store.commit()
    store.erase_stream(StreamId("thief"))
    assert list(store.load().keyframes) == ["owner/0"]
    store.close()
    Store.open(tmp_path, in_process(retain_pixels=True, roll_up_above_bytes=1)).close()
    left = everything(tmp_path)
    assert b"thief" not in left
    assert list(Store.open(tmp_path, in_process()).load().keyframes) == ["owner/0"]


def test_keyframes_expire(tmp_path: Path) -> None:
    hour_ns = 3600 * 10**9
    store = Store.open(tmp_path, in_process(keyframe_ttl_s=24 * 3600))
    assert not store.expire(now_ns=99 * hour_ns), "nothing is stored"
    store.append(keyframe("a", 0, capture_ns=1 * hour_ns), keyframe("a", 1, capture_ns=5 * hour_ns))
    assert not store.expire(now_ns=25 * hour_ns)
    assert store.expire(now_ns=25 * hour_ns + 1)
    assert list(store.load().keyframes) == ["a/1"]
    assert not store.expire(now_ns=25 * hour_ns + 1)
    store.close()
    store = Store.open(tmp_path, in_process(keyframe_ttl_s=24 * 3600))
    assert store.expire(now_ns=30 * hour_ns), "a store that was not read yet has to look"
    assert store.load().keyframes == {}
    store.close()
    store = Store.open(tmp_path, in_process(keyframe_ttl_s=None))
    store.append(keyframe("a", 0, capture_ns=0))
    assert not store.expire(now_ns=10**6 * hour_ns)


def test_large_batches_are_cut_but_stay_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapping.store.scene_store.ROWS_PER_RECORD", 10)
    store = Store.open(tmp_path, in_process())
    assert store.append(blocks(*range(35), value=2.0)) == 1
    assert store.load().blocks.all().keys.shape == (35, 3)
