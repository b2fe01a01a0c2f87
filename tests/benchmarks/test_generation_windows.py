"""Paired windows: a growth is told with where it lies, and drift that falls on all alike is none."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from benchmarks.generation.windows import CONDITIONS, Window, core_busy_s, median, pooled, used_s


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


def test_all_calls_together_show_what_befalls_few() -> None:
    chance = np.random.default_rng(1)
    windows = []
    for n in range(40):
        one = window({}, 1.0 + 4 * chance.random(), n)
        hit = np.asarray(one.latencies_s["gated"]) * np.where(chance.random(100) < 0.015, 2, 1)
        windows.append(Window({**one.latencies_s, "gated": hit}, 0.0, 1.0, 0.0))  # type: ignore[dict-item]
    assert median([w.growth("gated", 0.99) for w in windows]).value < 0.25
    found = pooled(windows, "gated", 0.99)
    assert 0.3 < found.value < 0.6
    assert 0.1 < found.low < found.value < found.high


def test_the_bounds_of_all_calls_together_are_where_nothing_is_19_times_in_20() -> None:
    chance, hits = random.Random(0), 0
    for trial in range(12):
        windows = [window({}, chance.uniform(1.0, 5.0), 100 * trial + n) for n in range(20)]
        found = pooled(windows, "again", 0.99)
        hits += found.low <= 0 <= found.high
        assert found.high - found.low < 0.15
    assert hits >= 10


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
