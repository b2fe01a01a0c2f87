"""The desk takes what it can, and asks for room before it writes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.api.contract import Unprocessable
from server.jobs.desk import Config, Desk
from server.jobs.inputs import Upload
from server.jobs.spool import Spool
from server.jobs.store import Store, TooManyJobs
from server.jobs.values import Wanted, Webhook
from tests.server.jobs.live import png


async def test_what_is_not_taken_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [Upload("image", png())]
    async with Desk.opened(tmp_path, Config(max_queued=1)) as desk:
        job, _ = await desk.submit(Wanted(), files, "key")

        def write(*_: Any) -> None:
            raise AssertionError("written in vain")

        monkeypatch.setattr(Spool, "take", write)
        with pytest.raises(TooManyJobs):
            await desk.submit(Wanted(), files)
        assert await desk.submit(Wanted(), files, "key") == (job, False)
        with pytest.raises(Unprocessable, match="whsec_"):
            await desk.submit(Wanted(webhook=Webhook(url="https://example.org/", secret="whsec_" + "=" * 40)), files)


async def test_books_are_closed_when_the_files_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Store] = []
    monkeypatch.setattr(Store, "close", lambda store: closed.append(store))
    (tmp_path / "spool").write_text("no folder")
    with pytest.raises(OSError, match="spool"):
        async with Desk.opened(tmp_path):
            pass
    assert len(closed) == 1
