"""What gives way when the host cannot keep up, on a virtual clock."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from server.load import Config, Load, Work

CONFIG = Config()
FRAME_S = 1 / 30

ages = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=100)
steps = st.floats(0.0, 10.0)


def after(ages_s: Sequence[float], every_s: float = FRAME_S) -> tuple[Load, float]:
    """A load that saw poses of these ages, and the time of the last one."""
    load = Load()
    for n, age_s in enumerate(ages_s):
        load.posed(age_s, 100.0 + n * every_s)
    return load, 100.0 + (len(ages_s) - 1) * every_s


@given(st.lists(st.floats(0.0, CONFIG.in_time_s), min_size=1, max_size=100), steps)
def test_while_poses_are_in_time_nothing_gives_way(ages_s: list[float], spent_s: float) -> None:
    load, now = after(ages_s)
    assert all(load.rest_s(work, spent_s, now) == 0.0 for work in Work)
    assert load.interval_s(now) == 0.0
    assert not load.is_saturated(now)


@given(ages, steps)
def test_what_is_less_urgent_rests_longer_and_all_of_it_goes_on(ages_s: list[float], spent_s: float) -> None:
    load, now = after(ages_s)
    keyframe, build, recognise = (load.rest_s(work, spent_s, now) for work in Work)
    assert 0.0 <= keyframe <= build <= recognise <= CONFIG.max_rest_s
    assert 0.0 <= load.interval_s(now) <= CONFIG.max_interval_s


@given(ages, st.floats(0.0, 1.0))
def test_later_poses_never_hold_back_less(ages_s: list[float], later_s: float) -> None:
    load, now = after(ages_s)
    later, _ = after([age_s + later_s for age_s in ages_s])
    assert later.pressure(now) >= load.pressure(now) - 1e-9
    assert later.interval_s(now) >= load.interval_s(now) - 1e-9


@given(ages)
def test_pressure_fades_when_no_poses_come(ages_s: list[float]) -> None:
    load, now = after(ages_s)
    assert load.pressure(now + 0.5) <= load.pressure(now)
    assert load.pressure(now + 2.0 * CONFIG.memory_s) == 0.0


def test_poses_that_stay_late_saturate_and_recover() -> None:
    load, now = after([0.15] * 60)
    assert load.is_saturated(now)
    for n in range(60):
        load.posed(0.02, now + n * FRAME_S)
    assert not load.is_saturated(now + 2.0)
    assert load.interval_s(now + 2.0) == 0.0


def test_background_work_gives_way_before_frames_do() -> None:
    load, now = after([0.06] * 60)
    assert load.rest_s(Work.RECOGNISE, 0.05, now) > 0.0
    assert load.interval_s(now) == 0.0


def test_one_late_pose_alone_holds_no_frame_back() -> None:
    load, now = after([0.01] * 60 + [0.3])
    assert load.interval_s(now) == 0.0
