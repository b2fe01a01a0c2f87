"""The SQLite file of the jobs: its tables, and how a file of an older version is brought to this one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

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
_ROUTES = """
ALTER TABLE jobs ADD COLUMN route TEXT;
CREATE INDEX jobs_routed ON jobs (route, rank, job) WHERE state = 'queued';
CREATE INDEX jobs_later ON jobs (not_before_ns) WHERE state = 'queued' AND not_before_ns > 0;
CREATE INDEX jobs_ended ON jobs (ended_ns) WHERE ended_ns IS NOT NULL;
"""
_WITHDRAWALS = """
ALTER TABLE jobs ADD COLUMN to_withdraw INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET to_withdraw = 1 WHERE state IN ('failed', 'cancelled', 'expired');
CREATE INDEX jobs_to_withdraw ON jobs (ended_ns) WHERE to_withdraw;
CREATE INDEX keys_of ON keys (job);
CREATE INDEX deliveries_of ON deliveries (job);
CREATE INDEX results_of ON results (job);
"""
_STEPS = (_SCHEMA, _ROUTES, _WITHDRAWALS)
"""Each brings the file from one version to the next."""


def connect(path: Path) -> sqlite3.Connection:
    """The file in WAL mode, made or brought to this version; what is committed is on the disk.

    Raises:
        sqlite3.DatabaseError: it is no database, or of a newer version.
    """
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(_STEPS):
        raise sqlite3.DatabaseError(f"the jobs are of version {version}; this server reads {len(_STEPS)}")
    for number, step in enumerate(_STEPS[version:], version + 1):
        database.executescript(f"BEGIN IMMEDIATE;{step}PRAGMA user_version = {number};COMMIT;")
    return database
