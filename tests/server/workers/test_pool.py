"""Real worker processes, alive: windows go there and results come back, in turn, newest first, on several devices."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.engines import View, Window
from server.generation.gate import Watch
from server.generation.opened import gates
from server.workers.lanes import Config as LanesConfig
from server.workers.lanes import Lane, LaneFull
from server.workers.pool import Config, EngineFailed, Expired, JobFailed, Pool, Superseded
from streams.frame import StreamId
from tests.server.toy_engine import HANG, RAISE, TOO_MUCH
from tests.server.workers.pools import (
    ENGINE,
    FAST,
    PATIENT,
    A,
    B,
    Gate,
    environment_of,
    pid_of,
    until,
    waiting,
    window,
)


async def test_pixels_go_there_and_results_come_back(pool: Pool) -> None:
    first = window()
    both = Window((*first.views, *window().views))
    prediction = await pool.predict(A, both)
    assert [view.keyframe for view in prediction.views] == [view.keyframe for view in both.views]
    for view, answer in zip(both.views, prediction.views, strict=True):
        assert np.array_equal(answer.depth, view.rgb[:, :, 0].astype(np.float32) + 1)
        assert np.array_equal(answer.confidence, answer.depth / 512)
        assert answer.window_from_camera[0, 3] == pid_of(pool) != os.getpid()
    again = await pool.predict(A, window())
    assert np.array_equal(prediction.views[0].depth, first.views[0].rgb[:, :, 0] + 1.0), "results are not overwritten"
    assert again.views[0].keyframe != prediction.views[0].keyframe


async def test_a_worker_gives_the_main_process_the_right_of_way(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(process=FAST.model_copy(update={"nice": 7, "threads": 1}))
    await pool.predict(A, window())
    assert os.getpriority(os.PRIO_PROCESS, pid_of(pool)) == os.getpriority(os.PRIO_PROCESS, 0) + 7
    assert b"OMP_NUM_THREADS=1" in environment_of(pid_of(pool))


async def test_what_a_map_is_made_with_and_what_it_costs_is_told(pool: Pool) -> None:
    assert pool.provenance == {"engine": ENGINE, "weights": "toy", "licence": "none"}
    await until(lambda: pool.stats()[0].device_bytes == 4711)
    assert pool.stats()[0].rss_bytes > 1 << 20
    assert Pool(Config(), ENGINE).provenance == {}


async def test_an_engine_that_raises_is_an_answer(pool: Pool) -> None:
    before = pid_of(pool)
    with pytest.raises(JobFailed, match="told to raise") as caught:
        await pool.predict(A, window(RAISE))
    assert caught.value.kind == "ValueError"
    await pool.predict(A, window())
    [stats] = pool.stats()
    assert (stats.pid, stats.done, stats.failed, stats.restarts) == (before, 1, 1, 0)


async def test_results_and_windows_that_do_not_fit_are_told(pool: Pool) -> None:
    with pytest.raises(JobFailed, match="result_bytes"):
        await pool.predict(A, window(TOO_MUCH))
    with pytest.raises(JobFailed, match="window_bytes"):
        await pool.predict(A, Window((View(KeyframeId("a/big"), np.zeros((200, 200, 3), np.uint8), None),)))
    with pytest.raises(JobFailed, match="empty"):
        await pool.predict(A, Window(()))
    await pool.predict(A, window())


async def test_an_engine_that_does_not_start_says_why() -> None:
    for engine, config, says in (
        ("no_such_engine", {}, "no geometry engine"),
        (ENGINE, {"start": RAISE}, "told to raise"),
        (ENGINE, {"start": "soon"}, "ValidationError"),
    ):
        pool = Pool(Config(process=FAST), engine, config)
        with pytest.raises(EngineFailed, match=says):
            await pool.start()
        assert pool.stats() == []


async def test_an_engine_that_never_gets_ready_is_given_up() -> None:
    impatient = FAST.model_copy(update={"start_timeout_s": 1.0})
    with pytest.raises(Exception, match="not ready within 1 s"):
        await Pool(Config(process=impatient), ENGINE, {"start": HANG}).start()


async def test_newest_window_of_a_stream_wins(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(process=PATIENT)
    gate = Gate(pool)
    running = asyncio.create_task(pool.predict(B, window()))
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(pool.predict(A, window())) for _ in range(5)]
    await asyncio.gather(*tasks[:4], return_exceptions=True)
    gate.open()
    results = await asyncio.gather(running, *tasks, return_exceptions=True)
    assert [type(result) for result in results[1:5]] == [Superseded] * 4
    assert not isinstance(results[0], Exception)
    assert not isinstance(results[5], Exception)
    assert pool.stats()[0].superseded == 4


async def test_windows_that_cannot_start_in_time_expire(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(process=PATIENT)
    gate = Gate(pool)
    running = asyncio.create_task(pool.predict(B, window()))
    await asyncio.sleep(0)
    with pytest.raises(Expired, match="deadline"):
        await pool.predict(A, window(), deadline_s=0.05)
    gate.open()
    await running
    assert pool.stats()[0].expired == 1


async def test_workers_on_the_cpu_share_a_gate() -> None:
    devices = ("cpu:0", "cpu:1")
    with gates(devices) as gate_by_unit:
        assert set(gate_by_unit) == {"cpu"}, "of which there is one lane"
        watch = Watch(gate_by_unit["cpu"])
        config = Config(devices=devices, process=PATIENT, result_bytes=1 << 16, window_bytes=1 << 16)
        pool = Pool(config, ENGINE, None, gate_by_unit)
        await pool.start()
        try:
            pids = [stats.pid for stats in pool.stats() if stats.pid is not None]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            tasks = [asyncio.create_task(pool.predict(stream, window())) for stream in (A, B)]
            await until(lambda: watch.is_raised)
            os.kill(pids[0], signal.SIGCONT)
            await tasks[0]
            assert watch.is_raised, "the other is at work"
            os.kill(pids[1], signal.SIGCONT)
            await tasks[1]
            assert not watch.is_raised
            assert len(watch.calls_since(0)[0]) == 2
        finally:
            await pool.close()


async def test_a_full_lane_refuses(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(process=PATIENT, lanes=LanesConfig(max_background=2))
    gate = Gate(pool)
    running = asyncio.create_task(pool.predict(B, window()))
    await waiting(pool, Lane.REALTIME, 0)
    tasks = [asyncio.create_task(pool.predict(A, window(), lane=Lane.BACKGROUND)) for _ in range(2)]
    await waiting(pool, Lane.BACKGROUND, 2)
    with pytest.raises(LaneFull, match="background"):
        await pool.predict(A, window(), lane=Lane.BACKGROUND)
    gate.open()
    await asyncio.gather(running, *tasks)


async def test_a_caller_that_gives_up_takes_its_window_along(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(process=PATIENT)
    gate = Gate(pool)
    running = asyncio.create_task(pool.predict(B, window()))
    await asyncio.sleep(0)
    task = asyncio.create_task(pool.predict(A, window()))
    await waiting(pool, Lane.REALTIME, 1)
    task.cancel()
    await asyncio.wait([task])
    assert pool.stats()[0].queued["realtime"] == 0
    gate.open()
    await running


async def test_two_devices_have_two_workers(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(devices=("cpu", "cuda:1"))
    answers = [await pool.predict(stream, window()) for stream in (A, B, A, B)]
    pids = [int(answer.views[0].window_from_camera[0, 3]) for answer in answers]
    assert pids[0] == pids[2] != pids[1] == pids[3]
    [cpu, cuda] = pool.stats()
    assert (cpu.device, cuda.device) == ("cpu", "cuda:1")
    assert b"CUDA_VISIBLE_DEVICES=1" in environment_of(cuda.pid)


async def test_workers_on_the_cpu_share_its_cores(
    make_pool: Callable[..., Awaitable[Pool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 9)
    pool = await make_pool(devices=("cpu:0", "cpu:1"))
    assert all(b"OMP_NUM_THREADS=4" in environment_of(stats.pid) for stats in pool.stats())
    assert [FAST.shared(devices).threads for devices in (("cpu",), ("cuda:0", "cpu"), ("cpu",) * 20)] == [8, 8, 1]
    assert FAST.model_copy(update={"threads": 3}).shared(("cpu:0", "cpu:1")).threads == 3


async def test_streams_spread_over_devices_and_come_back_to_one_that_died(
    make_pool: Callable[..., Awaitable[Pool]],
) -> None:
    pool = await make_pool(devices=("cpu:0", "cpu:1", "cpu:2"))
    streams = [StreamId(f"s{n}") for n in range(6)]

    async def pids() -> Counter[int]:
        answers = await asyncio.gather(*(pool.predict(stream, window(stream=stream)) for stream in streams))
        return Counter(int(answer.views[0].window_from_camera[0, 3]) for answer in answers)

    assert sorted((await pids()).values()) == [2, 2, 2]
    assert [stats.done for stats in pool.stats()] == [2, 2, 2]
    victim = pool.stats()[1].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    await until(lambda: pool.stats()[1].restarts == 1)
    await pids()
    await until(lambda: pool.stats()[1].state == "ready")
    await pids()
    assert sorted((await pids()).values()) == [2, 2, 2]
