"""The life of jobs under a virtual clock: whatever happens, each is in one place, and nothing is published twice."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from server.assets.values import AssetFile, NewVersion
from server.jobs import fingerprint, machine, schema
from server.jobs.events import JobEvent
from server.jobs.fingerprint import Key
from server.jobs.machine import RetryConfig, WrongState
from server.jobs.store import Store, TooManyJobs
from server.jobs.values import TERMINAL, Failure, InputFile, Job, Wanted, Webhook

RETRY = RetryConfig(max_attempts=3, first_backoff_s=1.0, max_backoff_s=4.0)
MADE = NewVersion(files=(AssetFile(role="lod0", format="glb", sha256="0" * 64, size=1),))
BROKEN = Failure(code="broken", message="it broke", retryable=True)
STEPS = ["start", "make", "publish", "fail", "cancel", "cancelled", "expire", "retry", "pass_on"]
HOPELESS = Failure(code="bad_input", message="no")


def new(name: str = "job-1", now_ns: int = 0, **wanted: object) -> Job:
    return Job(job=name, wanted=Wanted(**wanted), asset="vase", created_ns=now_ns, changed_ns=now_ns)  # type: ignore[arg-type]


def running(attempt: int = 1) -> Job:
    return machine.start(new().model_copy(update={"attempt": attempt - 1}), "prims", "1", 5)


def test_a_job_that_goes_well() -> None:
    job = running()
    assert (job.state, job.attempt, job.provider, job.started_ns) == ("running", 1, "prims", 5)
    job = machine.make(job, MADE, 6)
    assert (job.state, job.made) == ("publishing", MADE)
    job = machine.publish(job, 3, 7)
    assert job.result is not None
    assert (job.state, job.result.asset, job.result.version, job.made, job.ended_ns) == (
        "succeeded",
        "vase",
        3,
        None,
        7,
    )


def test_failures_are_tried_again_with_growing_pauses_and_the_same_seed_then_end() -> None:
    job, pauses = new(seed=7), []
    for now_ns in (0, 10**10, 10**11):
        job = machine.fail(machine.start(job, "prims", "1", now_ns), BROKEN, RETRY, now_ns)
        pauses.append(job.not_before_ns - now_ns)
        assert job.wanted.seed == 7
    assert pauses[:2] == [10**9, 2 * 10**9]
    assert (job.state, job.attempt, job.failure) == ("failed", 3, BROKEN)
    assert machine.fail(running(), HOPELESS, RETRY, 6).state == "failed", "what nothing can mend is not tried again"
    again = machine.retry(job, 10**12)
    assert (again.state, again.attempt, again.failure, again.wanted.seed) == ("queued", 0, None, 7)


def test_a_cancelled_job_ends_whatever_its_worker_does() -> None:
    job = machine.cancel(running(), 6)
    assert (job.state, job.is_cancelling) == ("running", True)
    assert machine.cancel(job, 7) is job
    for ended in (
        machine.cancelled(job, 8),
        machine.fail(job, BROKEN, RETRY, 8),
        machine.interrupt(job, RETRY, 8),
        machine.give_back(job, 8),
        machine.make(job, MADE, 8),
    ):
        assert (ended.state, ended.is_cancelling, ended.made) == ("cancelled", False, None)
    with pytest.raises(WrongState):
        machine.cancel(machine.make(running(), MADE, 6), 7)


def test_what_is_not_the_jobs_fault_does_not_count() -> None:
    job = machine.give_back(running(attempt=2), 6)
    assert (job.state, job.attempt) == ("queued", 1)
    passed = machine.pass_on(running(), Failure(code="unsuitable", message="no"), 6)
    assert (passed.state, passed.attempt, passed.tried) == ("queued", 0, ("prims",))


def test_the_servers_death_is_no_attempt_unless_it_comes_with_the_job() -> None:
    job, retry = new(), RetryConfig(max_attempts=1, max_interruptions=3)
    for times in (1, 2):
        job = machine.interrupt(machine.start(job, "prims", "1", 5), retry, 6)
        assert (job.state, job.attempt, job.interruptions) == ("queued", 0, times)
    job = machine.interrupt(machine.start(job, "prims", "1", 5), retry, 6)
    assert (job.state, job.failure and job.failure.code) == ("failed", "interrupted")
    assert machine.retry(job, 7).interruptions == 0


def test_a_provider_without_room_is_ruled_out_and_the_job_waits_for_another() -> None:
    job = machine.rule_out(new(), "trellis", HOPELESS, 6)
    assert (job.state, job.tried, job.failure, job.attempt) == ("queued", ("trellis",), HOPELESS, 0)


class Books(RuleBasedStateMachine):
    """The store, and what must hold of it after any history, kills included."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.now_ns = 0
        self.events: list[JobEvent] = []
        self.known: dict[str, Job] = {}
        self.published: list[str] = []
        self.store = Store(Path(self.folder.name) / "jobs.sqlite", self.events.append)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    @rule(
        priority=st.integers(0, 9), deadline_s=st.sampled_from([None, 1.0, 5.0]), key=st.sampled_from([None, "a", "b"])
    )
    def submit(self, priority: int, deadline_s: float | None, key: str | None) -> None:
        job = new(f"job-{len(self.known)}", self.now_ns, priority=priority, deadline_s=deadline_s)
        try:
            named = None if key is None else Key(key, fingerprint.of_request(job.wanted, ()))
            taken, is_new = self.store.submit(job, named, 5, 1.0)
        except (TooManyJobs, machine.Conflict):
            return
        assert is_new == (taken.job not in self.known)
        if is_new:
            self.known[job.job] = job

    @rule(step=st.sampled_from(STEPS), which=st.integers(0, 30))
    def step(self, step: str, which: int) -> None:
        if not self.known:
            return
        name = list(self.known)[which % len(self.known)]
        now = self.now_ns
        steps = {
            "start": lambda job: machine.start(job, "prims", "1", now),
            "make": lambda job: machine.make(job, MADE, now),
            "publish": lambda job: machine.publish(job, 1, now),
            "fail": lambda job: machine.fail(job, BROKEN, RETRY, now),
            "cancel": lambda job: machine.cancel(job, now),
            "cancelled": lambda job: machine.cancelled(job, now),
            "expire": lambda job: machine.expire(job, now),
            "retry": lambda job: machine.retry(job, now),
            "pass_on": lambda job: machine.pass_on(job, HOPELESS, now),
        }
        before = self.known[name]
        try:
            self.known[name] = after = self.store.change(name, steps[step])
        except WrongState:
            assert self.store.get(name) == before, "a step that is not possible changes nothing"
            return
        if step == "publish":
            assert name not in self.published, "published twice"
            self.published.append(name)
        assert after.attempt <= RETRY.max_attempts

    @rule(seconds=st.floats(0.1, 10.0))
    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)

    @rule()
    def die(self) -> None:
        """kill -9, and another server."""
        self.store.close()
        self.store = Store(Path(self.folder.name) / "jobs.sqlite", self.events.append)
        for job in self.store.in_state("running"):
            step = lambda known: machine.interrupt(known, RETRY, self.now_ns)  # noqa: E731
            self.known[job.job] = self.store.change(job.job, step)

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "known"):
            assert {job: self.store.get(job) for job in self.known} == self.known

    @invariant()
    def events_have_no_gap_and_end_where_the_jobs_are(self) -> None:
        if not hasattr(self, "known"):
            return
        assert [event.seq for event in self.events] == list(range(1, len(self.events) + 1))
        last = {event.job: event.state for event in self.events}
        assert last == {name: job.state for name, job in self.known.items()}

    @invariant()
    def the_queue_is_in_order(self) -> None:
        if not hasattr(self, "known"):
            return
        queued = self.store.unrouted(self.now_ns, 100)
        assert {job.job for job in queued} == {
            name for name, job in self.known.items() if job.state == "queued" and job.not_before_ns <= self.now_ns
        }
        first = self.store.next_for(["prims"], self.now_ns)
        assert first is None, "nobody was found for any of them"
        ahead = [(-job.wanted.priority * 120 * 10**9 + job.created_ns, job.job) for job in queued]
        assert ahead == sorted(ahead)
        waiting = [name for name, job in self.known.items() if job.state == "queued"]
        assert len(waiting) == self.store.num_queued()
        assert sorted(self.store.positions(waiting).values()) == list(range(len(waiting)))


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_low_priority_waits_but_not_for_ever(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite", lambda event: None)
    store.submit(new("job-low", 0, priority=0), None, 9, 1.0)
    store.submit(new("job-soon", 60 * 10**9, priority=1), None, 9, 1.0)
    store.submit(new("job-later", 200 * 10**9, priority=1), None, 9, 1.0)
    assert [job.job for job in store.unrouted(10**12, 9)] == ["job-soon", "job-low", "job-later"]


def test_what_is_owed_and_learnt_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite", lambda event: None)
    hook = Webhook(url="https://example.org/", events=("started", "completed"))
    store.submit(new(webhook=hook), None, 9, 1.0)
    store.change("job-1", lambda job: machine.start(job, "prims", "1", 10))
    store.change("job-1", lambda job: machine.make(job, MADE, 20), learn="digest")
    store.change("job-1", lambda job: machine.publish(job, 1, 30))
    store.close()
    store = Store(tmp_path / "jobs.sqlite", lambda event: None)
    assert [(owed.event, owed.tries) for owed in store.due_deliveries(40, 9)] == [("started", 0), ("completed", 0)]
    assert store.next_delivery_ns() == 10
    store.delivered(1, None)
    store.delivered(2, 99)
    assert (store.next_delivery_ns(), store.due_deliveries(98, 9)) == (99, [])
    assert store.result("digest") == ("job-1", MADE)
    for n in range(10):
        store.learn_peak("prims", "cpu", float(n), 3, n)
    assert store.peaks_gb("prims", "cpu", 0) == [7.0, 8.0, 9.0]
    assert store.peaks_gb("prims", "cpu", 8) == [8.0, 9.0], "what is long ago says nothing"
    assert store.prune(31) == ["job-1"]
    assert store.result("digest") is None
    assert store.in_state(*TERMINAL) == []


def test_each_provider_has_its_own_queue_and_a_change_forgets_the_way(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite", lambda event: None)
    for n, provider in enumerate(["big"] * 70 + ["small"]):
        store.submit(new(f"job-{n:02d}", n), None, 99, 1.0)
        store.route({f"job-{n:02d}": provider})
    found = store.next_for(["small"], 99)
    assert found is not None
    assert found.job == "job-70", "however many wait for the other one"
    found = store.next_for(["small", "big"], 99)
    assert found is not None
    assert found.job == "job-00"
    store.change("job-70", lambda job: machine.rule_out(job, "small", HOPELESS, 100))
    assert store.next_for(["small"], 100) is None
    assert [job.job for job in store.unrouted(100, 9)] == ["job-70"]
    store.forget_routes()
    assert len(store.unrouted(100, 99)) == 71


def test_books_of_the_first_version_are_read(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    old = sqlite3.connect(path)
    old.executescript(f"{schema._SCHEMA} PRAGMA user_version = 1;")
    values = ("job-1", "queued", 0, 0, new().model_dump_json())
    old.execute("INSERT INTO jobs (job, state, rank, not_before_ns, body) VALUES (?, ?, ?, ?, ?)", values)
    old.commit()
    old.close()
    store = Store(path, lambda event: None)
    assert [job.job for job in store.unrouted(1, 9)] == ["job-1"]
    store.close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(sqlite3.DatabaseError, match="99"):
        Store(path, lambda event: None)


def test_it_is_told_once_that_a_job_runs_and_each_quarter_of_the_way_until_it_is_tried_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite", lambda event: None)
    hook = Webhook(url="https://example.org/", events=("started", "progress"))
    store.submit(new(webhook=hook), None, 9, 1.0)
    for now_ns in (10, 20):
        store.change("job-1", lambda job, now_ns=now_ns: machine.start(job, "prims", "1", now_ns))  # type: ignore[misc]
        store.change("job-1", lambda job: machine.fail(job, BROKEN, RETRY, 0))
    store.change("job-1", lambda job: machine.start(job, "prims", "1", 30))
    store.change("job-1", lambda job: machine.cancel(job, 31))
    for quarter in (1, 2):
        assert store.owe_progress("job-1", b"%d" % quarter, 32)
    store.change("job-1", lambda job: machine.cancelled(job, 33))
    owed = store.due_deliveries(99, 9)
    assert [(one.event, one.body) for one in owed[1:]] == [("progress", b"2")], "the newest says it all"
    assert [one.event for one in owed] == ["started", "progress"]
    store.change("job-1", lambda job: machine.retry(job, 40))
    store.change("job-1", lambda job: machine.start(job, "prims", "1", 41))
    assert [one.event for one in store.due_deliveries(99, 9)] == ["started", "progress", "started"]
    store.submit(new("job-2"), None, 9, 1.0)
    assert not store.owe_progress("job-2", b"", 50), "nobody wants to know"


def test_a_hundred_thousand_jobs_can_wait_and_one_more_is_refused(tmp_path: Path) -> None:
    """By the books' own bound: what is asked of them does not grow with the queue."""
    store = Store(tmp_path / "jobs.sqlite", lambda event: None)
    body = new().model_dump_json()
    rows = ((f"job-{n:06d}", n, body.replace("job-1", f"job-{n:06d}")) for n in range(100_000))
    with store._change():
        store._db.executemany(
            "INSERT INTO jobs (job, state, rank, not_before_ns, body) VALUES (?, 'queued', ?, 0, ?)", rows
        )
    assert store.num_queued() == 100_000
    with pytest.raises(TooManyJobs) as refused:
        store.submit(new("job-x"), None, 100_000, 600.0)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 600.0)
    assert [job.job for job in store.unrouted(1, 2)] == ["job-000000", "job-000001"]
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    store._db.set_progress_handler(count, 100)
    store.unrouted(1, 64)
    store.next_for(["prims"], 1)
    store.next_due_ns(1)
    store.overdue(1, 64)
    assert steps < 100, "hundreds of instructions, not hundreds of thousands"


def test_inputs_belong_to_the_request() -> None:
    """A key that comes back with another picture is another request."""
    one = InputFile(role="image", name="image-0.png", sha256="0" * 64, size=1)
    other = one.model_copy(update={"sha256": "1" * 64})
    assert fingerprint.of_request(Wanted(), (one,)) != fingerprint.of_request(Wanted(), (other,))
    same = fingerprint.of_result(Wanted(priority=1), (one,), "relief", "1")
    assert same == fingerprint.of_result(Wanted(priority=9, asset_name="x"), (one,), "relief", "1")
    assert same != fingerprint.of_result(Wanted(seed=2), (one,), "relief", "1")
    assert same != fingerprint.of_result(Wanted(), (one,), "relief", "2")
