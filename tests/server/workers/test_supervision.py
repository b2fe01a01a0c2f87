"""What keeps a device in service: downloads have time, a mistake costs one window, and who cannot start says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.engines import View, Window
from server.workers.batching import Batching
from server.workers.lanes import Lane, Lanes
from server.workers.pool import Config, JobFailed, Pool
from server.workers.process import WorkerProcess
from tests.server.toy_engine import SAY
from tests.server.workers.pools import ENGINE, FAST, A, pid_of, until, window

IMPATIENT = FAST.model_copy(update={"start_timeout_s": 3.0})


async def test_a_download_has_the_time_it_takes_and_is_told() -> None:
    pool = Pool(Config(process=IMPATIENT), ENGINE, {"fetch_s": 3.5})
    starting = asyncio.create_task(pool.start())
    await until(lambda: bool(pool.stats()) and pool.stats()[0].state == "fetching")
    assert pool.stats()[0].detail == "toy weights: 1 of 5 GB"
    await starting
    assert (pool.stats()[0].state, pool.stats()[0].detail) == ("ready", "")
    await pool.close()


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


async def test_what_a_worker_logs_is_in_our_log_with_its_device(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await pool.predict(A, window(SAY))
    [line] = [record for record in caplog.records if record.name == "mapping.toy"]
    assert line.getMessage() == "windows of 16 views are too long"
    assert line.device == "cpu"  # type: ignore[attr-defined]
