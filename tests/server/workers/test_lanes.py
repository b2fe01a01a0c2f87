"""Who runs next: the newest per stream, never late, fair among streams, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server.workers.lanes import Config, Job, Lane, LaneFull, Lanes


def job(lane: Lane = Lane.REALTIME, key: str = "a", deadline: float | None = None) -> Job[None]:
    return Job(lane, key, None, deadline)


def lanes(**config: float) -> Lanes[None]:
    return Lanes(Config(**config))  # type: ignore[arg-type]


def test_newest_per_key_wins_and_keeps_the_place() -> None:
    waiting = lanes()
    old, other, new = job(key="a"), job(key="b"), job(key="a")
    assert waiting.submit(old, 0) is None
    assert waiting.submit(other, 0) is None
    assert waiting.submit(new, 0) is old
    assert waiting.next(0) is new
    waiting.done(new)
    assert waiting.next(0) is other
    assert waiting.superseded == 1


def test_jobs_that_fit_are_taken_along_and_can_be_put_back() -> None:
    waiting = lanes()
    jobs = {key: job(key=key) for key in "abcd"} | {"e": job(key="e", deadline=1.0)}
    for each in jobs.values():
        waiting.submit(each, 0)
    first = waiting.next(2)
    asked: list[int] = []
    taken = waiting.take_along(lambda other: other.key != "b", lambda fitting: asked.append(fitting) or 1, 2)
    assert (first, taken, asked) == (jobs["a"], [jobs["c"]], [2]), "b does not fit, e is too late"
    assert waiting.next(2) is None, "the first still runs"
    waiting.done(jobs["a"])
    assert waiting.put_back(jobs["c"], 2)
    assert waiting.next(2) is jobs["c"], "at the head of the line again"


def test_one_job_at_a_time() -> None:
    waiting = lanes()
    first, second = job(key="a"), job(key="b")
    waiting.submit(first, 0)
    waiting.submit(second, 0)
    assert waiting.next(0) is first
    assert waiting.next(0) is None
    waiting.done(first)
    assert waiting.next(0) is second


def test_late_jobs_never_start_and_are_counted() -> None:
    waiting = lanes()
    late, fine = job(key="a", deadline=1.0), job(key="b", deadline=3.0)
    waiting.submit(late, 0)
    waiting.submit(fine, 0)
    assert waiting.expire(0.99) == []
    assert waiting.next(1.0) is fine
    assert waiting.expire(1.0) == [late]
    assert waiting.expired == 1


def test_realtime_goes_first_but_patience_has_an_end() -> None:
    waiting = lanes(patience_s=5)
    background, generation = job(Lane.BACKGROUND), job(Lane.GENERATION)
    waiting.submit(generation, 0)
    waiting.submit(background, 0)
    order = []
    for now in range(10):
        waiting.submit(job(key=f"stream-{now}"), now)
        started = waiting.next(now)
        assert started is not None
        order.append(started.lane)
        waiting.done(started)
    assert order[:6] == [Lane.REALTIME] * 6
    assert order[6:8] == [Lane.BACKGROUND, Lane.GENERATION]
    assert order[8:] == [Lane.REALTIME] * 2


@pytest.mark.parametrize("lane", list(Lane))
def test_full_lanes_refuse(lane: Lane) -> None:
    waiting = lanes(max_realtime_keys=2, max_background=2, max_generation=2)
    for key in "ab":
        waiting.submit(job(lane, key), 0)
    with pytest.raises(LaneFull, match=lane.value):
        waiting.submit(job(lane, "c"), 0)
    assert +waiting.depths() == Counter({lane: 2})


def test_a_full_realtime_lane_still_takes_newer_jobs_of_its_streams() -> None:
    waiting = lanes(max_realtime_keys=1)
    old, new = job(), job()
    waiting.submit(old, 0)
    assert waiting.submit(new, 0) is old


def test_requeued_jobs_go_first_unless_a_newer_one_waits() -> None:
    waiting = lanes()
    unlucky, other = job(key="a"), job(key="b")
    waiting.submit(unlucky, 0)
    waiting.submit(other, 0)
    waiting.next(0)
    assert waiting.requeue(unlucky, 1)
    assert waiting.next(1) is unlucky
    newer = job(key="a")
    waiting.submit(newer, 2)
    assert not waiting.requeue(unlucky, 2)
    assert waiting.next(2) is other


def test_cancelled_jobs_do_not_run() -> None:
    waiting = lanes()
    jobs = [job(), job(Lane.BACKGROUND), job(Lane.GENERATION)]
    for each in jobs:
        waiting.submit(each, 0)
        assert waiting.cancel(each)
        assert not waiting.cancel(each)
    assert waiting.next(0) is None


class AnyTraffic(RuleBasedStateMachine):
    """Against a virtual clock, every job has exactly one fate, and every promise of the policy holds."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Config(max_realtime_keys=3, max_background=2, max_generation=2, patience_s=5)
        self.lanes: Lanes[None] = Lanes(self.config)
        self.now = 0.0
        self.waiting: dict[Job[None], float] = {}
        self.running: Job[None] | None = None
        self.fates: Counter[str] = Counter()

    @rule(seconds=st.floats(0, 4))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(lane=st.sampled_from(Lane), key=st.sampled_from("abcd"), patience=st.none() | st.floats(0, 10))
    def submit(self, lane: Lane, key: str, patience: float | None) -> None:
        new = job(lane, key, None if patience is None else self.now + patience)
        same_key = [j for j in self.waiting if j.lane is Lane.REALTIME and j.key == key]
        depth = sum(j.lane is lane for j in self.waiting)
        bound = {Lane.REALTIME: 3, Lane.BACKGROUND: 2, Lane.GENERATION: 2}[lane]
        is_replacing = lane is Lane.REALTIME and bool(same_key)
        try:
            replaced = self.lanes.submit(new, self.now)
        except LaneFull:
            assert depth == bound
            assert not is_replacing
            return
        assert replaced == (same_key[0] if is_replacing else None)
        if replaced is not None:
            del self.waiting[replaced]
        self.waiting[new] = self.now

    @rule()
    def start(self) -> None:
        on_time = {j: since for j, since in self.waiting.items() if j.deadline is None or self.now < j.deadline}
        started = self.lanes.next(self.now)
        if self.running is not None:
            assert started is None
            return
        if started is None:
            assert not on_time
            return
        assert started in on_time
        since = self.waiting.pop(started)
        if started.lane is not Lane.REALTIME:
            is_impatient = self.now - since > self.config.patience_s
            assert is_impatient or not any(j.lane is Lane.REALTIME for j in on_time)
        self.running = started

    @rule(died=st.booleans())
    def finish(self, died: bool) -> None:
        if self.running is None:
            return
        if not died:
            self.lanes.done(self.running)
        else:
            newer = any(j.lane is Lane.REALTIME and j.key == self.running.key for j in self.waiting)
            obsolete = newer and self.running.lane is Lane.REALTIME
            assert self.lanes.requeue(self.running, self.now) is not obsolete
            if not obsolete:
                self.waiting[self.running] = self.now
        self.running = None

    @rule()
    def expire(self) -> None:
        gone = self.lanes.expire(self.now)
        assert set(gone) == {j for j in self.waiting if j.deadline is not None and self.now >= j.deadline}
        for each in gone:
            del self.waiting[each]

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.waiting:
            victim = data.draw(st.sampled_from(list(self.waiting)))
            assert self.lanes.cancel(victim)
            del self.waiting[victim]

    @invariant()
    def depths_are_true_and_bounded(self) -> None:
        assert +self.lanes.depths() == +Counter(j.lane for j in self.waiting)
        assert self.lanes.depths()[Lane.BACKGROUND] <= 3  # its bound, and one that came back from a dead worker

    def teardown(self) -> None:
        assert set(self.lanes.drain()) == set(self.waiting)


AnyTraffic.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyTraffic = AnyTraffic.TestCase
