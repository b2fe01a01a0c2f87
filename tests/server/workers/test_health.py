"""A device whose windows all fail says so, once a minute and for as long as it is true."""

from __future__ import annotations

from server.workers.health import LAST, MAX_KINDS, QUIET_S, Health


def test_a_failure_is_news_once_a_minute_for_each_reason() -> None:
    health = Health()
    assert health.failed("ValueError: a/1 is not finite", 0.0)
    assert not health.failed("ValueError: a/23 is not finite", QUIET_S - 1)
    assert health.failed("MemoryError: full", QUIET_S - 1)
    assert health.failed("ValueError: a/4 is not finite", QUIET_S)
    assert health.last_failure == "ValueError: a/4 is not finite"


def test_reasons_without_end_are_forgotten() -> None:
    health = Health()
    for n in range(2 * MAX_KINDS):
        assert health.failed("x" * n, 0.0)
    assert len(health._told) == MAX_KINDS


def test_a_device_is_failing_while_all_its_last_windows_failed() -> None:
    health = Health()
    assert (health.failed_share, health.is_failing(0.0)) == (None, False)
    for _ in range(LAST):
        assert not health.is_failing(0.0)
        health.failed("RuntimeError", 0.0)
    assert (health.failed_share, health.is_failing(0.0)) == (1.0, True)
    health.succeeded()
    assert (health.failed_share, health.is_failing(0.0)) == (1 - 1 / LAST, False)


def test_a_device_that_gets_no_windows_any_more_is_given_another_chance() -> None:
    health = Health()
    for _ in range(LAST):
        health.failed("RuntimeError", 0.0)
    assert health.is_failing(QUIET_S - 1)
    assert not health.is_failing(QUIET_S)


def test_windows_that_the_engine_refuses_are_no_fault_of_the_device() -> None:
    health = Health()
    for _ in range(LAST):
        health.failed("ValueError: too little texture", 0.0, is_refusal=True)
    assert (health.failed_share, health.is_failing(0.0)) == (1.0, False)
