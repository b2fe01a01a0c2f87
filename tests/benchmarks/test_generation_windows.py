"""Paired windows: a growth is told with where it lies, and drift that falls on all alike is none."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from benchmarks.generation.windows import CONDITIONS, Window, core_busy_s, median, used_s


def window(cost: dict[str, float], speed: float, seed: int) -> Window:
    chance = np.random.default_rng(seed)
    latencies = {c: speed * cost.get(c, 1.0) * chance.gamma(50.0, 1 / 50, 100) for c in CONDITIONS}
    return Window(latencies, 0.0, 1.0, 0.0)  # type: ignore[arg-type]


def test_the_median_of_paired_windows_finds_a_growth_on_a_machine_that_drifts() -> None:
    chance = random.Random(0)
    windows = [window({"gated": 1.04, "ungated": 2.2}, chance.uniform(1.0, 5.0), n) for n in range(40)]
    found = {c: median([w.growth(c, 0.99) for w in windows]) for c in CONDITIONS}
    assert found["gated"].low < 0.04 < found["gated"].high
    assert found["gated"].high - found["gated"].low < 0.1
    assert found["ungated"].value == pytest.approx(1.2, abs=0.1)
    assert found["again"].low < 0 < found["again"].high
    assert found["held"].value == 0


def test_the_bounds_of_a_median_are_where_it_is_95_times_in_100() -> None:
    chance = np.random.default_rng(0)
    hits = [found.low <= 0 <= found.high for found in (median(chance.normal(size=10).tolist()) for _ in range(400))]
    assert 0.95 <= np.mean(hits) <= 0.999
    few = median([1.0, 5.0, 2.0])
    assert (few.low, few.value, few.high) == (1.0, 2.0, 5.0)


def test_the_time_of_a_core_is_at_least_that_of_who_works_on_it() -> None:
    cores = os.sched_getaffinity(0)
    core = min(cores)
    os.sched_setaffinity(0, {core})
    try:
        busy, ours = core_busy_s(core), used_s([os.getpid()])
        until = ours + 0.2
        while used_s([os.getpid()]) < until:
            sum(range(10_000))
        assert core_busy_s(core) - busy >= 0.2 - 0.03
    finally:
        os.sched_setaffinity(0, cores)
    assert used_s([2**22 + 1]) == 0.0
