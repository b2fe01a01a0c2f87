"""Loops that go on, and the spool that is limited."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.api.contract import Busy
from server.assets.blobs import StorageFull
from server.jobs.inputs import LimitsConfig, Upload, checked
from server.jobs.spool import Spool
from server.jobs.steady import happens_within, steadily
from tests.server.jobs.live import png


async def test_a_loop_goes_on_whatever_goes_wrong(caplog: pytest.LogCaptureFixture) -> None:
    done, turns = asyncio.Event(), iter([StorageFull("full"), Busy("busy", retry_after_s=1), ValueError("ours"), None])

    async def turn() -> None:
        wrong = next(turns, None)
        if wrong is not None:
            raise wrong
        done.set()
        await asyncio.Event().wait()

    going = asyncio.create_task(steadily("work", turn, pause_s=0.0))
    assert await happens_within(done, 20)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "ERROR"]


async def test_what_does_not_happen_in_time_is_not_waited_for() -> None:
    assert not await happens_within(asyncio.Event(), 0.001)


def test_the_spool_holds_no_more_than_it_may_and_forgets_what_is_nobodys(tmp_path: Path) -> None:
    uploads = [Upload("image", png())]
    files, size = checked(uploads, LimitsConfig()), len(png())
    spool = Spool(tmp_path, 2 * size, lambda job: False)
    spool.take("job-0", [], ())
    for job in ("job-1", "job-2"):
        spool.take(job, uploads, files)
    with pytest.raises(StorageFull):
        spool.take("job-3", uploads, files)
    assert not spool.path("job-3").exists()
    spool.drop("job-1")
    spool.take("job-3", uploads, files)
    assert spool.holding(["job-1", "job-2", "job-3"]) == ["job-2", "job-3"]
    (spool.path("job-0") / "out-1").mkdir(parents=True)
    assert spool.holding(["job-0", "job-1"]) == ["job-0"], "it brought nothing, but tried something"
    spool.drop("job-0")
    (spool.path("job-2") / "out-1").mkdir()
    again = Spool(tmp_path, 2 * size, lambda job: job == "job-2")
    assert [path.name for path in tmp_path.iterdir()] == ["job-2"]
    assert [path.name for path in again.path("job-2").iterdir()] == ["in"], "no attempt goes on"
    again.take("job-4", uploads, files)
    with pytest.raises(StorageFull):
        again.take("job-5", uploads, files)
