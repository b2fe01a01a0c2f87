"""The store gives back the last durable state: after reopening, after a power cut at any step, after a damaged file."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mapping import disk
from mapping.changes import KeyframeId
from mapping.store.log import LogError
from mapping.store.records import (
    DropBlocks,
    EraseKeyframes,
    MovedKeyframes,
    Record,
    SceneMeta,
    StoredBlocks,
    StoredKeyframe,
    StoredTile,
)
from mapping.store.scene_store import Config, Store, StoreError
from mapping.store.state import SceneState
from streams.frame import Intrinsics, StreamId


def blocks(*keys: int, value: float = 0.0) -> StoredBlocks:
    n = len(keys)
    return StoredBlocks(
        keys=np.array([(key, 0, -key) for key in keys], np.int32).reshape(-1, 3),
        tsdf_m=np.full((n, 8, 8, 8), value, np.float16),
        weight=np.ones((n, 8, 8, 8), np.float16),
        rgb=np.full((n, 8, 8, 8, 3), int(value) % 256, np.uint8),
    )


def keyframe(stream: str, seq: int, capture_ns: int = 0, **more: Any) -> StoredKeyframe:
    return StoredKeyframe(
        id=KeyframeId(f"{stream}/{seq}"),
        stream=StreamId(stream),
        capture_ns=capture_ns,
        world_from_camera=np.eye(4) * (seq + 1),
        intrinsics=Intrinsics(1, 1, 4, 3, 8, 6),
        **more,
    )


def tile(key: int, ver: int, **more: Any) -> StoredTile:
    return StoredTile(layer="nav", key=(key, "walker"), seq=ver, ver=ver, wire=b"version %d" % ver, **more)


def plain(state: SceneState) -> dict[str, Any]:
    """Comparable by value."""

    def value(record: Any) -> Any:
        return msgspec.to_builtins(record, enc_hook=lambda array: [array.dtype.str, array.shape, array.tobytes()])

    return {
        "meta": value(state.meta),
        "blocks": value(state.blocks.all()),
        "keyframes": {key: value(keyframe) for key, keyframe in state.keyframes.items()},
        "tiles": {key: value(tile) for key, tile in state.tiles.items()},
    }


def plain_tile(key: int, ver: int) -> dict[Any, Any]:
    state = SceneState()
    state.apply(tile(key, ver))
    return plain(state)["tiles"]


def in_process(**config: Any) -> Config:
    """Rolls up in this process: faster here, and the power cuts can see it."""
    return Config(roll_up_process=False, **config)


def everything(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


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


def test_a_roll_up_that_fails_says_why_and_changes_nothing(rolled_up: Path) -> None:
    damage_tiles(rolled_up)
    store = Store.open(rolled_up)
    with pytest.raises(StoreError, match=r"the roll-up failed.*damaged"):
        store.roll_up()
    assert store.append(tile(0, 9)) == store.commit()


def test_large_batches_are_cut_but_stay_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapping.store.scene_store.ROWS_PER_RECORD", 10)
    store = Store.open(tmp_path, in_process())
    assert store.append(blocks(*range(35), value=2.0)) == 1
    assert store.load().blocks.all().keys.shape == (35, 3)


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


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rolled_up(tmp_path: Path) -> Path:
    store = Store.open(tmp_path, in_process())
    store.append(SceneMeta(lineage="abc"), tile(0, 1), blocks(1), keyframe("a", 0))
    store.roll_up()
    store.append(tile(0, 2))
    store.close()
    return tmp_path


def damage_tiles(path: Path) -> None:
    [chunk] = next(path.glob("*.zarr")).glob("tiles/records/c/0")
    data = bytearray(chunk.read_bytes())
    data[10] ^= 0xFF
    chunk.write_bytes(data)


@pytest.mark.parametrize(
    ("hurt", "says"),
    [
        (damage_tiles, "damaged"),
        (lambda path: shutil.rmtree(next(path.glob("*.zarr"))), "damaged"),
        (lambda path: (path / "manifest.json").write_bytes(b"{"), "damaged"),
        (lambda path: (path / "manifest.json").write_bytes(b'{"format": 99}'), "upgrade"),
        (lambda path: next(path.glob("*.log")).write_bytes(b"junk"), "restore"),
    ],
)
def test_damage_is_told_not_crashed_on(rolled_up: Path, hurt: Callable[[Path], Any], says: str) -> None:
    hurt(rolled_up)
    with pytest.raises(StoreError, match=says):
        Store.open(rolled_up, in_process()).load()


def test_files_that_do_not_count_are_removed(rolled_up: Path) -> None:
    (rolled_up / "snapshot-00000099.zarr").mkdir()
    (rolled_up / "snapshot-00000100.zarr.tmp").mkdir()
    (rolled_up / "00000001.log").write_bytes(b"old")
    (rolled_up / "notes.log").write_bytes(b"a visitor's")
    before = {"lock", "manifest.json", "notes.log", "00000002.log", "snapshot-00000002.zarr"}
    store = Store.open(rolled_up, in_process())
    assert {path.name for path in rolled_up.iterdir()} == before
    assert store.load().tiles["nav", (0, "walker")].ver == 2


def test_a_failing_disk_is_told_and_the_acknowledged_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path, in_process())
    store.append(tile(0, 1))
    store.commit()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "sync_file", full)
    store.append(tile(0, 2))
    with pytest.raises(LogError, match="No space left"):
        store.commit()
    monkeypatch.undo()
    assert store.durable_sequence == 1
    with pytest.raises(LogError):
        store.close()
    assert Store.open(tmp_path, in_process()).load().tiles["nav", (0, "walker")].ver >= 1


# -- the power goes ----------------------------------------------------------------------------------------------------


class PowerCut(BaseException):
    """No code may catch this."""


class FragileDisk:
    """Remembers what really reached the disk, and cuts the power at the n-th operation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cut_at: int) -> None:
        self._left = cut_at
        self._contents: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {}
        replacements = {
            "sync_file": self.file_synced,
            "sync_directory": self.directory_synced,
            "sync_tree": self.tree_synced,
            "rename": disk.rename,
            "remove": disk.remove,
        }
        for name, operation in replacements.items():
            monkeypatch.setattr(disk, name, self._fragile(operation))

    def _fragile(self, operation: Callable[..., None]) -> Callable[..., None]:
        def fragile(*args: Any) -> None:
            if self._left == 0:
                raise PowerCut
            self._left -= 1
            operation(*args)

        return fragile

    def file_synced(self, descriptor: int) -> None:
        stat = os.fstat(descriptor)
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            self._contents[stat.st_ino] = file.read()

    def directory_synced(self, path: Path) -> None:
        self._entries[path.stat().st_ino] = {entry.name: entry.inode() for entry in os.scandir(path)}

    def tree_synced(self, path: Path) -> None:
        for folder in (path, *filter(Path.is_dir, path.rglob("*"))):
            self._entries[folder.stat().st_ino] = {entry.name: entry.inode() for entry in os.scandir(folder)}
        for file in filter(Path.is_file, path.rglob("*")):
            self._contents[file.stat().st_ino] = file.read_bytes()

    def what_reached_it(self, live: Path, target: Path) -> Path:
        """The directory as a pessimist's disk holds it: nothing that was not synced, neither data nor names."""
        self._restore(live.stat().st_ino, target)
        return target

    def _restore(self, inode: int, target: Path) -> None:
        if inode in self._entries:
            target.mkdir()
            for name, child in self._entries[inode].items():
                self._restore(child, target / name)
        else:
            target.write_bytes(self._contents.get(inode, b""))


def live_a_little(store: Store, acknowledged: list[dict[str, Any]], model: SceneState) -> None:
    """Everything a store does, noting each state that was promised to be durable."""

    def do(*records: Record) -> None:
        store.append(*records)
        for record in records:
            model.apply(record)
        possible.append(plain(model))

    def commit() -> None:
        store.commit()
        acknowledged[:] = possible[-1:]

    possible = acknowledged
    do(SceneMeta(lineage="abc"), tile(0, 0))
    commit()
    do(blocks(1, 2, value=1.0), keyframe("a", 0))
    do(tile(0, 1))
    commit()
    store.roll_up()
    acknowledged[:] = possible[-1:]
    do(tile(1, 0), MovedKeyframes(ids=[KeyframeId("a/0")], world_from_camera=np.ones((1, 4, 4))))
    do(DropBlocks(), blocks(2, value=3.0))
    commit()
    do(keyframe("b", 0))
    model.apply(EraseKeyframes(stream=StreamId("a")))
    possible.append(plain(model))
    store.erase_stream(StreamId("a"))
    acknowledged[:] = possible[-1:]
    store.close()


def test_power_cut_at_every_step(tmp_path: Path) -> None:
    """After a cut at any disk operation, what was acknowledged is there, and nothing is there by halves."""
    for step in itertools.count():
        possible: list[dict[str, Any]] = []
        live = tmp_path / f"{step}-live"
        with pytest.MonkeyPatch.context() as patch:
            fragile = FragileDisk(patch, step)
            try:
                store = Store.open(live, in_process())
                fragile.directory_synced(live)
                possible.append(plain(SceneState()))
                live_a_little(store, possible, SceneState())
                finished = True
            except PowerCut:
                finished = False
        if finished:
            break
        optimist = Path(shutil.copytree(live, tmp_path / f"{step}-optimist"))
        survivors = [optimist]
        if live.stat().st_ino in fragile._entries:
            survivors.append(fragile.what_reached_it(live, tmp_path / f"{step}-pessimist"))
        for survivor in survivors:
            store = Store.open(survivor, in_process())
            state = plain(store.load())
            assert state in (possible or [plain(SceneState())]), f"after a cut at operation {step}: {survivor.name}"
            store.append(tile(9, 9))
    assert step > 30, "the disk operations were not seen"


# -- any history -------------------------------------------------------------------------------------------------------

KEYS = st.lists(st.integers(0, 5), max_size=4).map(lambda keys: blocks(*keys, value=float(len(keys))))
RECORDS = st.one_of(
    st.builds(SceneMeta, lineage=st.just("abc"), epoch=st.integers(0, 9)),
    st.builds(tile, st.integers(0, 3), st.integers(0, 99), removed=st.booleans()),
    KEYS,
    st.just(DropBlocks()),
    st.builds(lambda keys: DropBlocks(keys=blocks(*keys).keys), st.lists(st.integers(0, 5), max_size=3)),
    st.builds(keyframe, st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 99)),
    st.builds(
        lambda seq, x: MovedKeyframes(ids=[KeyframeId(f"a/{seq}")], world_from_camera=np.full((1, 4, 4), x)),
        st.integers(0, 3),
        st.floats(-9, 9),
    ),
    st.builds(EraseKeyframes, stream=st.sampled_from([None, "a", "b"]), before_ns=st.integers(0, 99)),
)


class AnyHistory(RuleBasedStateMachine):
    """A store equals its model after any sequence of appends, commits, roll-ups, reopenings and kills."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.copies = itertools.count()
        self.path = Path(self.folder.name) / "scene"
        self.store = Store.open(self.path, in_process())
        self.model = SceneState()

    @rule(records=st.lists(RECORDS, min_size=1, max_size=4))
    def append(self, records: list[Record]) -> None:
        self.store.append(*records)
        for record in records:
            self.model.apply(record)

    @rule()
    def commit(self) -> None:
        self.store.commit()

    @rule()
    def roll_up(self) -> None:
        self.store.roll_up()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.path, in_process())

    @rule()
    def killed_after_a_commit(self) -> None:
        """What a killed process leaves is the directory as it lies there."""
        self.store.commit()
        self.path = Path(shutil.copytree(self.path, Path(self.folder.name) / f"copy-{next(self.copies)}"))
        self.store = Store.open(self.path, in_process())

    @invariant()
    def equals_its_model(self) -> None:
        assert plain(self.store.load()) == plain(self.model)

    def teardown(self) -> None:
        self.folder.cleanup()


AnyHistory.TestCase.settings = settings(max_examples=12, stateful_step_count=10, deadline=None)
TestAnyHistory = AnyHistory.TestCase
