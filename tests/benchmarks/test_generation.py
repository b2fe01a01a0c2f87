"""Few kills and few cancels of the benchmark that makes many: what it counts is counted, and all is well."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.generation import __main__ as command
from benchmarks.generation.cancelling import cancel_ms
from benchmarks.generation.killing import OUTSTANDING, _Client, _gaps, _inspect, kill, until_over
from server.jobs.values import Failure


def test_kills_of_server_and_workers_lose_and_double_nothing() -> None:
    found = kill(8, seed=3)
    assert (found.kills, found.lost, found.duplicated, found.gaps) == (8, 0, 0, 0)
    assert min(found.servers, found.workers, found.jobs) > 0


FORGETFUL = """
import json, os, sys
for number in map(int, sys.stdin):
    print(json.dumps({"order": number, "job": f"{number} of {os.getpid()}"}), flush=True)
    if number % 2:
        print(json.dumps({"done": number}), flush=True)
"""


def test_jobs_that_are_never_done_end_the_wait_and_are_lost(tmp_path: Path) -> None:
    client = _Client([sys.executable, "-c", FORGETFUL])
    client.order_more()
    client.finish(quiet_s=0.5)
    first = dict(client.answered)
    assert client.done == {1, 3}
    client.kill_server()  # the next one has never heard of them
    client.finish(quiet_s=0.5)
    assert client.answered == first
    (tmp_path / "jobs").mkdir()
    (tmp_path / "assets").mkdir()
    with sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite") as jobs:
        jobs.execute("CREATE TABLE jobs (job, state)")
        jobs.executemany("INSERT INTO jobs VALUES (?, ?)", [(first[1], "succeeded"), (first[2], "cancelled")])
        jobs.execute("INSERT INTO jobs VALUES ('new', 'succeeded')")  # of order 0; order 3 is not in the books
        jobs.execute("CREATE TABLE events (seq)")
        jobs.execute("INSERT INTO events VALUES (1)")
    with sqlite3.connect(tmp_path / "assets" / "assets.sqlite") as assets:
        assets.execute("CREATE TABLE versions (asset)")
        assets.executemany("INSERT INTO versions VALUES (?)", [(f"order{n}",) for n in range(OUTSTANDING)])
        assets.execute("CREATE TABLE events (seq)")
        assets.execute("INSERT INTO events VALUES (1)")
    assert _inspect(tmp_path, client)[0] == 3


async def test_whatever_a_job_ends_as_it_is_over() -> None:
    died = Failure(code="died", message="", retryable=True)
    for end in ("cancelled", "expired", "failed", "succeeded"):
        states = iter([("running", None), ("failed", died), (end, died if end == "cancelled" else None)])
        retried: list[str] = []

        async def wait(job: str, wait_s: float, states: Any = states) -> Any:
            state, failure = next(states)
            return SimpleNamespace(state=state, failure=failure, is_over=state not in ("queued", "running"))

        async def retry(job: str, retried: list[str] = retried) -> None:
            retried.append(job)

        desk: Any = SimpleNamespace(wait=wait, retry=retry)
        await until_over(desk, "job")
        assert (retried, next(states, None)) == (["job"], None)


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
