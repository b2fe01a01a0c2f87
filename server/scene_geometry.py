"""The place index of a shared deployment: table `scene_geometry` in PostgreSQL with pgvector, seen by every server.

One thread owns the one connection, so what is asked sees what was added before. Nobody waits for the database longer
than `timeout_s`: while it is away or slow nothing is recognised, what is to be written waits (bounded: the oldest
keyframe goes first, never the wish to forget somebody) and is written when it is back.

Within a scene the search is exact: a scene holds thousands of keyframes, not millions, and an approximate index would
have to be filtered by scene and component, which is what such indexes are bad at.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mapping.changes import KeyframeId
from mapping.places.embedding import DIMENSIONS
from mapping.places.index import Entry, Match, checked
from streams.frame import SceneId, StreamId

_log = logging.getLogger(__name__)

_SCHEMA: tuple[LiteralString, ...] = (
    "create extension if not exists vector",
    """create table if not exists scene_geometry (
        scene text not null,
        keyframe text not null,
        stream text not null,
        component integer not null,
        embedding vector not null,
        cameras jsonb not null,
        timestamp_ns bigint not null,
        number bigint generated always as identity,
        primary key (scene, keyframe))""",
    "create index if not exists scene_geometry_age on scene_geometry (scene, number)",
)
_ADD: LiteralString = """
    insert into scene_geometry (scene, keyframe, stream, component, embedding, cameras, timestamp_ns)
    values (%s, %s, %s, %s, %s::vector, %s::jsonb, %s)
    on conflict (scene, keyframe) do update set
        stream = excluded.stream, component = excluded.component, embedding = excluded.embedding,
        cameras = excluded.cameras, timestamp_ns = excluded.timestamp_ns"""
_BOUND: LiteralString = """
    delete from scene_geometry where scene = %s and number <= (
        select number from scene_geometry where scene = %s order by number desc offset %s limit 1)"""
_NEAREST: LiteralString = """
    select keyframe, stream, component, -(embedding <#> %s::vector) from scene_geometry
    where scene = %s and (stream, component) is distinct from (%s, %s)
    order by embedding <#> %s::vector, number limit %s"""
_REMOVE: LiteralString = "delete from scene_geometry where scene = %s and stream = %s"
_DISCARD: LiteralString = "delete from scene_geometry where scene = %s and keyframe = any(%s)"
_COUNT: LiteralString = "select count(*) from scene_geometry where scene = %s"


class Config(BaseModel):
    """Where the database is, and how long to wait for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dsn: SecretStr
    """`postgresql://user:password@host/database`; the user may create the table, or it is there."""
    timeout_s: float = Field(default=0.25, gt=0)
    """How long a question may take; then nothing was found."""
    max_entries: int = Field(default=20_000, ge=1)
    """Keyframes kept of one scene; the oldest goes."""
    backlog: int = Field(default=512, ge=1)
    """Keyframes that wait for a database that is away."""
    retry_s: float = Field(default=2.0, gt=0)
    """Time between two attempts to reach it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """Statements of one transaction; `answer` gets the rows of the last one."""

    statements: tuple[tuple[LiteralString, tuple[Any, ...]], ...]
    answer: Future[list[Any]] | None = None
    adds: StreamId | None = None
    """Whose keyframe it adds: may be dropped when too much waits."""


class PostgresIndex:
    """One scene's part of the table. Fulfils `mapping.places.index.PlaceIndex`."""

    def __init__(self, scene: SceneId, config: Config) -> None:
        """Connects in its own thread; raises nothing where the database is away."""
        self._scene, self._config = scene, config
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._is_closing = self._has_failed = False
        self._is_up = threading.Event()
        self.dropped = 0
        """Keyframes that were not written because too many waited."""
        self._thread = threading.Thread(target=self._work, name=f"scene_geometry-{scene}", daemon=True)
        self._thread.start()

    @property
    def is_up(self) -> bool:
        """Whether the database answered last time."""
        return self._is_up.is_set()

    def wait_until_up(self, timeout_s: float) -> bool:
        """For those who rather wait at the start than recognise nothing."""
        return self._is_up.wait(timeout_s)

    def add(self, entry: Entry) -> None:
        c = self._config
        cameras = json.dumps(
            {
                "component_from_camera": entry.component_from_camera.tolist(),
                "intrinsics": asdict(entry.intrinsics),
            }
        )
        row = (
            self._scene, entry.keyframe, entry.stream, entry.component, _literal(checked(entry.embedding)), cameras,
            entry.timestamp_ns,
        )  # fmt: skip
        self._leave(_Job(((_ADD, row), (_BOUND, (self._scene, self._scene, c.max_entries))), adds=entry.stream))

    def nearest(
        self, embedding: NDArray[np.float32], k: int, *, without: tuple[StreamId, int] | None = None
    ) -> list[Match]:
        """As the contract says; nothing while the database is away or slow."""
        vector, (stream, component) = _literal(checked(embedding)), without or (None, None)
        rows = self._ask(_NEAREST, (vector, self._scene, stream, component, vector, k))
        return [Match(KeyframeId(row[0]), StreamId(row[1]), row[2], float(row[3])) for row in rows]

    def remove(self, stream: StreamId) -> None:
        with self._changed:
            self._jobs = deque(job for job in self._jobs if job.adds != stream)
        self._leave(_Job(((_REMOVE, (self._scene, stream)),)))

    def discard(self, keyframes: Iterable[KeyframeId]) -> None:
        self._leave(_Job(((_DISCARD, (self._scene, list(keyframes))),)))

    def __len__(self) -> int:
        """Entries of this scene; 0 while the database is away."""
        rows = self._ask(_COUNT, (self._scene,))
        return int(rows[0][0]) if rows else 0

    def close(self) -> None:
        """Write what waits, if the database takes it within its time, and let go of it."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(4 * self._config.timeout_s)

    # -- between the caller's thread and the database's ---------------------------------------------------------------

    def _ask(self, statement: LiteralString, parameters: tuple[Any, ...]) -> list[Any]:
        if not self.is_up:
            return []
        job = _Job(((statement, parameters),), Future())
        self._leave(job)
        assert job.answer is not None
        try:
            return job.answer.result(self._config.timeout_s)
        except (TimeoutError, psycopg.Error):
            job.answer.cancel()
            return []

    def _leave(self, job: _Job) -> None:
        with self._changed:
            waiting = [other for other in self._jobs if other.adds is not None]
            if job.adds is not None and len(waiting) >= self._config.backlog:
                self._jobs.remove(waiting[0])
                self.dropped += 1
            self._jobs.append(job)
            self._changed.notify()

    def _work(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while (job := self._next()) is not None or not self._is_closing:
            try:
                connection = connection or self._connected()
                if job is not None:
                    self._do(connection, job)
            except psycopg.OperationalError as error:  # it is away, or too slow
                _close(connection)
                connection = None
                self._put_back(job, error)
                if self._is_closing:
                    return
            except psycopg.Error as error:  # it does not like this one
                _log.exception("scene_geometry", extra={"scene": self._scene})
                if job is not None and job.answer is not None and not job.answer.done():
                    job.answer.set_exception(error)
        _close(connection)

    def _next(self) -> _Job | None:
        """The next job; None when the index is being closed, or to try the connection."""
        with self._changed:
            if self._has_failed:
                self._changed.wait_for(lambda: self._is_closing, self._config.retry_s)
            elif self.is_up:
                self._changed.wait_for(lambda: self._is_closing or self._jobs)
            return self._jobs.popleft() if self._jobs else None

    def _connected(self) -> psycopg.Connection[Any]:
        c = self._config
        limit_ms = int(1000 * c.timeout_s)
        connection = psycopg.connect(
            c.dsn.get_secret_value(), connect_timeout=max(2, round(c.timeout_s)), autocommit=True,
            options=f"-c statement_timeout={20 * limit_ms}", tcp_user_timeout=20 * limit_ms,
        )  # fmt: skip
        with connection.transaction():
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("select set_config('statement_timeout', %s, false)", (str(4 * limit_ms),))
        self._has_failed = False
        self._is_up.set()
        return connection

    def _do(self, connection: psycopg.Connection[Any], job: _Job) -> None:
        if job.answer is not None and not job.answer.set_running_or_notify_cancel():
            return
        with connection.transaction():
            for statement, parameters in job.statements:
                cursor = connection.execute(statement, parameters)
        if job.answer is not None:
            job.answer.set_result(cursor.fetchall())

    def _put_back(self, job: _Job | None, error: Exception) -> None:
        """What was to be written is tried again later; who asked has had his answer."""
        if self.is_up or not self._has_failed:
            _log.warning("scene_geometry is away: %s", error, extra={"scene": self._scene})
        self._has_failed = True
        self._is_up.clear()
        if job is None:
            return
        if job.answer is None:
            with self._changed:
                self._jobs.appendleft(job)
        elif not job.answer.done():
            job.answer.set_exception(error)


def _literal(embedding: NDArray[np.float32]) -> str:
    """As pgvector reads it."""
    return "[" + ",".join(f"{value:.6g}" for value in embedding.tolist()) + "]"


def _close(connection: psycopg.Connection[Any] | None) -> None:
    if connection is not None:
        connection.close()


assert DIMENSIONS <= 16_000, "more than pgvector takes"
