"""Damaged files and failing disks are told about, and take nothing along that was acknowledged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mapping import disk
from mapping.store.log import LogError
from mapping.store.records import (
    SceneMeta,
)
from mapping.store.scene_store import Store, StoreError
from tests.mapping.store.scenes import blocks, in_process, keyframe, tile


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


def test_a_roll_up_that_fails_says_why_and_changes_nothing(rolled_up: Path) -> None:
    damage_tiles(rolled_up)
    store = Store.open(rolled_up)
    with pytest.raises(StoreError, match=r"the roll-up failed.*damaged"):
        store.roll_up()
    assert store.append(tile(0, 9)) == store.commit()


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
