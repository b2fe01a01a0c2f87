"""The books of all jobs: one SQLite file (WAL), each method one transaction that is on the disk when it returns.

A change of a job, the event that tells of it, the webhooks it owes and what the cache learns of it are one transaction;
so a kill at any point loses and doubles nothing. Events are numbered without gaps. One thread uses it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from server.api.contract import Busy, Conflict, NotFound
from server.assets.blobs import StorageFull
from server.assets.values import NewVersion
from server.jobs import schema
from server.jobs.events import Delivery, JobEvent, event_of, told_of
from server.jobs.fingerprint import Key
from server.jobs.values import TERMINAL, Job

FEW = 4
FRUITLESS = TERMINAL - {"succeeded"}
PRIORITY_STEP_NS = 120 * 10**9
"""One step of priority goes before whoever came so much earlier; so nothing waits for ever."""


class Store:
    """The file. `now_ns` is Unix ns."""

    def __init__(self, path: Path, on_event: Callable[[JobEvent], None]) -> None:
        """`on_event` is told what was committed, in order.

        Raises:
            sqlite3.DatabaseError: the file is no database, or of a newer version.
        """
        self._db = schema.connect(path)
        self._on_event = on_event
        self._pending: list[JobEvent] = []

    def close(self) -> None:
        self._db.close()

    # -- changing ------------------------------------------------------------------------------------------------------

    def submit(self, job: Job, key: Key | None, max_queued: int, retry_after_s: float) -> tuple[Job, bool]:
        """Take a job, or find the one that this key named before; whether it is new. Raises what `admit` does."""
        with self._change():
            if (known := self.admit(key, max_queued, retry_after_s)) is not None:
                return known, False
            self._write(job)
            if key is not None:
                self._db.execute("INSERT INTO keys VALUES (?, ?, ?)", (key.name, key.digest, job.job))
        return job, True

    def change(self, job: str, step: Callable[[Job], Job], learn: str | None = None) -> Job:
        """Take one step of `machine` with a job; it may raise, and then nothing happened.

        Args:
            learn: name of what was made (`fingerprint.of_result`), for the cache.

        Raises:
            NotFound: there is no such job.
        """
        with self._change():
            before = self.get(job)
            after = step(before)
            if after is not before:
                self._write(after)
            if learn is not None and after.made is not None:
                body = after.made.model_dump_json()
                self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (learn, job, body))
        return after

    def route(self, provider_by_job: Mapping[str, str]) -> None:
        """Remember whom waiting jobs go to, until they change; no news to anybody."""
        with self._change():
            self._db.executemany(
                "UPDATE jobs SET route = ? WHERE job = ? AND state = 'queued'",
                [(provider, job) for job, provider in provider_by_job.items()],
            )

    def forget_routes(self) -> None:
        """There are other providers or devices now."""
        with self._change():
            self._db.execute("UPDATE jobs SET route = NULL WHERE route IS NOT NULL")

    def withdrawn(self, job: Job) -> None:
        """Nothing of a job is shown any more; unless it was tried anew meanwhile."""
        with self._change():
            update = "UPDATE jobs SET to_withdraw = 0 WHERE job = ? AND ended_ns = ?"
            self._db.execute(update, (job.job, job.ended_ns))

    def forget_result(self, digest: str) -> None:
        """What the cache has under this name is not there any more."""
        with self._change():
            self._db.execute("DELETE FROM results WHERE digest = ?", (digest,))

    def owe_progress(self, job: str, told: bytes, now_ns: int) -> bool:
        """How far a job is, for its webhook if that wants to know; what still waits to be told of it before is dropped.

        Returns:
            Whether somebody is to be told.
        """
        hook = self.get(job).wanted.webhook
        if hook is None or "progress" not in hook.events:
            return False
        with self._change():
            self._db.execute("DELETE FROM deliveries WHERE job = ? AND event = 'progress'", (job,))
            insert = "INSERT INTO deliveries (job, event, body, due_ns) VALUES (?, 'progress', ?, ?)"
            self._db.execute(insert, (job, told, now_ns))
        return True

    def delivered(self, delivery: int, retry_at_ns: int | None) -> None:
        """Somebody was told; or is to be told again later."""
        with self._change():
            if retry_at_ns is None:
                self._db.execute("DELETE FROM deliveries WHERE id = ?", (delivery,))
            else:
                update = "UPDATE deliveries SET tries = tries + 1, due_ns = ? WHERE id = ?"
                self._db.execute(update, (retry_at_ns, delivery))

    def learn_peak(self, provider: str, device: str, gb: float, keep: int, now_ns: int) -> None:
        """A run needed so much memory."""
        with self._change():
            self._db.execute("INSERT INTO peaks VALUES (?, ?, ?, ?)", (provider, device, gb, now_ns))
            self._db.execute(
                "DELETE FROM peaks WHERE provider = ?1 AND device = ?2 AND at_ns <= (SELECT at_ns FROM peaks"
                " WHERE provider = ?1 AND device = ?2 ORDER BY at_ns DESC LIMIT 1 OFFSET ?3)",
                (provider, device, keep),
            )

    def prune(self, before_ns: int) -> list[str]:
        """Forget jobs that ended before then; which ones those were."""
        with self._change():
            select = "SELECT job FROM jobs WHERE ended_ns < ? LIMIT 1000"
            gone = [row[0] for row in self._db.execute(select, (before_ns,))]
            for table in ("jobs", "keys", "events", "deliveries", "results"):
                self._db.executemany(f"DELETE FROM {table} WHERE job = ?", [(job,) for job in gone])
        return gone

    # -- reading -------------------------------------------------------------------------------------------------------

    def get(self, job: str) -> Job:
        """Raises: NotFound."""
        if (row := self._one("SELECT body FROM jobs WHERE job = ?", job)) is None:
            raise NotFound(f"there is no job {job[:64]!r}")
        return Job.model_validate_json(row[0])

    def named(self, key: Key | None) -> Job | None:
        """The job that a key named before.

        Raises:
            Conflict: it named another request.
        """
        known = None if key is None else self._one("SELECT digest, job FROM keys WHERE key = ?", key.name)
        if known is None or key is None:
            return None
        if known[0] != key.digest:
            raise Conflict("a request with this Idempotency-Key asked for something else; take a new key")
        return self.get(known[1])

    def admit(self, key: Key | None, max_queued: int, retry_after_s: float) -> Job | None:
        """The job that a key named before; None where a new one may be taken.

        Raises:
            Conflict: the key named another request.
            TooManyJobs: too many wait.
        """
        known = self.named(key)
        if known is None and self.num_queued() >= max_queued:
            raise TooManyJobs(f"{max_queued} jobs are waiting, which is the limit", retry_after_s=retry_after_s)
        return known

    def is_known(self, job: str) -> bool:
        return self._one("SELECT 1 FROM jobs WHERE job = ?", job) is not None

    def ended_before(self, before_ns: int) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT job FROM jobs WHERE ended_ns < ?", (before_ns,))]

    def in_state(self, *states: str) -> list[Job]:
        select = f"SELECT body FROM jobs WHERE state IN ({', '.join('?' * len(states))})"
        return [Job.model_validate_json(row[0]) for row in self._db.execute(select, states)]

    def page(self, scope: str | None, state: str | None, after: str, limit: int) -> list[Job]:
        """Jobs by name; of one scene, or all."""
        select = (
            "SELECT body FROM jobs WHERE job > ? AND (? IS NULL OR scene = ?) AND (? IS NULL OR state = ?)"
            " ORDER BY job LIMIT ?"
        )
        rows = self._db.execute(select, (after, scope, scope, state, state, limit))
        return [Job.model_validate_json(row[0]) for row in rows]

    def unrouted(self, now_ns: int, limit: int) -> list[Job]:
        """Jobs that may begin and that no provider was found for yet, most urgent first."""
        select = (
            "SELECT body FROM jobs WHERE state = 'queued' AND route IS NULL AND not_before_ns <= ?"
            " ORDER BY rank, job LIMIT ?"
        )
        return [Job.model_validate_json(row[0]) for row in self._db.execute(select, (now_ns, limit))]

    def next_for(self, providers: Iterable[str], now_ns: int) -> Job | None:
        """The most urgent job that may begin and goes to one of these."""
        select = (
            "SELECT rank, job, body FROM jobs WHERE state = 'queued' AND route = ? AND not_before_ns <= ?"
            " ORDER BY rank, job LIMIT 1"
        )
        rows = (self._db.execute(select, (provider, now_ns)).fetchone() for provider in providers)
        first = min((row for row in rows if row is not None), default=None)
        return None if first is None else Job.model_validate_json(first[2])

    def overdue(self, now_ns: int, limit: int) -> list[str]:
        """Waiting jobs whose deadline has passed."""
        select = (
            "SELECT job FROM jobs INDEXED BY jobs_deadline"
            " WHERE state = 'queued' AND deadline_ns IS NOT NULL AND deadline_ns <= ? LIMIT ?"
        )
        return [row[0] for row in self._db.execute(select, (now_ns, limit))]

    def next_due_ns(self, now_ns: int) -> int | None:
        """When a waiting job may begin, or is too late, for time reasons alone."""
        later = (
            "SELECT min(not_before_ns) FROM jobs INDEXED BY jobs_later"
            " WHERE state = 'queued' AND not_before_ns > 0 AND not_before_ns > ?"
        )
        soonest = [self._db.execute(later, (now_ns,)).fetchone()[0]]
        deadline = (
            "SELECT min(deadline_ns) FROM jobs INDEXED BY jobs_deadline"
            " WHERE state = 'queued' AND deadline_ns IS NOT NULL"
        )
        soonest.append(self._db.execute(deadline).fetchone()[0])
        return min((at for at in soonest if at is not None), default=None)

    def num_queued(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0])

    def positions(self, jobs: Collection[str]) -> dict[str, int]:
        """How many waiting jobs go before each of these that waits; of many, by one walk along the queue."""
        if len(jobs) <= FEW:
            before = (
                "SELECT count(*) FROM jobs INDEXED BY jobs_queued"
                " WHERE state = 'queued' AND (rank, job) < (SELECT rank, job FROM jobs WHERE job = ?)"
            )
            return {job: int(self._db.execute(before, (job,)).fetchone()[0]) for job in jobs}
        queue = self._db.execute(
            "SELECT job FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' ORDER BY rank, job"
        )
        wanted = set(jobs)
        return {job: number for number, (job,) in enumerate(queue) if job in wanted}

    def result(self, digest: str) -> tuple[str, NewVersion] | None:
        """What was made of an identical request, and by which job."""
        row = self._one("SELECT job, body FROM results WHERE digest = ?", digest)
        return None if row is None else (row[0], NewVersion.model_validate_json(row[1]))

    def due_deliveries(self, now_ns: int, limit: int) -> list[Delivery]:
        select = "SELECT id, job, event, body, tries FROM deliveries WHERE due_ns <= ? ORDER BY due_ns LIMIT ?"
        return [Delivery(*row) for row in self._db.execute(select, (now_ns, limit))]

    def next_delivery_ns(self, since_ns: int = 0) -> int | None:
        """When somebody is to be told, after that time."""
        row = self._db.execute("SELECT min(due_ns) FROM deliveries WHERE due_ns > ?", (since_ns,)).fetchone()
        return None if row[0] is None else int(row[0])

    def peaks_gb(self, provider: str, device: str, since_ns: int) -> list[float]:
        """What runs needed since then, oldest first."""
        select = "SELECT gb FROM peaks WHERE provider = ? AND device = ? AND at_ns >= ? ORDER BY at_ns"
        return [row[0] for row in self._db.execute(select, (provider, device, since_ns))]

    def events_of(self, job: str, since: int) -> list[JobEvent]:
        """A job's changes after `since`, in order."""
        select = "SELECT seq, job, state, body FROM events WHERE job = ? AND seq > ? ORDER BY seq"
        return [event_of(*row) for row in self._db.execute(select, (job, since))]

    def to_withdraw(self) -> list[Job]:
        """Jobs that ended without a result and of which something may still be shown."""
        select = "SELECT body FROM jobs INDEXED BY jobs_to_withdraw WHERE to_withdraw ORDER BY ended_ns"
        return [Job.model_validate_json(row[0]) for row in self._db.execute(select)]

    # -----------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Everything inside happens, or nothing does."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            self._pending.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in _NO_ROOM:
                raise StorageFull("the disk is full; nothing was changed") from error
            raise
        pending, self._pending = self._pending, []
        for event in pending:
            self._on_event(event)

    def _write(self, job: Job) -> None:
        """The job, its event, and the webhooks it owes."""
        body = job.model_dump_json()
        values = (job.state, _rank(job), job.not_before_ns, job.deadline_ns, job.ended_ns, body, job.state in FRUITLESS)
        self._db.execute(
            "INSERT INTO jobs (job, scene, state, rank, not_before_ns, deadline_ns, ended_ns, body, to_withdraw)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job) DO UPDATE SET state = excluded.state,"
            " rank = excluded.rank, not_before_ns = excluded.not_before_ns, deadline_ns = excluded.deadline_ns,"
            " ended_ns = excluded.ended_ns, body = excluded.body, to_withdraw = excluded.to_withdraw, route = NULL",
            (job.job, job.wanted.scene, *values),
        )
        event = self._owed(job)
        told = told_of(job)
        insert = "INSERT INTO events (job, state, at_ns, body) VALUES (?, ?, ?, ?)"
        seq = self._db.execute(insert, (job.job, job.state, job.changed_ns, told)).lastrowid
        assert seq is not None
        self._pending.append(event_of(seq, job.job, job.state, told))
        if event is not None:
            insert = "INSERT INTO deliveries (job, event, body, due_ns) VALUES (?, ?, ?, ?)"
            self._db.execute(insert, (job.job, event, told, job.changed_ns))

    def _owed(self, job: Job) -> str | None:
        """What its webhook is to be told: that it ended, or that it runs for the first time since it was asked for."""
        if job.wanted.webhook is None:
            return None
        event = "completed" if job.state in TERMINAL else "started" if job.state == "running" else None
        if event == "started":
            states = ("running", *TERMINAL)
            select = f"SELECT state FROM events WHERE job = ? AND state IN ({', '.join('?' * len(states))})"
            before = self._db.execute(f"{select} ORDER BY seq DESC LIMIT 1", (job.job, *states)).fetchone()
            if before is not None and before[0] == "running":
                return None
        return event if event in job.wanted.webhook.events else None

    def _one(self, select: str, value: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(select, (value,)).fetchone()
        return row


class TooManyJobs(Busy):
    """Come back later."""

    status = 429


_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _rank(job: Job) -> int:
    return job.created_ns - job.wanted.priority * PRIORITY_STEP_NS
