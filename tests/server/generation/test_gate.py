"""The gate between real processes and threads: perception never waits, generation stops at the next block."""

from __future__ import annotations

import os
import threading

import pytest

from server.generation.gate import HOLD, NUM_CALLS, PERCEPTION, Call, GateMemory, Perception, Watch
from server.generation.parking import IDLE, PARKED, RUNNING, STOPPABLE, Parking, gap_s, generator_state
from server.generation.provider import Cancelled

MS = 10**6


def test_calls_are_counted_and_can_be_read_back() -> None:
    memory = GateMemory.create()
    perception, watch = Perception(memory), Watch(memory)
    assert not watch.is_raised
    with perception.closed():
        assert (watch.raised_by(), watch.raised_since_ns(PERCEPTION) > 0) == (PERCEPTION, True)
    assert not watch.is_raised
    calls, total = watch.calls_since(0)
    assert (len(calls), total) == (1, 1)
    assert calls[0].began_ns <= calls[0].ended_ns
    for _ in range(2 * NUM_CALLS):
        with perception.closed():
            pass
    calls, total = watch.calls_since(total)
    assert total == 1 + 2 * NUM_CALLS
    assert len(calls) == NUM_CALLS - 1, "as many as are kept, less the one that may be being written"
    assert calls == sorted(calls, key=lambda call: call.began_ns)
    assert watch.calls_since(total) == ([], total)


def test_writers_do_not_undo_each_other() -> None:
    memory = GateMemory.create()
    one, other, watch = Perception(memory), Perception(memory, HOLD), Watch(memory)
    one.enter()
    other.enter()
    one.leave()
    assert watch.raised_by() == HOLD
    other.leave()
    assert not watch.is_raised


def test_a_worker_parks_while_it_is_raised_and_goes_on_after() -> None:
    memory = GateMemory.create()
    perception, parking = Perception(memory), Parking(memory, lambda: False)
    blocks, parked, finished = [0], threading.Event(), threading.Event()

    def generate() -> None:
        parking.begin()
        while not finished.is_set():
            parking.park()
            blocks[0] += 1
        parking.end()

    thread = threading.Thread(target=generate)
    thread.start()
    try:
        perception.enter()
        while generator_state(memory) != PARKED:
            os.sched_yield()
        before = blocks[0]
        for _ in range(1000):
            os.sched_yield()
        assert blocks[0] == before, "nothing is done while it is raised"
        perception.leave()
        while blocks[0] == before:
            os.sched_yield()
        parked.set()
    finally:
        finished.set()
        thread.join()
    assert generator_state(memory) == IDLE
    assert parking.parked_ns > 0
    assert len(parking.park_ms) == 1


def test_a_parked_job_can_be_cancelled() -> None:
    memory = GateMemory.create()
    Perception(memory).enter()
    cancelled = threading.Event()
    threading.Timer(0.05, cancelled.set).start()
    parking = Parking(memory, cancelled.is_set)
    with pytest.raises(Cancelled):
        parking.park()
    assert generator_state(memory) == RUNNING


def test_calls_that_overlap_keep_it_up_and_are_told_one_by_one() -> None:
    memory = GateMemory.create()
    perception, watch = Perception(memory), Watch(memory)
    one, other = perception.closed(), perception.closed()
    one.__enter__()
    since_ns = watch.raised_since_ns(PERCEPTION)
    other.__enter__()
    one.__exit__(None, None, None)
    assert (watch.raised_by(), watch.raised_since_ns(PERCEPTION)) == (PERCEPTION, since_ns)
    other.__exit__(None, None, None)
    assert not watch.is_raised
    first, second = watch.calls_since(0)[0]
    assert first.began_ns <= second.began_ns <= first.ended_ns <= second.ended_ns


def test_gaps_are_foreseen() -> None:
    calls = [Call(n * 100 * MS, n * 100 * MS + 40 * MS) for n in range(5)]  # every 100 ms, for 40 ms
    assert gap_s([], 0) == float("inf")
    assert gap_s(calls, 450 * MS) == pytest.approx(0.05)
    assert gap_s(calls, 500 * MS) == 0.0
    assert gap_s(calls, 600 * MS) == 0.0, "late, it may come any moment"
    assert gap_s(calls, 900 * MS) == float("inf"), "it has stopped"
    pairs = [Call(call.began_ns + late, call.ended_ns) for call in calls for late in (MS, 0)]
    assert gap_s(pairs, 450 * MS) == 0.0, "two workers that begin at once have not stopped"


def test_what_does_not_park_waits_for_a_gap_and_counts_when_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.generation.parking.MOST_PATIENCE_S", 0.05)
    memory = GateMemory.create()
    parking = Parking(memory, lambda: False)
    parking.wait_idle(1.0)
    assert parking.breaches == 0, "perception is not at work at all"
    perception = Perception(memory)
    for _ in range(20):
        with perception.closed():
            os.sched_yield()
    monkeypatch.setattr("server.generation.parking.gap_s", lambda calls, now_ns: 0.01)
    parking.wait_idle(0.005)
    assert parking.breaches == 0
    parking.wait_idle(1.0)
    assert parking.breaches == 1


def test_a_long_call_says_that_it_may_be_stopped_and_is_no_block() -> None:
    memory = GateMemory.create()
    parking = Parking(memory, lambda: False)
    parking.begin()
    parking.park()
    blocks = len(parking.block_ms)
    parking.work(stoppable=True)
    assert generator_state(memory) == STOPPABLE
    parking.park()
    assert len(parking.block_ms) == blocks, "its length says nothing of how long a block takes"
    parking.work(stoppable=False)
    assert generator_state(memory) == RUNNING
