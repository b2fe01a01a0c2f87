"""The audit of a killed server finds every kind of loss; a real server has none."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from benchmarks.durability_server import Audit, Seen, run
from server.protocol import Delta, Event, Remove, pack


def delta(x: int, seq: int, ver: int, epoch: int = 1, body: int = 0) -> bytes:
    return pack(
        Delta(
            scene="main", seq=seq, epoch=epoch, layer="nav", key=[x, 0], ver=ver,
            capture_ns=0, infer_ns=0, publish_ns=0, body={"n": body},
        )
    )  # fmt: skip


def durable(seq: int) -> bytes:
    return pack(Event(scene="main", seq=seq + 1, name="durable", data={"seq": seq}))


def audit(*frames: bytes) -> Audit:
    result = Audit()
    for frame in frames:
        result.take(frame)
    return result


BEFORE = (delta(1, seq=1, ver=1), delta(2, seq=2, ver=1), durable(2), delta(1, seq=3, ver=2))


def test_only_what_the_server_called_durable_is_acknowledged() -> None:
    assert {key[1]: seen.version for key, seen in audit(*BEFORE).acknowledged.items()} == {(1, 0): 1, (2, 0): 1}


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        ([delta(1, 1, 1), delta(2, 2, 1)], None),
        ([delta(1, 3, 2), delta(2, 2, 1)], None),
        ([delta(1, 1, 1)], "is gone"),
        ([delta(1, 1, 1), delta(2, 2, 0)], "version 0 instead of 1"),
        ([delta(1, 1, 1), delta(2, 2, 1, body=7)], "other bytes"),
        ([delta(9, 9, 9, epoch=2)], None),
    ],
    ids=["same", "newer", "lost", "older", "changed", "the map moved"],
)
def test_losses_are_found(after: list[bytes], fault: str | None) -> None:
    snapshot = audit(delta(8, 8, 8), *after)
    found = audit(*BEFORE).faults(snapshot)
    assert [fault in problem for problem in found] == ([] if fault is None else [True])


def test_removals_are_no_losses() -> None:
    before = audit(*BEFORE, pack(Remove(scene="main", seq=4, layer="nav", key=[2, 0], ver=2)))
    assert before.held["nav", (2, 0)] == Seen(4, 2, 1, None)
    assert before.faults(audit(delta(1, 1, 1))) == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_real_server_loses_nothing(tmp_path: Path) -> None:
    clip = Path(os.environ.get("COMMONGROUND_DATA", "../shared/data")) / "hololens"
    if not clip.is_dir():
        assert "CI" not in os.environ, f"the recordings are missing: {clip}"
        pytest.skip(f"no recording at {clip}; set COMMONGROUND_DATA")
    lives = asyncio.run(run(clip, tmp_path, rounds=3, seed=1))
    assert [life.faults for life in lives] == [()] * 4
    assert lives[0].acknowledged > 0
    assert max(life.restart_s for life in lives[1:]) < 10
