"""The life of a job, pure: each function takes a job and the time (Unix ns) and gives the job as it is afterwards.

queued -> running -> publishing -> succeeded
queued <- running                               worker or server died, or it may go better next time
queued -> cancelled, expired, publishing        nobody wants it; too late; an identical one was done before
queued -> failed                                nobody can do it
running -> cancelled, failed
queued -> queued                                what a part of it made is lost, and made again
running -> queued                               its part is done, another provider has the next (`legs`)
failed, cancelled, expired -> queued            somebody asks for a retry
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from server.api.contract import Conflict
from server.assets.values import NewVersion
from server.jobs import legs
from server.jobs.values import Failure, Job, Leg, Published, State

UNSUITABLE = "unsuitable"
DIED = Failure(
    code="worker_died", message="its process ended before it did", hint="see the server's log", retryable=True
)

INTERRUPTED = Failure(
    code="interrupted", message="the server died while it ran,", hint="see the server's log", retryable=True
)


class RetryConfig(BaseModel):
    """What is tried again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(default=3, ge=1)
    max_interruptions: int = Field(default=20, ge=1)
    """A job that ran each time the server died may be why; after so many it fails."""
    first_backoff_s: float = Field(default=1.0, ge=0)
    max_backoff_s: float = Field(default=60.0, ge=0)


class WrongState(Conflict):
    """That cannot happen to a job in this state."""


def start(job: Job, provider: str, revision: str, now_ns: int) -> Job:
    """It is given to a provider."""
    _check(job, "queued")
    facts = {"provider": provider, "revision": revision, "attempt": job.attempt + 1, "failure": None}
    return _changed(job, "running", now_ns, started_ns=now_ns, **facts)


def interrupt(job: Job, retry: RetryConfig, now_ns: int) -> Job:
    """The server died while it ran: it begins anew with the same seed, and the attempt does not count."""
    times = job.interruptions + 1
    if times >= retry.max_interruptions and not job.is_cancelling:
        failure = INTERRUPTED.model_copy(update={"message": f"{INTERRUPTED.message} {times} times"})
        return _changed(job, "failed", now_ns, failure=failure, ended_ns=now_ns, interruptions=times)
    return give_back(job, now_ns).model_copy(update={"interruptions": times})


def give_back(job: Job, now_ns: int) -> Job:
    """It was taken from its provider through no fault of its own; the attempt does not count."""
    _check(job, "running")
    if job.is_cancelling:
        return cancelled(job, now_ns)
    return _changed(job, "queued", now_ns, attempt=job.attempt - 1, started_ns=None)


def fail(job: Job, failure: Failure, retry: RetryConfig, now_ns: int) -> Job:
    """The attempt failed: the job does, too, or waits for the next one."""
    _check(job, "running")
    if job.is_cancelling:
        return cancelled(job, now_ns)
    if failure.retryable and job.attempt < retry.max_attempts:
        backoff_s = min(retry.first_backoff_s * 2.0 ** min(job.attempt - 1, 60), retry.max_backoff_s)
        not_before_ns = now_ns + int(backoff_s * 1e9)
        return _changed(job, "queued", now_ns, not_before_ns=not_before_ns, failure=failure, started_ns=None)
    return _given_up(job, failure, now_ns)


def pass_on(job: Job, failure: Failure, now_ns: int) -> Job:
    """Its provider finds it unsuitable: another one may have it, and the attempt does not count."""
    _check(job, "running")
    assert job.provider is not None
    if legs.part(job) != "whole" and not job.is_cancelling:
        return _given_up(job, failure, now_ns)
    return give_back(job, now_ns).model_copy(update={"tried": (*job.tried, job.provider), "failure": failure})


def rule_out(job: Job, provider: str, failure: Failure, now_ns: int) -> Job:
    """A provider that it would go to cannot have it: another one may."""
    _check(job, "queued")
    if legs.part(job) != "whole":
        return _given_up(job, failure, now_ns)
    return _changed(job, "queued", now_ns, tried=(*job.tried, provider), failure=failure)


def redo(job: Job, lost: Sequence[Leg], now_ns: int) -> Job:
    """What these legs made is not there any more: they have their turn again, and so has who looked at it."""
    _check(job, "queued")
    kept = tuple(leg for leg in job.legs if leg.part in ("picture", "race") and leg not in lost)
    return _changed(job, "queued", now_ns, legs=kept)


def refuse(job: Job, failure: Failure, now_ns: int) -> Job:
    """No provider can have it."""
    _check(job, "queued")
    return _given_up(job, failure, now_ns)


def make(job: Job, version: NewVersion, now_ns: int, cached_from: str | None = None) -> Job:
    """All of it is made and stored, and waits to be published; from here on it cannot be cancelled."""
    _check(job, "queued" if cached_from else "running")
    if job.is_cancelling:
        return cancelled(job, now_ns)
    due = legs.part(job)
    if due == "judge":
        return _went_on(job.model_copy(update={"legs": legs.judged(job, version.quality.get("verdicts"))}), now_ns)
    if due == "refine":
        return _went_on(job, now_ns, **legs.refined(version))
    if due != "whole":
        return _went_on(job, now_ns, made=version)
    return _changed(job, "publishing", now_ns, made=version, cached_from=cached_from)


def publish(job: Job, version: int, now_ns: int) -> Job:
    _check(job, "publishing")
    result = Published(asset=job.asset, version=version, cached_from=job.cached_from)
    return _changed(job, "succeeded", now_ns, result=result, failure=None, made=None, ended_ns=now_ns)


def lose(job: Job, failure: Failure, now_ns: int) -> Job:
    """What was made can never be published: its asset is gone, or belongs to somebody else."""
    _check(job, "publishing")
    return _changed(job, "failed", now_ns, failure=failure, made=None, ended_ns=now_ns)


def cancel(job: Job, now_ns: int) -> Job:
    """Nobody wants it. One that runs is cancelled when its worker has let go of it; asking twice changes nothing."""
    if job.state == "cancelled" or job.is_cancelling:
        return job
    _check(job, "queued", "running")
    if job.state == "queued":
        return cancelled(job, now_ns)
    return job.model_copy(update={"is_cancelling": True, "changed_ns": now_ns})


def cancelled(job: Job, now_ns: int) -> Job:
    _check(job, "queued", "running")
    return _changed(job, "cancelled", now_ns, is_cancelling=False, ended_ns=now_ns)


def expire(job: Job, now_ns: int) -> Job:
    """Its deadline passed before it began."""
    _check(job, "queued")
    return _changed(job, "expired", now_ns, ended_ns=now_ns)


def retry(job: Job, now_ns: int) -> Job:
    """Begin anew, with the same seed."""
    _check(job, "failed", "cancelled", "expired")
    counts = {"attempt": 0, "interruptions": 0, "tried": (), "failure": None, "legs": ()}
    times = {"not_before_ns": 0, "started_ns": None, "ended_ns": None}
    wanted = job.wanted.model_copy(update={"deadline_s": None})
    return _changed(job, "queued", now_ns, wanted=wanted, **counts, **times)


def _given_up(job: Job, failure: Failure, now_ns: int) -> Job:
    """Whoever had it cannot do it: of a race the others go on, and there is a winner unjudged and unrefined, too."""
    if legs.part(job) in ("race", "judge", "refine"):
        return _went_on(job, now_ns, failure=failure)
    return _changed(job, "failed", now_ns, failure=failure, ended_ns=now_ns)


def _went_on(
    job: Job,
    now_ns: int,
    made: NewVersion | None = None,
    failure: Failure | None = None,
    verdict: dict[str, Any] | None = None,
) -> Job:
    """A leg is over: the next provider has its turn, or the job is decided."""
    due, name = legs.part(job), legs.provider(job)
    assert due in ("picture", "race", "judge", "refine")
    assert name is not None
    leg = Leg(provider=name, part=due, made=made, failure=failure, verdict=verdict)
    after = job.model_copy(update={"legs": (*job.legs, leg)})
    if legs.part(after) != "over":
        wanted = job.wanted.model_copy(update={"deadline_s": None})  # it has begun
        fresh = {"attempt": 0, "not_before_ns": 0, "failure": None, "wanted": wanted}
        return _changed(after, "queued", now_ns, **fresh)
    best = legs.outcome(after)
    if best is None:
        return _changed(after, "failed", now_ns, failure=failure or legs.NOBODY, ended_ns=now_ns)
    return _changed(after, "publishing", now_ns, made=best)


def _check(job: Job, *states: State) -> None:
    if job.state not in states:
        raise WrongState(f"job {job.job} is {job.state}, not {' or '.join(states)}", state=job.state)


def _changed(job: Job, state: State, now_ns: int, **facts: object) -> Job:
    return job.model_copy(update={"state": state, "changed_ns": now_ns, **facts})
