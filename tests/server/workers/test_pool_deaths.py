"""Real worker processes, killed, stopped, hung, poisoned and orphaned: every window is answered all the same."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import uvloop

from server.workers.lanes import Lane
from server.workers.pool import Config, JobFailed, NoPrediction, Pool
from streams.frame import StreamId
from tests.server import toy_engine
from tests.server.toy_engine import ANSWER, HANG, KILL, STOP
from tests.server.workers.pools import ENGINE, FAST, A, Gate, pid_of, until, waiting, window


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
from server.workers.pool import Config, Pool
from tests.server.workers.pools import A, ENGINE, FAST, pid_of, window
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
