"""Blobs are whole or not there, once per content, and go when nobody needs them."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path

import pytest

from mapping import disk
from server.api.contract import Unprocessable
from server.assets.blobs import Blobs, BlobTooLarge, StorageFull

HOUR_NS = 3_600_000_000_000


def blobs(folder: Path, most: int = 1000, store: int = 10_000) -> Blobs:
    return Blobs(folder, most, store)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_same_bytes_are_one_blob(tmp_path: Path) -> None:
    store = blobs(tmp_path)
    (tmp_path / "chair.glb").write_bytes(b"chair")
    sha256 = hashlib.sha256(b"chair").hexdigest()
    assert {store.put(b"chair"), store.put(b"chair"), store.put_file(tmp_path / "chair.glb")} == {sha256}
    assert store.path(sha256).read_bytes() == b"chair"
    assert (store.size(sha256), store.used_bytes) == (5, 5)
    assert files(tmp_path / "sha256") == [sha256]
    assert files(tmp_path / "incoming") == []
    assert blobs(tmp_path).used_bytes == 5


def test_wrong_bytes_and_too_many_leave_nothing(tmp_path: Path) -> None:
    store = blobs(tmp_path)
    with store.writing() as writer:
        writer.write(b"chair")
        with pytest.raises(Unprocessable, match="have the hash"):
            writer.finish("0" * 64)
    with pytest.raises(BlobTooLarge):
        store.put(b"x" * 1001)
    full = blobs(tmp_path, 1000, 1500)
    full.put(b"x" * 1000)
    with pytest.raises(StorageFull):
        full.put(b"y" * 1000)
    with store.writing() as writer:
        writer.write(b"given up")
    assert files(tmp_path) == [hashlib.sha256(b"x" * 1000).hexdigest()]


@pytest.mark.parametrize("call", ["sync_file", "rename"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    store = blobs(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(disk, call, full)
    with pytest.raises(StorageFull):
        store.put(b"chair")
    assert files(tmp_path) == []
    assert store.used_bytes == 0


@pytest.mark.parametrize("name", ["", "../secret", "A" * 64, "0" * 63, "0" * 65, "0" * 32 + "/" + "0" * 31])
def test_names_are_hashes_and_nothing_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        blobs(tmp_path).path(name)


def test_sweeping_spares_what_is_marked_or_new(tmp_path: Path) -> None:
    store = blobs(tmp_path)
    now_ns = time.time_ns()
    old, marked, fresh, kept = (store.put(name) for name in (b"old", b"marked", b"fresh", b"kept"))
    (tmp_path / "incoming" / "broken-off").write_bytes(b"half")
    for path in (store.path(old), store.path(marked), store.path(kept), tmp_path / "incoming" / "broken-off"):
        os.utime(path, ns=(now_ns - 2 * HOUR_NS, now_ns - 2 * HOUR_NS))
    assert store.keep(kept, now_ns)
    swept = store.sweep({marked}.__contains__, 3600, now_ns)
    assert (swept.blobs, swept.size_bytes) == (1, 3)
    assert files(tmp_path) == sorted([marked, fresh, kept])
    assert not store.keep(old, now_ns)
    assert store.used_bytes == len(b"markedfreshkept")


def test_a_file_that_changes_while_it_is_read_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = blobs(tmp_path), tmp_path / "growing.glb"
    path.write_bytes(b"half")
    check = store._check

    def grow(size_bytes: int) -> None:
        path.write_bytes(b"half and more")
        check(size_bytes)

    monkeypatch.setattr(store, "_check", grow)
    with pytest.raises(OSError, match="changed while it was read"):
        store.put_file(path)
    assert files(tmp_path / "sha256") == []
