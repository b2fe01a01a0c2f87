"""What is kept beside the scenes: readable or nothing, and never half of it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mapping import disk
from mapping.tracking.lenses import Lenses
from server.scene_folders import load_lenses, save_lenses, stored_scenes


def learnt(name: str) -> Lenses:
    lenses = Lenses()
    lenses.learn(name, 0.8, 0.05)
    return lenses


def test_folders_with_a_scenes_name_are_scenes(tmp_path: Path) -> None:
    for name in ("main", "a.b-c_9", ".hidden", "-x", "x" * 65):
        (tmp_path / name).mkdir()
    (tmp_path / "lenses.json").touch()
    assert stored_scenes(tmp_path) == ["a.b-c_9", "main"]
    assert stored_scenes(tmp_path / "nowhere") == []


def test_what_was_learnt_of_lenses_comes_back(tmp_path: Path) -> None:
    assert load_lenses(tmp_path).recall("phone") is None
    save_lenses(tmp_path, learnt("phone"))
    assert load_lenses(tmp_path).recall("phone") == learnt("phone").recall("phone")
    for broken in ("", "{", '["phone"]', '{"phone": [-1, 2]}'):
        (tmp_path / "lenses.json").write_text(broken)
        assert load_lenses(tmp_path).recall("phone") is None


def test_a_full_disk_leaves_the_old_lenses_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save_lenses(tmp_path, learnt("old"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "sync_file", full)
    save_lenses(tmp_path, learnt("new"))
    assert load_lenses(tmp_path).recall("old") is not None
    assert ["lenses cannot be kept" in record.getMessage() for record in caplog.records] == [True]


def test_a_kill_while_they_are_written_leaves_the_old_lenses(tmp_path: Path) -> None:
    save_lenses(tmp_path, learnt("old"))
    program = (
        "import os, pathlib, signal, sys\n"
        "from mapping import disk\n"
        "from mapping.tracking.lenses import Lenses\n"
        "from server.scene_folders import save_lenses\n"
        "disk.sync_file = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "save_lenses(pathlib.Path(sys.argv[1]), Lenses())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert load_lenses(tmp_path).recall("old") is not None
    save_lenses(tmp_path, learnt("new"))
    assert load_lenses(tmp_path).recall("new") is not None
