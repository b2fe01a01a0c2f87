"""Who runs next on one device. Pure policy: every method that needs the time is given it.

REALTIME keeps the newest job per key (a newer job takes the older one's place in the line, so a fast stream cannot push
others back) and drops what did not start by its deadline. BACKGROUND and GENERATION are bounded first-in-first-out
lanes that refuse when full. REALTIME goes first, but a job of a lower lane that has waited longer than `patience_s`
gets one turn, so that re-fusion and relocalisation happen under full load too.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

P = TypeVar("P")


class Lane(enum.Enum):
    REALTIME = "realtime"
    BACKGROUND = "background"
    GENERATION = "generation"


class LaneFull(Exception):
    """The lane is at its bound; try again later."""

    def __init__(self, lane: Lane, bound: int) -> None:
        super().__init__(f"the {lane.value} lane is full ({bound} jobs wait); try again later")
        self.lane = lane


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[P]):
    """One piece of work, known by identity."""

    lane: Lane
    key: str
    """REALTIME: at most one job per key waits (the key is the stream)."""
    work: P
    deadline: float | None = None
    """On the clock of `now`: dropped when it has not started by then."""


class Config(BaseModel):
    """Bounds of the lanes of one device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_realtime_keys: int = Field(default=256, gt=0)
    max_background: int = Field(default=64, gt=0)
    max_generation: int = Field(default=8, gt=0)
    patience_s: float = Field(default=5.0, gt=0)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[P]):
    job: Job[P]
    since: float


class Lanes(Generic[P]):
    """The waiting jobs of one device, which runs one job at a time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.superseded = 0
        self.expired = 0
        self._realtime: dict[str, Job[P]] = {}
        self._queues: dict[Lane, deque[_Waiting[P]]] = {Lane.BACKGROUND: deque(), Lane.GENERATION: deque()}
        self._bounds = {Lane.BACKGROUND: config.max_background, Lane.GENERATION: config.max_generation}
        self._running: Job[P] | None = None

    def submit(self, job: Job[P], now: float) -> Job[P] | None:
        """Add a job; the waiting one that it replaced, if any.

        Raises:
            LaneFull: the lane is at its bound.
        """
        if job.lane is not Lane.REALTIME:
            if len(self._queues[job.lane]) >= self._bounds[job.lane]:
                raise LaneFull(job.lane, self._bounds[job.lane])
            self._queues[job.lane].append(_Waiting(job, now))
            return None
        replaced = self._realtime.get(job.key)
        if replaced is None and len(self._realtime) >= self.config.max_realtime_keys:
            raise LaneFull(job.lane, self.config.max_realtime_keys)
        self._realtime[job.key] = job
        self.superseded += replaced is not None
        return replaced

    def next(self, now: float) -> Job[P] | None:
        """The job to start now, or None (nothing waits, or one is still running); call `done` when it ended."""
        if self._running is not None:
            return None
        self._running = self._patience_gone(now) or self._first_realtime(now) or self._first_queued(now)
        return self._running

    def take_along(self, fits: Callable[[Job[P]], bool], choose: Callable[[int], int], now: float) -> list[Job[P]]:
        """Take out more REALTIME jobs that fit the running one: they run with it and need no `done`.

        Args:
            choose: of so many that fit, how many.
        """
        fitting = [job for job in self._realtime.values() if not _is_late(job, now) and fits(job)]
        taken = fitting[: choose(len(fitting))]
        for job in taken:
            del self._realtime[job.key]
        return taken

    def done(self, job: Job[P]) -> None:
        """The running job ended, one way or another."""
        assert job is self._running, "only the running job can end"
        self._running = None

    def abandon(self, job: Job[P]) -> None:
        """A job came to nothing: it is not running any more, if it was."""
        if job is self._running:
            self._running = None

    def requeue(self, job: Job[P], now: float) -> bool:
        """Put the running job back at the head of its line (its worker died); False if a newer one made it obsolete."""
        self.done(job)
        return self.put_back(job, now)

    def put_back(self, job: Job[P], now: float) -> bool:
        """Put a job that was taken along back at the head of its line; False if a newer one made it obsolete."""
        if job.lane is not Lane.REALTIME:
            self._queues[job.lane].appendleft(_Waiting(job, now))
            return True
        if job.key in self._realtime:
            self.superseded += 1
            return False
        self._realtime = {job.key: job, **self._realtime}
        return True

    def expire(self, now: float) -> list[Job[P]]:
        """Remove and count the waiting jobs whose deadline has passed."""
        gone = [job for job in self._realtime.values() if _is_late(job, now)]
        for job in gone:
            del self._realtime[job.key]
        for lane, queue in self._queues.items():
            gone += [waiting.job for waiting in queue if _is_late(waiting.job, now)]
            self._queues[lane] = deque(waiting for waiting in queue if not _is_late(waiting.job, now))
        self.expired += len(gone)
        return gone

    def cancel(self, job: Job[P]) -> bool:
        """Take a waiting job out (nobody wants its result any more); False if it does not wait."""
        if self._realtime.get(job.key) is job:
            del self._realtime[job.key]
            return True
        for lane, queue in self._queues.items():
            rest = deque(waiting for waiting in queue if waiting.job is not job)
            if len(rest) < len(queue):
                self._queues[lane] = rest
                return True
        return False

    def drain(self, leaves: Callable[[Job[P]], bool] = lambda _: True) -> list[Job[P]]:
        """Take every waiting job out that leaves; by default all do (the device closes)."""
        jobs = [*self._realtime.values(), *(waiting.job for queue in self._queues.values() for waiting in queue)]
        leaving = [job for job in jobs if leaves(job)]
        for job in leaving:
            self.cancel(job)
        return leaving

    def depths(self) -> Counter[Lane]:
        """How many jobs wait in each lane."""
        return Counter(
            {Lane.REALTIME: len(self._realtime)} | {lane: len(queue) for lane, queue in self._queues.items()}
        )

    def _patience_gone(self, now: float) -> Job[P] | None:
        for queue in self._queues.values():
            if queue and now - queue[0].since > self.config.patience_s and not _is_late(queue[0].job, now):
                return queue.popleft().job
        return None

    def _first_realtime(self, now: float) -> Job[P] | None:
        job = next((job for job in self._realtime.values() if not _is_late(job, now)), None)
        return None if job is None else self._realtime.pop(job.key)

    def _first_queued(self, now: float) -> Job[P] | None:
        for queue in self._queues.values():
            for waiting in queue:
                if not _is_late(waiting.job, now):
                    queue.remove(waiting)
                    return waiting.job
        return None


def _is_late(job: Job[P], now: float) -> bool:
    return job.deadline is not None and now >= job.deadline
