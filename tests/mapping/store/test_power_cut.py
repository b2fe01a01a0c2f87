"""The power goes at any step: what was acknowledged is there, and nothing by halves."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapping import disk
from mapping.changes import KeyframeId
from mapping.store.records import (
    DropBlocks,
    EraseKeyframes,
    MovedKeyframes,
    Record,
    SceneMeta,
)
from mapping.store.scene_store import Store
from mapping.store.state import SceneState
from streams.frame import StreamId
from tests.mapping.store.scenes import blocks, in_process, keyframe, plain, tile


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
