"""The books of all jobs: one SQLite file (WAL), each method one transaction that is on the disk when it returns.

A change of a job, the event that tells of it, the webhooks it owes and what the cache learns of it are one transaction;
so a kill at any point loses and doubles nothing. Events are numbered without gaps. One thread uses it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from server.api.contract import Busy, Conflict, NotFound
from server.assets.blobs import StorageFull
from server.assets.values import NewVersion
from server.jobs import fingerprint
from server.jobs.values import TERMINAL, Job

SCHEMA_VERSION = 1
PRIORITY_STEP_NS = 120 * 10**9
"""One step of priority goes before whoever came so much earlier; so nothing waits for ever."""
_SCHEMA = """
CREATE TABLE jobs (
  job TEXT PRIMARY KEY, state TEXT NOT NULL, scene TEXT, rank INTEGER NOT NULL, not_before_ns INTEGER NOT NULL,
  deadline_ns INTEGER, ended_ns INTEGER, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX jobs_queued ON jobs (rank, job) WHERE state = 'queued';
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_deadline ON jobs (deadline_ns) WHERE state = 'queued' AND deadline_ns IS NOT NULL;
CREATE TABLE keys (key TEXT PRIMARY KEY, digest TEXT NOT NULL, job TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE results (digest TEXT PRIMARY KEY, job TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, event TEXT NOT NULL, body BLOB NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, due_ns INTEGER NOT NULL);
CREATE INDEX deliveries_due ON deliveries (due_ns);
CREATE TABLE peaks (provider TEXT NOT NULL, device TEXT NOT NULL, gb REAL NOT NULL, at_ns INTEGER NOT NULL);
CREATE INDEX peaks_of ON peaks (provider, device, at_ns);
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, state TEXT NOT NULL, at_ns INTEGER NOT NULL,
  body BLOB NOT NULL);
CREATE INDEX events_of ON events (job, seq);
"""


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


class Store:
    """The file. `now_ns` is Unix ns."""

    def __init__(self, path: Path, on_event: Callable[[JobEvent], None]) -> None:
        """`on_event` is told what was committed, in order.

        Raises:
            sqlite3.DatabaseError: the file is no database, or of a newer version.
        """
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._on_event = on_event
        self._pending: list[JobEvent] = []
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"the jobs are of version {version}; this server reads {SCHEMA_VERSION}")
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")

    def close(self) -> None:
        self._db.close()

    # -- changing ------------------------------------------------------------------------------------------------------

    def submit(self, job: Job, key: str | None, max_queued: int, retry_after_s: float) -> tuple[Job, bool]:
        """Take a job, or find the one that this key named before; whether it is new.

        Raises:
            Conflict: the key named another request.
            Busy: too many wait.
        """
        digest = fingerprint.of_request(job.wanted, job.inputs)
        with self._change():
            if key is not None and (known := self._one("SELECT digest, job FROM keys WHERE key = ?", key)) is not None:
                if known[0] != digest:
                    raise Conflict("a request with this Idempotency-Key asked for something else; take a new key")
                return self.get(known[1]), False
            if self.num_queued() >= max_queued:
                raise TooManyJobs(f"{max_queued} jobs are waiting, which is the limit", retry_after_s=retry_after_s)
            self._write(job)
            if key is not None:
                self._db.execute("INSERT INTO keys VALUES (?, ?, ?)", (key, digest, job.job))
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

    def forget_result(self, digest: str) -> None:
        """What the cache has under this name is not there any more."""
        with self._change():
            self._db.execute("DELETE FROM results WHERE digest = ?", (digest,))

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
            gone = [
                row[0] for row in self._db.execute("SELECT job FROM jobs WHERE ended_ns < ? LIMIT 1000", (before_ns,))
            ]
            for table in ("jobs", "keys", "events", "deliveries", "results"):
                self._db.executemany(f"DELETE FROM {table} WHERE job = ?", [(job,) for job in gone])
        return gone

    # -- reading -------------------------------------------------------------------------------------------------------

    def get(self, job: str) -> Job:
        """Raises: NotFound."""
        if (row := self._one("SELECT body FROM jobs WHERE job = ?", job)) is None:
            raise NotFound(f"there is no job {job[:64]!r}")
        return Job.model_validate_json(row[0])

    def is_known(self, job: str) -> bool:
        return self._one("SELECT 1 FROM jobs WHERE job = ?", job) is not None

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

    def queued(self, now_ns: int, limit: int) -> list[Job]:
        """Jobs that may begin, most urgent first."""
        select = "SELECT body FROM jobs WHERE state = 'queued' AND not_before_ns <= ? ORDER BY rank, job LIMIT ?"
        return [Job.model_validate_json(row[0]) for row in self._db.execute(select, (now_ns, limit))]

    def overdue(self, now_ns: int, limit: int) -> list[str]:
        """Waiting jobs whose deadline has passed."""
        select = "SELECT job FROM jobs WHERE state = 'queued' AND deadline_ns <= ? LIMIT ?"
        return [row[0] for row in self._db.execute(select, (now_ns, limit))]

    def next_due_ns(self, now_ns: int) -> int | None:
        """When a waiting job may begin, or is too late, for time reasons alone."""
        later = "SELECT min(not_before_ns) FROM jobs WHERE state = 'queued' AND not_before_ns > ?"
        soonest = [self._db.execute(later, (now_ns,)).fetchone()[0]]
        deadline = "SELECT min(deadline_ns) FROM jobs WHERE state = 'queued' AND deadline_ns IS NOT NULL"
        soonest.append(self._db.execute(deadline).fetchone()[0])
        return min((at for at in soonest if at is not None), default=None)

    def num_queued(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0])

    def position(self, job: Job) -> int:
        """How many waiting jobs go first."""
        select = "SELECT count(*) FROM jobs WHERE state = 'queued' AND (rank, job) < (?, ?)"
        return int(self._db.execute(select, (_rank(job), job.job)).fetchone()[0])

    def result(self, digest: str) -> tuple[str, NewVersion] | None:
        """What was made of an identical request, and by which job."""
        row = self._one("SELECT job, body FROM results WHERE digest = ?", digest)
        return None if row is None else (row[0], NewVersion.model_validate_json(row[1]))

    def due_deliveries(self, now_ns: int, limit: int) -> list[Delivery]:
        select = "SELECT id, job, event, body, tries FROM deliveries WHERE due_ns <= ? ORDER BY due_ns LIMIT ?"
        return [Delivery(*row) for row in self._db.execute(select, (now_ns, limit))]

    def next_delivery_ns(self) -> int | None:
        row = self._db.execute("SELECT min(due_ns) FROM deliveries").fetchone()
        return None if row[0] is None else int(row[0])

    def peaks_gb(self, provider: str, device: str) -> list[float]:
        """What runs needed, oldest first."""
        select = "SELECT gb FROM peaks WHERE provider = ? AND device = ? ORDER BY at_ns"
        return [row[0] for row in self._db.execute(select, (provider, device))]

    def events_of(self, job: str, since: int) -> list[JobEvent]:
        """A job's changes after `since`, in order."""
        select = "SELECT seq, job, state, body FROM events WHERE job = ? AND seq > ? ORDER BY seq"
        return [_event(*row) for row in self._db.execute(select, (job, since))]

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
        values = (job.state, _rank(job), job.not_before_ns, job.deadline_ns, job.ended_ns, body)
        self._db.execute(
            "INSERT INTO jobs (job, scene, state, rank, not_before_ns, deadline_ns, ended_ns, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job) DO UPDATE SET state = excluded.state,"
            " rank = excluded.rank, not_before_ns = excluded.not_before_ns, deadline_ns = excluded.deadline_ns,"
            " ended_ns = excluded.ended_ns, body = excluded.body",
            (job.job, job.wanted.scene, *values),
        )
        told = msgspec.json.encode(_told(job))
        insert = "INSERT INTO events (job, state, at_ns, body) VALUES (?, ?, ?, ?)"
        seq = self._db.execute(insert, (job.job, job.state, job.changed_ns, told)).lastrowid
        assert seq is not None
        self._pending.append(_event(seq, job.job, job.state, told))
        event = "completed" if job.state in TERMINAL else "started" if job.state == "running" else None
        if job.wanted.webhook is not None and event in job.wanted.webhook.events:
            insert = "INSERT INTO deliveries (job, event, body, due_ns) VALUES (?, ?, ?, ?)"
            self._db.execute(insert, (job.job, event, told, job.changed_ns))

    def _one(self, select: str, value: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(select, (value,)).fetchone()
        return row


class TooManyJobs(Busy):
    """Come back later."""

    status = 429


_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _rank(job: Job) -> int:
    return job.created_ns - job.wanted.priority * PRIORITY_STEP_NS


def _told(job: Job) -> dict[str, Any]:
    """What an event says."""
    told: dict[str, Any] = {"job": job.job, "state": job.state, "attempt": job.attempt, "provider": job.provider}
    if job.is_cancelling:
        told["cancelling"] = True
    if job.failure is not None:
        told["failure"] = job.failure.model_dump()
    if job.result is not None:
        told["result"] = job.result.model_dump()
    return told | {"at_ms": job.changed_ns // 10**6}


def _event(seq: int, job: str, state: str, body: bytes) -> JobEvent:
    return JobEvent(seq, job, state, b'{"seq":%d,"type":"job.changed",%s' % (seq, body[1:]))
