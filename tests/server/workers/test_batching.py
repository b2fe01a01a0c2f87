"""Windows of several phones at once: only where that is cheaper; each has its own answer, none its company's guilt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.workers.batching import Batching, Config
from server.workers.lanes import Lane
from server.workers.pool import Config as PoolConfig
from server.workers.pool import JobFailed, Pool
from streams.frame import StreamId
from tests.server.toy_engine import ANSWER, KILL, RAISE
from tests.server.workers.pools import ENGINE, PATIENT, A, Gate, waiting, window


def settled(cost: Callable[[int], float], waiting: int = 4, together: int = 4, **config: float) -> int:
    """What is chosen after a while on a device where n windows cost so much."""
    batching = Batching(Config(**config))  # type: ignore[arg-type]
    for _ in range(50):
        count = batching.choose(waiting, together)
        batching.learn(count, cost(count))
    return batching.choose(waiting, together)


def test_together_only_where_it_is_cheaper() -> None:
    assert settled(lambda n: 1.0 * n) == 1, "twice the work takes twice as long"
    assert settled(lambda n: 0.97 * n if n > 1 else 1.0) == 1, "the gain is not worth the wait"
    assert settled(lambda n: 1.0 + 0.2 * n) == 4
    assert settled(lambda n: 1.0 if n <= 2 else 10.0) == 2
    assert settled(lambda n: 1.0, together=3) == 3
    assert settled(lambda n: 1.0, waiting=2) == 2
    assert settled(lambda n: 1.0, most=1) == 1


def test_what_changes_is_noticed() -> None:
    batching = Batching(Config(retry_after=20))
    for n in range(400):
        count = batching.choose(2, 2)
        batching.learn(count, 1.0 * count if n < 100 else 0.5 * count + 0.5)
    assert batching.choose(2, 2) == 2


def test_a_run_that_records_a_new_shape_is_not_what_windows_cost() -> None:
    batching, runs = Batching(Config()), dict.fromkeys(range(1, 5), 0)
    for _ in range(40):
        count = batching.choose(4, 4)
        runs[count] += 1
        batching.learn(count, 50.0 if (count, runs[4]) == (4, 1) else 1.0 + 0.2 * count)
    assert batching.choose(4, 4) == 4


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.floats(0.001, 10))), st.integers(1, 5))
def test_never_more_than_wait_or_are_taken(story: list[tuple[int, int, float]], most: int) -> None:
    batching = Batching(Config(most=most))
    for there, together, seconds in story:
        count = batching.choose(there, together)
        assert 1 <= count <= max(1, min(there, together, most))
        batching.learn(count, seconds)


async def held_up(pool: Pool, commands: list[int]) -> list[object]:
    """Let one window of each of several streams wait behind a gate, so that they could run together."""
    gate = Gate(pool)
    first = asyncio.create_task(pool.predict(A, window()))
    await asyncio.sleep(0)
    tasks = [
        asyncio.create_task(pool.predict(StreamId(f"s{n}"), window(command, stream=f"s{n}")))
        for n, command in enumerate(commands)
    ]
    await waiting(pool, Lane.REALTIME, len(commands))
    gate.open()
    await first
    return list(await asyncio.gather(*tasks, return_exceptions=True))


@pytest.fixture
async def pool() -> Pool:
    """One whose engine takes three windows at once."""
    made = Pool(PoolConfig(process=PATIENT, result_bytes=1 << 16, window_bytes=1 << 16), ENGINE, {"together": 3})
    await made.start()
    return made


def together(answers: list[object]) -> list[int]:
    return [int(a.views[-1].window_from_camera[1, 3]) for a in answers]  # type: ignore[attr-defined]


async def test_windows_that_wait_run_together_and_each_is_answered(pool: Pool) -> None:
    sizes = together(await held_up(pool, [ANSWER] * 5)) + together(await held_up(pool, [ANSWER] * 5))
    assert max(sizes) > 1, "it was tried"
    assert max(sizes) <= 3
    assert pool.stats()[0].together > 0
    assert pool.stats()[0].done == 12
    await pool.close()


async def test_no_more_go_together_than_there_is_memory_for() -> None:
    pixels = 12 * 16 * 3
    pool = Pool(PoolConfig(process=PATIENT, result_bytes=1 << 16, window_bytes=3 * pixels), ENGINE, {"together": 3})
    await pool.start()
    for _ in range(2):
        assert max(together(await held_up(pool, [ANSWER] * 4))) <= 2
    await pool.close()


async def test_one_refused_window_is_not_the_others(pool: Pool) -> None:
    for _ in range(2):
        answers = await held_up(pool, [ANSWER, RAISE, ANSWER, ANSWER])
        assert [isinstance(answer, JobFailed) for answer in answers] == [False, True, False, False]
    await pool.close()


async def test_a_poisoned_companion_is_found_and_the_others_are_answered(pool: Pool) -> None:
    await held_up(pool, [ANSWER] * 4)
    answers = await held_up(pool, [ANSWER, KILL, ANSWER, ANSWER])
    assert [isinstance(answer, JobFailed) for answer in answers] == [False, True, False, False]
    [stats] = pool.stats()
    assert stats.quarantined == 1
    assert stats.restarts <= 3, "once in company, twice alone"
    await pool.close()
