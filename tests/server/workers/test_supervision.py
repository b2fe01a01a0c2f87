"""What keeps a device in service: downloads have time, a mistake costs one window, and who cannot start says so."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.engines import View, Window
from server.workers.batching import Batching
from server.workers.device import Config as DeviceConfig
from server.workers.device import Device
from server.workers.health import LAST
from server.workers.lanes import Job, Lane, Lanes
from server.workers.messages import Beat, Ready
from server.workers.pool import Config, JobFailed, Pool
from server.workers.process import WorkerProcess
from server.workers.quarantine import Quarantine
from server.workers.work import Work
from tests.server.toy_engine import BREAK, SAY
from tests.server.workers.pools import ENGINE, FAST, PATIENT, A, pid_of, until, waiting, window


async def test_a_download_is_told() -> None:
    pool = Pool(Config(process=FAST), ENGINE, {"fetch_s": 0.5})
    starting = asyncio.create_task(pool.start())
    await until(lambda: bool(pool.stats()) and pool.stats()[0].state == "fetching")
    assert pool.stats()[0].detail == "toy weights: 1 of 5 GB"
    await starting
    assert (pool.stats()[0].state, pool.stats()[0].detail) == ("ready", "")
    await pool.close()


async def test_while_it_downloads_a_start_has_all_its_time_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody: Any = None
    worker, loop = WorkerProcess("cpu", nobody, nobody, FAST), asyncio.get_running_loop()
    warm, now = asyncio.create_task(worker.warm()), loop.time
    await asyncio.sleep(0)
    assert worker._limit is not None
    before = worker._limit.when() or 0.0
    monkeypatch.setattr(loop, "time", lambda: now() + 100.0)
    worker._take(Beat(1))
    assert worker._limit.when() == before, "who only lives has what he had"
    worker._take(Beat(1, fetching="weights"))
    later = worker._limit.when() or 0.0
    assert later >= before + 100.0
    monkeypatch.setattr(loop, "time", lambda: now() + 200.0)
    worker._take(Beat(1, fetching="weights"))
    assert worker._limit.when() == later, "it stands still"
    worker._take(Beat(1, fetching="more weights"))
    assert (worker._limit.when() or 0.0) >= before + 200.0
    worker._take(Ready(0.1))
    await warm
    worker._tasks.pop().cancel()


async def test_who_gets_ready_too_late_is_not_heard() -> None:
    nobody: Any = None
    worker = WorkerProcess("cpu", nobody, nobody, FAST)
    worker._ready.cancel()  # as the time-out does
    worker._take(Ready(0.1))


async def test_what_moves_to_another_device_keeps_its_order_and_so_does_what_stays() -> None:
    moved: list[Job[Work]] = []

    def move(job: Job[Work]) -> bool:
        if has_room := len(moved) < 2:
            moved.append(job)
        return has_room

    small = DeviceConfig(window_bytes=1 << 16, result_bytes=1 << 16)
    device = Device("cpu", ENGINE, {}, small, Quarantine(), move=move)
    loop = asyncio.get_running_loop()
    jobs = [Job(Lane.BACKGROUND, "a", Work(window(), loop.create_future())) for _ in range(4)]
    for job in jobs:
        device.submit(job)
    device._hand_over()
    assert moved == jobs[:2]
    assert device._lanes.drain() == jobs[2:]
    await device.close()


async def test_a_mistake_of_ours_costs_the_window_not_the_device(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pid_of(pool)

    def stumble(*_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("stumbled")

    monkeypatch.setattr(Batching, "learn", stumble)
    with pytest.raises(JobFailed, match="stumbled"):
        await pool.predict(A, window())
    await pool.predict(A, window())
    assert (pid_of(pool), pool.stats()[0].restarts) == (before, 0)


async def test_a_mistake_of_ours_between_windows_costs_a_worker(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pid_of(pool)

    def stumble(*_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("stumbled")

    monkeypatch.setattr(Lanes, "next", stumble)
    await pool.predict(A, window())
    [stats] = pool.stats()
    assert stats.pid != before
    assert stats.restarts == 1
    assert "stumbled" in str(stats.last_death)


async def test_windows_without_pixels_are_refused_and_harm_nobody() -> None:
    pool = Pool(Config(process=FAST, result_bytes=1 << 16, window_bytes=1 << 16), ENGINE, {"together": 2})
    await pool.start()
    nothing = Window((View(KeyframeId("a/x"), np.zeros((0, 0, 3), np.uint8), None),))
    with pytest.raises(JobFailed):
        await pool.predict(A, nothing)
    await pool.predict(A, window())
    assert pool.stats()[0].restarts == 0
    await pool.close()


async def test_a_device_that_cannot_start_says_so_lets_nobody_wait_and_goes_on_trying(
    make_pool: Callable[..., Awaitable[Pool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await make_pool(first_backoff_s=0.01, max_backoff_s=0.02)
    before, spawn, tries = pid_of(pool), WorkerProcess.spawn, iter(range(1000))

    async def refuse(*args: object, **kwargs: object) -> WorkerProcess:
        next(tries)
        raise OSError("no more processes")

    monkeypatch.setattr(WorkerProcess, "spawn", refuse)
    [device] = pool._devices.values()
    assert device._process is not None
    await device._process.kill("was ended by the test")
    with pytest.raises(JobFailed, match="no more processes") as caught:
        await pool.predict(A, window(), lane=Lane.BACKGROUND)
    assert caught.value.kind == "unavailable"
    assert (pool.stats()[0].state, pool.stats()[0].pid) == ("failing", None)
    assert "no more processes" in pool.stats()[0].detail
    monkeypatch.setattr(WorkerProcess, "spawn", spawn)
    await until(lambda: pool.stats()[0].state == "ready")
    await pool.predict(A, window())
    assert pid_of(pool) != before


async def test_windows_that_all_fail_are_told_and_so_is_the_device(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(LAST):
        assert (pool.stats()[0].state, pool.stats()[0].detail) == ("ready", "")
        with pytest.raises(JobFailed):
            await pool.predict(A, window(BREAK))
    [stats] = pool.stats()
    assert (stats.state, stats.failed_share) == ("failing", 1.0)
    assert re.fullmatch(r"RuntimeError: the toy engine is broken \(toy_engine\.py:\d+\)", str(stats.last_failure))
    assert str(stats.last_failure) in stats.detail
    [line] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert str(stats.last_failure) in line.getMessage()
    assert (line.device, line.stream) == ("cpu", A)  # type: ignore[attr-defined]
    await pool.predict(A, window())
    assert (pool.stats()[0].state, pool.stats()[0].failed_share) == ("ready", 1 - 1 / LAST)


async def test_a_worker_that_dies_while_it_starts_is_counted(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = WorkerProcess.spawn

    async def doomed(*args: Any) -> WorkerProcess:
        monkeypatch.undo()
        worker = await spawn(*args)
        os.kill(worker.pid, signal.SIGKILL)
        return worker

    monkeypatch.setattr(WorkerProcess, "spawn", doomed)
    os.kill(pid_of(pool), signal.SIGKILL)
    await until(lambda: pool.stats()[0].restarts == 2 and pool.stats()[0].state == "ready")
    assert "SIGKILL" in str(pool.stats()[0].last_death)


async def test_what_a_worker_logs_is_in_our_log_with_its_device(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await pool.predict(A, window(SAY))
    [line] = [record for record in caplog.records if record.name == "mapping.toy"]
    assert line.getMessage() == "windows of 16 views are too long"
    assert line.device == "cpu"  # type: ignore[attr-defined]


async def test_what_waits_for_a_device_without_a_worker_moves_to_one_that_has_one(
    make_pool: Callable[..., Awaitable[Pool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await make_pool(devices=("cpu:0", "cpu:1"), process=PATIENT)
    first, other = pool.stats()
    await pool.predict(A, window())
    pid = first.pid if pool.stats()[0].done else other.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    poisoned = asyncio.create_task(pool.predict(A, window()))
    await asyncio.sleep(0)
    await waiting(pool, Lane.REALTIME, 0)
    blocked = [asyncio.create_task(pool.predict(A, window(), lane=Lane.BACKGROUND)) for _ in range(2)]
    await asyncio.sleep(0)
    never = asyncio.Event()

    async def hang(*_: object, **__: object) -> WorkerProcess:
        await never.wait()
        raise AssertionError

    monkeypatch.setattr(WorkerProcess, "spawn", hang)
    os.kill(pid, signal.SIGKILL)
    answers = await asyncio.gather(*blocked)
    assert {int(answer.views[0].window_from_camera[0, 3]) for answer in answers} == {first.pid, other.pid} - {pid}
    assert not poisoned.done(), "what the worker died over waits for its successor"
    poisoned.cancel()
