"""One attempt at a job: a worker is made ready, told what to do and heard, until it says the last thing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mapping import disk
from server.api.contract import Conflict, Refused
from server.generation.process import ProviderProcess, WorkerGone
from server.generation.provider import GenerationFailed
from server.generation.publish import Publisher
from server.generation.registry import Known
from server.generation.workers import Workers
from server.jobs import legs
from server.jobs.progress import Progress
from server.jobs.values import Job

log = logging.getLogger(__name__)
MAX_WAITING = 256
MAX_OFFERS = 16
"""Of one attempt; what is offered beyond is not published."""
LAST_WORDS = ("done", "failed", "cancelled")
Last = Literal["done", "failed", "cancelled", "gone"]


@dataclass(slots=True, eq=False)
class Attempt:
    """Where an attempt stands; the overseer looks at it and may end it."""

    job: Job
    known: Known
    spool: Path
    """Of the job."""
    progress: Progress
    began: float
    """Monotonic seconds, as the next two."""
    ran_from: float | None = None
    """When its worker was told to run, loaded and all."""
    cancelled_at: float | None = None
    worker: ProviderProcess | None = None
    inbox: asyncio.Queue[dict[str, Any]] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))
    parked_before_ms: float = 0.0
    killed_because: str = ""
    has_ended: bool = False
    """Its worker has said the last word, or is gone."""

    @property
    def name(self) -> str:
        """No two attempts have the same."""
        return f"{self.job.job}/{self.job.attempt}/{self.job.changed_ns}"

    @property
    def out(self) -> Path:
        """As `name`: who clears up after one attempt takes nothing from the next."""
        return (self.spool / f"out-{self.job.attempt}-{self.job.changed_ns}").resolve()

    @property
    def is_loaded(self) -> bool:
        return self.worker is not None and self.worker.is_loaded

    @property
    def parked_ms(self) -> float:
        """For how long perception had the device meanwhile."""
        if self.worker is None:
            return 0.0
        return max(0.0, self.worker.yielded_ms - self.parked_before_ms)

    def cancel(self, now: float) -> None:
        """Nobody wants it any more."""
        self.cancelled_at = now
        if self.worker is not None:
            self.worker.resume()
            self.worker.tell("cancel", run=self.name)

    def hear(self, message: dict[str, Any]) -> None:
        """The worker said something; when much waits, the last words are what must not be left out."""
        if message["type"] == "gone" or (message["type"] in LAST_WORDS and message.get("run") == self.name):
            self.has_ended = True
        if message["type"] not in ("progress", "offer") or self.inbox.qsize() < MAX_WAITING // 2:
            with contextlib.suppress(asyncio.QueueFull):
                self.inbox.put_nowait(message)


async def carry_out(
    attempt: Attempt, workers: Workers, publisher: Publisher, load_timeout_s: float
) -> tuple[Last, dict[str, Any]]:
    """The last thing that the worker said, and what it said about it."""
    try:
        worker = attempt.worker = await workers.get(attempt.known)
        if not worker.is_loaded:
            async with asyncio.timeout(load_timeout_s):
                told = await worker.load()
            if not worker.is_loaded:
                return ("gone" if told["type"] == "gone" else "failed"), told
        worker.listener = attempt.hear
        if attempt.cancelled_at is not None:
            return "cancelled", {}
        return await _run(attempt, worker, publisher)
    except WorkerGone as error:
        return "gone", {"message": str(error)}
    except TimeoutError:
        return "gone", {"message": f"it was not loaded within {load_timeout_s:g} s"}
    except BaseException:  # a mistake of ours, or the server ends: it must not go on with what nobody hears
        attempt.cancel(time.monotonic())
        raise


async def _run(attempt: Attempt, worker: ProviderProcess, publisher: Publisher) -> tuple[Last, dict[str, Any]]:
    await asyncio.to_thread(_emptied, attempt.out)
    attempt.ran_from = time.monotonic()
    attempt.progress.begin(attempt.ran_from)
    attempt.parked_before_ms = worker.yielded_ms
    worker.tell("run", run=attempt.name, request=_request(attempt, publisher), spool=str(attempt.out))
    if attempt.cancelled_at is not None:
        worker.tell("cancel", run=attempt.name)
    if worker.gone.is_set():
        raise WorkerGone("it died while it was idle")
    while True:
        told = await attempt.inbox.get()
        if told["type"] == "gone":
            return "gone", told
        if told.get("run") != attempt.name:
            continue
        if told["type"] == "progress":
            attempt.progress.update(str(told["stage"]), float(told["fraction"]))
        elif told["type"] == "offer" and int(told["number"]) <= MAX_OFFERS:
            await asyncio.to_thread(_offer, attempt, publisher, told)
        elif told["type"] in LAST_WORDS:
            return told["type"], told


def _offer(attempt: Attempt, publisher: Publisher, told: dict[str, Any]) -> None:
    """Publish what is there already; if that is no good, the result may still be."""
    try:
        version = publisher.store(attempt.job, attempt.known.description, told["result"], attempt.out)
        publisher.offer(attempt.job, version, f"offer {attempt.known.name} {int(told['number'])}")
    except Conflict:  # an earlier attempt published this one
        return
    except (GenerationFailed, Refused) as error:
        log.warning("a preview is not published", extra={"job": attempt.job.job, "reason": str(error)})


def _request(attempt: Attempt, publisher: Publisher) -> dict[str, Any]:
    job, files = attempt.job, dict[str, list[str]]()
    for file in job.inputs:
        files.setdefault(file.role, []).append(str((attempt.spool / "in" / file.name).resolve()))
    for role, made in legs.handed_on(job):
        files.setdefault(role, []).append(str(publisher.path(made)))
    wanted = job.wanted
    params = {"asset_type": wanted.asset_type, **wanted.params, **legs.params(job)}
    asked = {"seed": wanted.seed, "text": wanted.text, "params": params, "output": legs.output(job)}
    return {"job": job.job, "files": files, **asked}


def _emptied(folder: Path) -> None:
    disk.remove(folder)
    folder.mkdir(parents=True)
