"""Few kills and few cancels of the benchmark that makes many: what it counts is counted, and all is well."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generation import __main__ as command
from benchmarks.generation.cancelling import cancel_ms
from benchmarks.generation.killing import _gaps, kill


def test_kills_of_server_and_workers_lose_and_double_nothing() -> None:
    found = kill(8, seed=3)
    assert (found.kills, found.lost, found.duplicated, found.gaps) == (8, 0, 0, 0)
    assert min(found.servers, found.workers, found.jobs) > 0


async def test_running_jobs_are_cancelled_also_those_that_hang() -> None:
    assert len(await cancel_ms(4, seed=1)) == 4


def test_gaps_are_seen(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "x.sqlite")
    database.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY)")
    database.executemany("INSERT INTO events VALUES (?)", [(1,), (2,), (3,)])
    assert _gaps(database) == 0
    database.execute("DELETE FROM events WHERE seq = 2")
    assert _gaps(database) == 1
    database.execute("DELETE FROM events WHERE seq = 1")
    assert _gaps(database) == 2


def test_all_keys_are_there_and_what_was_not_measured_is_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.json"
    asked: list[dict[str, Any]] = [
        {"query": "jug", "expected": "ceramic_jug.glb", "names": ["ceramic_jug.glb", "table.glb"]},
        {"query": "tablet", "expected": None, "names": ["ceramic_jug.glb", "table.glb"]},
    ]
    names.write_text(json.dumps(asked))
    monkeypatch.setattr("sys.argv", ["generation", "--json", "--only", "library", "--library", str(names)])
    command.main()
    figures = json.loads(capsys.readouterr().out)
    assert set(command.KEYS) <= set(figures)
    assert figures["library_accuracy"] == 1.0
    assert [key for key in command.KEYS if figures[key] is not None] == ["library_accuracy"]
