"""Real worker processes: killed, stopped, hung, poisoned and orphaned; the pool answers every window all the same."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from mapping.changes import KeyframeId
from mapping.engines import View, Window
from server.workers.device import NoPrediction
from server.workers.lanes import Config as LanesConfig
from server.workers.lanes import Lane, LaneFull
from server.workers.pool import Affinity, Config, EngineFailed, Expired, JobFailed, Pool, Superseded
from server.workers.process import Config as ProcessConfig
from streams.frame import Intrinsics, StreamId
from tests.server import toy_engine
from tests.server.toy_engine import ANSWER, HANG, KILL, RAISE, STOP, TOO_MUCH

A, B = StreamId("a"), StreamId("b")
FAST = ProcessConfig(heartbeat_s=0.05, heartbeat_timeout_s=1.0, job_timeout_s=20.0, close_timeout_s=2.0, nice=0)
ENGINE = "tests.server:toy_engine"
numbers = iter(range(10**9))


def window(command: int = ANSWER, *, older: tuple[View, ...] = (), stream: str = "a") -> Window:
    rgb = np.full((12, 16, 3), 20, np.uint8)
    rgb[0, 0] = command
    rgb[1:, :, 0] = np.arange(16)
    view = View(
        KeyframeId(f"{stream}/{next(numbers)}"),
        rgb,
        Intrinsics.from_fov(16, 12),
        np.eye(4),
        np.ones((5, 3), np.float32),
    )
    return Window((*older, view))


def pid_of(pool: Pool) -> int:
    [stats] = pool.stats()
    assert stats.pid is not None
    return stats.pid


@pytest.fixture
async def make_pool() -> AsyncIterator[Callable[..., Awaitable[Pool]]]:
    pools: list[Pool] = []

    async def make(**config: Any) -> Pool:
        pools.append(
            Pool(Config(**{"process": FAST, "result_bytes": 1 << 16, "window_bytes": 1 << 16, **config}), ENGINE)
        )
        await pools[-1].start()
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


@pytest.fixture
async def pool(make_pool: Callable[..., Awaitable[Pool]]) -> Pool:
    return await make_pool()


# -- the straight path -------------------------------------------------------------------------------------------------


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


# -- lanes -------------------------------------------------------------------------------------------------------------


class Gate:
    """A window whose worker stands still (SIGSTOP) until opened, so that others must wait behind it."""

    def __init__(self, pool: Pool) -> None:
        self.pid = pid_of(pool)
        os.kill(self.pid, signal.SIGSTOP)

    def open(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


PATIENT = FAST.model_copy(update={"heartbeat_timeout_s": 60.0})


async def until(condition: Callable[[], bool]) -> None:
    """Give others the loop until something is so."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


async def waiting(pool: Pool, lane: Lane, count: int) -> None:
    """Until so many jobs wait in the lane."""
    await until(lambda: pool.stats()[0].queued[lane.value] == count)


def environment_of(pid: int | None) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


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


# -- death -------------------------------------------------------------------------------------------------------------


async def test_a_killed_worker_is_replaced_and_its_window_done_again(pool: Pool) -> None:
    before = pid_of(pool)
    os.kill(before, signal.SIGSTOP)
    task = asyncio.create_task(pool.predict(A, window()))
    await waiting(pool, Lane.REALTIME, 0)
    os.kill(before, signal.SIGKILL)
    prediction = await task
    assert prediction.views[0].window_from_camera[0, 3] == pid_of(pool) != before
    [stats] = pool.stats()
    assert (stats.restarts, stats.done, stats.failed, stats.quarantined) == (1, 1, 0, 0)


async def test_an_idle_worker_that_dies_is_replaced(pool: Pool) -> None:
    before = pid_of(pool)
    os.kill(before, signal.SIGKILL)
    await until(lambda: pool.stats()[0].restarts == 1 and pool.stats()[0].state == "ready")
    assert pid_of(pool) != before
    await pool.predict(A, window())


async def test_a_worker_that_falls_silent_is_replaced(pool: Pool) -> None:
    before = pid_of(pool)
    os.kill(before, signal.SIGSTOP)
    prediction = await pool.predict(A, window())
    assert prediction.views[0].window_from_camera[0, 3] != before
    assert "silent" in str(pool.stats()[0].last_death)


async def test_a_job_that_never_ends_is_ended(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(process=FAST.model_copy(update={"job_timeout_s": 0.3}))
    with pytest.raises(JobFailed, match=r"within 0\.3 s") as caught:
        await pool.predict(A, window(HANG))
    assert caught.value.kind == "quarantined"
    await pool.predict(A, window())


@pytest.mark.parametrize("poison", [KILL, STOP])
async def test_a_poison_frame_is_quarantined_after_two_deaths(pool: Pool, poison: int) -> None:
    poisoned = window(poison)
    with pytest.raises(JobFailed, match=poisoned.views[-1].keyframe) as caught:
        await pool.predict(A, poisoned)
    assert caught.value.kind == "quarantined"
    with pytest.raises(JobFailed) as caught:
        await pool.predict(A, poisoned)
    assert caught.value.kind == "quarantined"
    prediction = await pool.predict(A, window(older=poisoned.views))
    assert len(prediction.views) == 1, "the poison is left out of later windows"
    assert pool.stats()[0].restarts == 2


async def test_other_streams_get_their_answers_while_workers_die(pool: Pool) -> None:
    results = await asyncio.gather(
        *(pool.predict(StreamId(f"s{i}"), window(KILL if i == 3 else ANSWER, stream=f"s{i}")) for i in range(8)),
        return_exceptions=True,
    )
    assert [i for i, result in enumerate(results) if isinstance(result, Exception)] == [3]


async def test_murder_under_load(pool: Pool) -> None:
    """Random SIGKILL and SIGSTOP while four streams push: every window gets an answer or a stated reason."""
    rng = np.random.default_rng(7)
    outcomes: list[object] = []

    async def stream(name: StreamId) -> None:
        for _ in range(30):
            outcomes.extend(await asyncio.gather(pool.predict(name, window(stream=name)), return_exceptions=True))
            await asyncio.sleep(float(rng.uniform(0, 0.05)))

    async def murderer() -> None:
        for _ in range(4):
            await asyncio.sleep(float(rng.uniform(0.1, 0.4)))
            if (pid := pool.stats()[0].pid) is not None:
                os.kill(pid, rng.choice([signal.SIGKILL, signal.SIGSTOP]))

    await asyncio.gather(murderer(), *(stream(StreamId(f"s{i}")) for i in range(4)))
    assert len(outcomes) == 120
    assert all(not isinstance(o, BaseException) or isinstance(o, NoPrediction) for o in outcomes)
    assert sum(not isinstance(o, BaseException) for o in outcomes) > 90
    await pool.predict(A, window())


def test_the_same_on_uvloop() -> None:
    """The server's event loop starts, watches and reaps processes by other means than asyncio's own."""

    async def story() -> None:
        pool = Pool(Config(process=FAST), ENGINE)
        await pool.start()
        before = pid_of(pool)
        with pytest.raises(JobFailed, match="workers died"):
            await pool.predict(A, window(KILL))
        await pool.predict(A, window())
        assert pid_of(pool) != before
        await pool.close()

    uvloop.run(story())


# -- leaving nothing behind --------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_killed_workers_leak_neither_memory_nor_descriptors(pool: Pool) -> None:
    shared_before = set(os.listdir("/dev/shm"))
    await pool.predict(A, window())
    before = descriptors()
    for _ in range(3):
        with pytest.raises(JobFailed):
            await pool.predict(A, window(KILL))
    await pool.predict(A, window())
    assert descriptors() <= before
    assert set(os.listdir("/dev/shm")) == shared_before


async def test_closing_ends_the_workers_and_answers_who_waits(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(process=FAST.model_copy(update={"close_timeout_s": 0.1, "heartbeat_timeout_s": 60.0}))
    pid = pid_of(pool)
    Gate(pool)
    tasks = [asyncio.create_task(pool.predict(StreamId(f"s{i}"), window())) for i in range(3)]
    await waiting(pool, Lane.REALTIME, 2)
    await pool.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(result, "kind", result) for result in results] == ["closed"] * 3
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(JobFailed, match="not running"):
        await pool.predict(A, window())


ORPHAN = """
import asyncio, sys
from tests.server.test_workers_pool import FAST, ENGINE, Pool, Config, window, pid_of, A
async def main():
    pool = Pool(Config(process=FAST), ENGINE)
    await pool.start()
    print(pid_of(pool), flush=True)
    await pool.predict(A, window(int(sys.argv[1])))
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("doing", [ANSWER, HANG], ids=["idle", "busy"])
def test_workers_do_not_outlive_a_killed_parent(doing: int) -> None:
    root = Path(toy_engine.__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", ORPHAN, str(doing)], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()

    assert select.select([worker], [], [], 10)[0], "the worker still lives"
    os.close(worker)


# -- several devices ---------------------------------------------------------------------------------------------------


def test_streams_stay_with_their_device_and_spread() -> None:
    affinity = Affinity()
    both = ["cuda:0", "cuda:1"]
    first = {s: affinity.choose(StreamId(s), both, both) for s in "abcd"}
    assert sorted(first.values()) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    assert {s: affinity.choose(StreamId(s), both, both) for s in "abcd"} == first
    assert affinity.choose(StreamId("a"), ["cuda:1"], both) == "cuda:1", "its device is down"
    assert affinity.choose(StreamId("e"), [], both) in both, "none is up: it will wait"


async def test_two_devices_have_two_workers(make_pool: Callable[..., Awaitable[Pool]]) -> None:
    pool = await make_pool(devices=("cpu", "cuda:1"))
    answers = [await pool.predict(stream, window()) for stream in (A, B, A, B)]
    pids = [int(answer.views[0].window_from_camera[0, 3]) for answer in answers]
    assert pids[0] == pids[2] != pids[1] == pids[3]
    [cpu, cuda] = pool.stats()
    assert (cpu.device, cuda.device) == ("cpu", "cuda:1")
    assert b"CUDA_VISIBLE_DEVICES=1" in environment_of(cuda.pid)
