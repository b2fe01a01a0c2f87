"""Pure policies under a virtual clock: the controller, escalation, room on a device, progress."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.generation import controller, escalation, memory
from server.generation.attempt import Attempt
from server.generation.controller import Controller
from server.generation.escalation import Action, Seen, decide
from server.generation.gate import Call
from server.jobs.progress import Progress
from server.jobs.values import Job, Wanted

CALM = Seen(
    raised_ms=None,
    is_parked=False,
    is_stoppable=False,
    is_stopped=False,
    block_ms_p99=10.0,
    silent_s=0.0,
    cancelled_s=None,
    computed_s=1.0,
)
PATIENCE = escalation.Config()


def drive(growth_at: dict[float, float], until_s: float, drift: float = 0.0) -> list[tuple[float, bool, float]]:
    """A device with a call of 100 ms five times a second, dearer by some growth while generation runs.

    Returns:
        (time, held, duty) at each call.
    """
    chance, control, told = random.Random(0), Controller(controller.Config()), []
    growth, now_s = 0.0, 0.0
    while now_s < until_s:
        growth = next((g for at, g in sorted(growth_at.items(), reverse=True) if now_s >= at), growth)
        held = control.hold(now_s, has_calls=True)
        cost_s = 0.1 * (1 + drift * now_s / until_s) * chance.uniform(0.97, 1.03) * (1 if held else 1 + growth)
        control.note([Call(int((now_s + 0.01) * 1e9), int((now_s + 0.01 + cost_s) * 1e9))])
        told.append((now_s, held, control.duty))
        now_s += 0.2
    return told


def share_held(told: list[tuple[float, bool, float]], since_s: float) -> float:
    later = [held for at, held, _ in told if at >= since_s]
    return sum(later) / len(later)


def test_generation_that_costs_nothing_keeps_its_time() -> None:
    told = drive({0: 0.0}, 600)
    assert share_held(told, 60) == pytest.approx(1 / 12, abs=0.02), "only what comparing needs"
    assert told[-1][2] == 1.0


def test_a_machine_that_gets_slower_by_itself_is_not_blamed_on_generation() -> None:
    assert share_held(drive({0: 0.0}, 600, drift=1.0), 60) < 0.2


def test_generation_that_costs_too_much_is_held_back_and_comes_back_when_it_does_not() -> None:
    told = drive({0: 0.5, 400: 0.0}, 1200)
    assert share_held([t for t in told if t[0] < 400], 200) > 0.8
    assert share_held(told, 1000) < 0.3


def test_without_perception_nothing_is_held() -> None:
    control = Controller(controller.Config())
    assert not any(control.hold(0.1 * n, has_calls=False) for n in range(1000))


def test_a_worker_that_does_not_park_is_stopped_until_the_gate_is_down() -> None:
    late = replace(CALM, raised_ms=60.0)
    assert decide(late, PATIENCE)[0] is Action.STOP
    parked = replace(late, is_parked=True)
    assert decide(parked, PATIENCE)[0] is Action.NOTHING
    slow = replace(late, block_ms_p99=30.0)
    assert decide(slow, PATIENCE)[0] is Action.NOTHING, "three of its blocks are not over"
    long_call = replace(CALM, raised_ms=1.0, is_stoppable=True)
    assert decide(long_call, PATIENCE)[0] is Action.STOP, "it expects nothing else"
    assert decide(replace(long_call, raised_ms=None), PATIENCE)[0] is Action.NOTHING
    stopped = replace(late, is_stopped=True, silent_s=100.0)
    assert decide(stopped, PATIENCE)[0] is Action.NOTHING, "who is stopped cannot speak"
    assert decide(replace(CALM, is_stopped=True), PATIENCE)[0] is Action.GO_ON


@pytest.mark.parametrize(
    "trouble",
    [{"silent_s": 21.0}, {"cancelled_s": 0.2}, {"computed_s": 4000.0}, {"is_stopped": True, "cancelled_s": 0.2}],
)
def test_a_worker_that_is_beyond_help_is_killed(trouble: dict[str, float]) -> None:
    action, why = decide(replace(CALM, **trouble), PATIENCE)  # type: ignore[arg-type]
    assert action is Action.KILL
    assert why


def test_a_provider_that_lies_about_its_memory_is_believed_only_until_it_ran() -> None:
    config = memory.Config(margin_gb=1.0, perception_gb=4.0)
    room = memory.Room(free_gb=15.0, total_gb=24.0)
    assert memory.fits(room, memory.needed_gb(10.0, []), config)
    assert not memory.fits(room, memory.needed_gb(10.0, [18.0]), config)
    assert memory.fits(room, memory.needed_gb(10.0, [18.0]), config, given_back_gb=8.0)
    assert not memory.never_fits(room, 18.0, config)
    assert memory.never_fits(room, 20.0, config), "24 GB less what is kept back"
    assert memory.needed_gb(10.0, [3.0]) == 10.0, "one run may have been a small one"
    assert memory.needed_gb(10.0, [3.0] * 20) == 3.0
    assert memory.needed_gb(0.0, [3.0] * 19 + [9.0]) == 9.0
    assert memory.fits(None, 100.0, config), "where nobody knows what is free"


def test_one_run_out_of_memory_asks_for_somewhat_more_and_never_for_what_cannot_be() -> None:
    config, room = memory.Config(margin_gb=1.0, perception_gb=4.0), memory.Room(free_gb=23.0, total_gb=24.0)
    assert memory.after_too_little(8.0, 0.0, room, config) == 10.0
    assert memory.after_too_little(8.0, 12.0, room, config) == 15.0
    most = memory.after_too_little(18.0, 0.0, room, config)
    assert not memory.never_fits(room, most, config), "an empty device may still try"
    assert memory.after_too_little(8.0, 0.0, None, config) == 10.0


@given(
    told=st.lists(st.tuples(st.sampled_from(["a", "b", "c", "unknown"]), st.floats(-1, 2)), max_size=30),
    parked_s=st.floats(0, 100),
)
def test_progress_never_goes_back_and_stays_within_bounds(told: list[tuple[str, float]], parked_s: float) -> None:
    progress = Progress([("a", 1.0), ("b", 8.0), ("c", 1.0)], 10.0, 0.0)
    before = 0.0
    for n, (stage, fraction) in enumerate(told):
        progress.update(stage, fraction)
        shown = progress.shown(float(n), parked_s)
        assert before <= shown.fraction <= 1.0
        assert shown.eta_s is None or shown.eta_s >= 0
        before = shown.fraction


def test_the_time_that_is_left_comes_from_the_run_itself() -> None:
    progress = Progress([("a", 1.0), ("b", 9.0)], 10.0, 0.0)
    assert progress.shown(0.0).eta_s == 10.0
    progress.update("b", 0.5)
    assert progress.shown(55.0).fraction == pytest.approx(0.55)
    assert progress.shown(55.0).eta_s == pytest.approx(45.0)
    assert progress.shown(65.0, parked_s=10.0).eta_s == pytest.approx(45.0), "parked, it was not slow"


def test_what_others_did_before_says_nothing_of_the_time_that_is_left() -> None:
    progress = Progress([("before", 6.0), ("own", 2.0), ("after", 2.0)], 10.0, 0.0)
    progress.update("before", 1.0)
    progress.begin(100.0)
    assert progress.shown(101.0).eta_s == pytest.approx(9.0)
    progress.update("own", 0.5)
    assert progress.shown(110.0).fraction == pytest.approx(0.7)
    assert progress.shown(110.0).eta_s == pytest.approx(30.0), "a quarter of it in 10 s"


def test_the_last_word_of_its_own_run_is_what_ends_an_attempt(tmp_path: Path) -> None:
    job = Job(job="job-1", wanted=Wanted(), asset="vase", attempt=1, created_ns=0, changed_ns=0)
    one, again = (
        Attempt(job.model_copy(update={"changed_ns": ns}), None, tmp_path, Progress([], 1.0, 0.0), 0.0)  # type: ignore[arg-type]
        for ns in (1, 2)
    )
    assert one.out != again.out, "another lane may clear up after the first while the second is at work"
    one.hear({"type": "progress", "run": one.name, "stage": "", "fraction": 0.1})
    one.hear({"type": "done", "run": again.name})
    assert not one.has_ended
    one.hear({"type": "cancelled", "run": one.name})
    again.hear({"type": "gone", "message": ""})
    assert one.has_ended
    assert again.has_ended
