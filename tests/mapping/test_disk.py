"""Files are replaced whole; removing what is not there is no error."""

from __future__ import annotations

from pathlib import Path

import pytest

from mapping import disk


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    disk.write_file(path, b"old")

    def broken(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "sync_file", broken)
    with pytest.raises(OSError, match="No space"):
        disk.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    disk.write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_removes_files_trees_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    for name in ("tree", "file", "absent"):
        disk.remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_syncs_files_and_folders_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).write_bytes(b"")
    files: list[int] = []
    folders: list[str] = []
    monkeypatch.setattr(disk, "sync_file", files.append)
    monkeypatch.setattr(disk, "sync_directory", lambda path: folders.append(path.name))
    disk.sync_tree(tmp_path)
    assert len(files) == 3
    assert folders == ["b", "a", tmp_path.name], "a folder is synced after what it holds"
