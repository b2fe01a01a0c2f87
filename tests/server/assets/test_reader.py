"""The process that reads files: what it does not survive is refused, and the next file is read all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mapping.objects import glb, solid
from server.assets import reading
from server.assets.reader import Reader


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.stop()


def ask(reader: Reader, path: Path) -> dict[str, object]:
    return reader.ask(path=str(path), format="glb", name="x", asset_type="prop", wants="", folder=str(path.parent))


def test_it_dies_and_comes_back(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "box.glb"
    path.write_bytes(glb.encode(solid.box(1, 1, 1)))
    assert ask(reader, path)["triangles"] == 12
    assert reader._process is not None
    first = reader._process.pid
    os.kill(first, signal.SIGKILL)
    assert ask(reader, path)["triangles"] == 12
    assert reader._process.pid != first
    os.kill(reader._process.pid, signal.SIGSTOP)
    reader._timeout_s = 0.2
    assert ask(reader, path) == {"refused": "reading it takes more than 0.2 s"}
    reader._timeout_s = 60.0
    assert ask(reader, path)["triangles"] == 12


def test_too_odd_a_shape_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no width")

    monkeypatch.setattr(reading, "measure", fail)
    (tmp_path / "box.glb").write_bytes(glb.encode(solid.box(1, 1, 1)))
    told = reading.answer(str(tmp_path / "box.glb"), "glb", "x", "prop", "", str(tmp_path))
    assert told == {"refused": "it cannot be worked on (ZeroDivisionError: no width)"}


def test_it_knows_no_secrets(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONGROUND_SECRET", "hush")
    ask(reader, tmp_path / "nothing.glb")
    assert reader._process is not None
    assert b"hush" not in Path(f"/proc/{reader._process.pid}/environ").read_bytes()


def test_what_kills_it_twice_is_refused(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.assets.reader._START", "import os; os._exit(1)")
    assert ask(reader, tmp_path / "box.glb") == {"refused": "its reader died of it"}
