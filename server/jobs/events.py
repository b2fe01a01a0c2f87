"""What happens to jobs, as the books number it and clients are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from server.jobs.values import Job


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job changed its state."""

    seq: int
    job: str
    state: str
    text: bytes
    """JSON, as it goes to clients."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Somebody is to be told of a job; tried until it works or is given up."""

    id: int
    job: str
    event: str
    body: bytes
    tries: int


def told_of(job: Job) -> bytes:
    """What is said of a change: JSON."""
    told: dict[str, Any] = {"job": job.job, "state": job.state, "attempt": job.attempt, "provider": job.provider}
    if job.is_cancelling:
        told["cancelling"] = True
    if job.failure is not None:
        told["failure"] = job.failure.model_dump()
    if job.result is not None:
        told["result"] = job.result.model_dump()
    return msgspec.json.encode(told | {"at_ms": job.changed_ns // 10**6})


def event_of(seq: int, job: str, state: str, body: bytes) -> JobEvent:
    """With its number."""
    return JobEvent(seq, job, state, b'{"seq":%d,"type":"job.changed",%s' % (seq, body[1:]))
