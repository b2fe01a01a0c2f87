"""One SQLite file, and changes to it: whole or not at all, with the events that tell of them in the same transaction.

Events are numbered without gaps, since a number is given out only by the transaction that commits. A killed process
loses nothing. Events are told at the commit, and a request is answered a moment later, when it is on the disk: what was
answered survives a power cut, too. Clients may then have seen events that did not; so after one, numbers begin a new
epoch. One thread uses it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mapping import disk
from server.api.contract import Refused
from server.assets.blobs import StorageFull

SCHEMA_VERSION = 1
TRIM_EVERY = 1024
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE assets (
  asset TEXT PRIMARY KEY, type TEXT NOT NULL, scene TEXT, body TEXT NOT NULL, latest INTEGER NOT NULL, alias_of TEXT,
  tombstone TEXT) WITHOUT ROWID;
CREATE TABLE versions (
  asset TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (asset, version)) WITHOUT ROWID;
CREATE TABLE requests (key TEXT PRIMARY KEY, digest TEXT NOT NULL, asset TEXT NOT NULL, version INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE TABLE files (
  sha256 TEXT NOT NULL, asset TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (sha256, asset, version)) WITHOUT ROWID;
CREATE TABLE slots (slot TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE placements (
  kind TEXT NOT NULL, id TEXT NOT NULL, scene TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE moves (
  scene TEXT NOT NULL, since INTEGER NOT NULL, epoch INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (scene, since)) WITHOUT ROWID;
CREATE TABLE maps (scene TEXT PRIMARY KEY, lineage TEXT NOT NULL, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, key TEXT NOT NULL, scene TEXT, body BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One thing that happened."""

    seq: int
    type: str
    key: str
    """A newer event of the same key makes an older one unnecessary."""
    scene: str | None
    """Who may see it; None = everybody."""
    text: bytes
    """JSON, as it goes to clients."""


@dataclass(slots=True)
class Change:
    """A transaction in progress."""

    connection: sqlite3.Connection
    now_ns: int
    events: list[Event] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    """Done once it is committed: what memory holds follows what the disk holds."""

    def emit(self, type: str, key: str, scene: str | None, body: dict[str, Any]) -> None:
        """Tell of this change; `body` is plain JSON."""
        packed = msgspec.json.encode(body)
        cursor = self.connection.execute(
            "INSERT INTO events (type, key, scene, body) VALUES (?, ?, ?, ?)", (type, key, scene, packed)
        )
        assert cursor.lastrowid is not None
        self.events.append(_event(cursor.lastrowid, type, key, scene, packed))


class Database:
    """The file and its log of events."""

    def __init__(self, path: Path, keep_events: int, on_events: Callable[[list[Event]], None]) -> None:
        """`on_events` is told what was committed, in order.

        Raises:
            sqlite3.DatabaseError: the file is no database, or of a newer version.
        """
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._keep_events, self._on_events = keep_events, on_events
        self._in_change = False
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")  # `change` syncs, after it has told of the events
        self._create()
        self._begin_epoch()
        self._log = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self.epoch = str(self._one("SELECT value FROM meta WHERE key = 'epoch'"))
        """Of this store: sequence numbers of another mean nothing here."""
        self.seq = int(self._one("SELECT seq FROM sqlite_sequence WHERE name = 'events'") or 0)
        """Of the newest event."""

    @contextlib.contextmanager
    def change(self, now_ns: int) -> Iterator[Change]:
        """Everything inside happens, or nothing does.

        Raises:
            StorageFull: the disk is full; nothing happened.
        """
        assert not self._in_change, "changes do not nest"
        self._in_change = True
        change, written = Change(self.connection, now_ns), self.connection.total_changes
        try:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                yield change
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            finally:
                self._in_change = False
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
                raise StorageFull("the disk is full; nothing was changed") from error
            raise
        for done in change.after:
            done()
        if change.events:
            before, self.seq = self.seq, change.events[-1].seq
            self._on_events(change.events)
            if self.seq // TRIM_EVERY != before // TRIM_EVERY:
                self._trim()
        if self.connection.total_changes != written:
            disk.sync_file(self._log)

    def events_since(self, seq: int, limit: int) -> list[Event] | None:
        """What happened after `seq`, oldest first; None when that is not all kept any more, or has not happened."""
        if seq > self.seq or seq < 0:
            return None
        select = "SELECT seq, type, key, scene, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        found = [_event(*row) for row in self.connection.execute(select, (seq, limit))]
        if seq < self.seq and (not found or found[0].seq != seq + 1):
            return None
        return found

    def close(self) -> None:
        """Bring everything to the disk, and note that there is nothing more."""
        with contextlib.suppress(sqlite3.OperationalError):
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('boot', '')")
        disk.sync_file(self._log)
        os.close(self._log)
        self.connection.close()

    def _begin_epoch(self) -> None:
        """Go on with the present epoch, unless the machine went down while the store was open."""
        now, before = _boot(), self._one("SELECT value FROM meta WHERE key = 'boot'")
        values = ({} if before in (None, "", now) else {"epoch": secrets.token_hex(8)}) | {"boot": now}
        self.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    def _create(self) -> None:
        version = self._one("PRAGMA user_version")
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"the asset store is of version {version}; this server reads {SCHEMA_VERSION}")
        if version == 0:
            epoch = f"INSERT INTO meta VALUES ('epoch', '{secrets.token_hex(8)}');"
            self.connection.executescript(
                f"BEGIN IMMEDIATE;{_SCHEMA}{epoch}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
            )

    def _trim(self) -> None:
        with contextlib.suppress(sqlite3.OperationalError):  # a full disk keeps a few more
            self.connection.execute("DELETE FROM events WHERE seq <= ?", (self.seq - self._keep_events,))

    def _one(self, select: str) -> Any:
        row = self.connection.execute(select).fetchone()
        return None if row is None else row[0]


def _boot() -> str:
    """Names the time since the machine started; where that cannot be told, every start of ours is one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return secrets.token_hex(8)


class Gone(Refused):
    """It was there once; `more` says what replaces it."""

    status = 410


def _event(seq: int, type: str, key: str, scene: str | None, body: bytes) -> Event:
    head = b'{"seq":%d,"type":%s' % (seq, msgspec.json.encode(type))
    return Event(seq, type, key, scene, head + (b"}" if body == b"{}" else b"," + body[1:]))
