"""A roll-up changes the files and nothing that is in them."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import numpy as np

from mapping.store.records import (
    SceneMeta,
)
from mapping.store.scene_store import Store
from streams.frame import StreamId
from tests.mapping.store.scenes import blocks, in_process, keyframe, plain, plain_tile, tile


def test_a_roll_up_in_its_own_process_gives_the_same(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.append(SceneMeta(lineage="abc"), tile(0, 1), blocks(1, 2, value=3.0), keyframe("a", 0))
    before = plain(store.load())
    store.roll_up()
    assert list(tmp_path.glob("*.zarr"))
    store.append(tile(1, 0))
    store.erase_stream(StreamId("a"))
    store.append(keyframe("a", 0))
    assert plain(store.load()) == before | {"tiles": before["tiles"] | plain_tile(1, 0)}


def test_a_roll_up_is_due_when_the_log_outgrows_bound_and_snapshot(tmp_path: Path) -> None:
    store = Store.open(tmp_path, in_process(roll_up_above_bytes=4096))
    assert not store.roll_up_due
    noise = np.random.default_rng(0).bytes(8192)
    store.append(msgspec.structs.replace(tile(0, 0), wire=noise))
    assert store.roll_up_due
    store.roll_up()
    assert not store.roll_up_due
    store.append(msgspec.structs.replace(tile(0, 1), wire=noise[:5000]))
    assert not store.roll_up_due, "the snapshot is larger: rewriting it for so little is waste"
    for ver in range(2, 12):
        store.append(msgspec.structs.replace(tile(0, ver), wire=noise))
    assert store.roll_up_due


def test_appending_goes_on_while_rolling_up(tmp_path: Path) -> None:
    store = Store.open(tmp_path, in_process())
    stop = threading.Event()

    def roll() -> None:
        while not stop.is_set():
            store.roll_up()

    roller = threading.Thread(target=roll)
    roller.start()
    for ver in range(150):
        store.append(tile(ver % 7, ver))
        store.commit()
    stop.set()
    roller.join()
    expected = {(key, "walker"): max(ver for ver in range(150) if ver % 7 == key) for key in range(7)}
    assert {key: tile.ver for (_, key), tile in store.load().tiles.items()} == expected
    store.close()
    assert {key: tile.ver for (_, key), tile in Store.open(tmp_path, in_process()).load().tiles.items()} == expected


def test_snapshot_is_a_zarr_group_that_others_can_read(tmp_path: Path) -> None:
    import zarr

    store = Store.open(tmp_path, in_process())
    store.append(SceneMeta(lineage="abc", attributes={"title": "Küche"}), blocks(3, 1, value=0.25))
    store.roll_up()
    group = zarr.open_group(next(tmp_path.glob("*.zarr")), mode="r")
    assert group.attrs["meta"]["attributes"]["title"] == "Küche"
    assert group["blocks/keys"][:].tolist() == [[1, 0, -1], [3, 0, -3]]
    assert group["blocks/tsdf_m"][1, 0, 0, 0] == 0.25
    assert group["blocks/rgb"].shards == (4096, 8, 8, 8, 3)
