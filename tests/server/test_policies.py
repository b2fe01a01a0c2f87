"""Rate limiter and pace, on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.bus.pace import Config, Pace, Verdict
from server.ratelimit import RateLimiter

MB = 1 << 20


def test_a_burst_passes_then_the_rate_holds() -> None:
    limiter = RateLimiter(per_s=2.0, burst=3)
    assert [limiter.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limiter.take("a", 0.0) == pytest.approx(0.5)
    assert limiter.take("b", 0.0) == 0.0
    assert limiter.take("a", 0.5) == 0.0
    assert limiter.take("a", 0.6) == pytest.approx(0.4)


@given(st.lists(st.floats(0, 0.3), min_size=50, max_size=200))
def test_no_pattern_of_asking_beats_the_rate(gaps: list[float]) -> None:
    limiter, now, taken = RateLimiter(per_s=5.0, burst=4), 0.0, 0
    for gap in gaps:
        now += gap
        taken += limiter.take("a", now) == 0.0
    assert taken <= 4 + 5.0 * now + 1e-6


def test_clocks_that_step_back_give_nothing_and_memory_is_bounded() -> None:
    limiter = RateLimiter(per_s=1.0, burst=1, max_clients=2)
    assert limiter.take("a", 100.0) == 0.0
    assert limiter.take("a", 0.0) > 0
    for key in "bcdef":
        limiter.take(key, 100.0)
    assert len(limiter._buckets) == 2


def test_a_client_that_takes_nothing_is_slowed_then_closed() -> None:
    pace = Pace(Config(), now=0.0)
    verdicts = {t: pace.observe(1000, 5000, t) for t in (0.0, 1.0, 1.9)}
    assert pace.interval_s == 0.0
    intervals = []
    for t in (2.5, 5.0, 7.25, 9.5):
        verdicts[t] = pace.observe(1000, 5000, t)
        intervals.append(pace.interval_s)
    assert intervals == [0.05, 0.1, 0.2, 0.4]
    assert set(verdicts.values()) == {Verdict.KEEP}
    assert pace.observe(1000, 5000, 10.0) is Verdict.CLOSE


def test_one_that_takes_a_little_is_slowed_but_kept_and_recovers() -> None:
    pace, taken = Pace(Config(), now=0.0), 0
    for t in range(60):
        taken += 1
        assert pace.observe(taken, 5 * MB, float(t)) is Verdict.KEEP
    assert pace.interval_s == 3.2
    for t in range(60, 80):
        taken += MB
        pace.observe(taken, 1000, float(t))
    assert pace.interval_s == 0.0


def test_an_idle_client_is_no_slow_one() -> None:
    pace = Pace(Config(), now=0.0)
    assert all(pace.observe(1000, 0, float(t)) is Verdict.KEEP for t in range(100))
    assert pace.interval_s == 0.0
    assert pace.observe(1000, 50, 100.5) is Verdict.KEEP
