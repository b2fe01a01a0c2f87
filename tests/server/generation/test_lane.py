"""The lane with real worker processes: it makes way, stops who does not, and is not stopped by a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mapping import disk
from server.assets.bus import AssetBus
from server.assets.catalog import Config as AssetsConfig
from server.generation.gate import TRACKER, GateMemory, Perception, Watch
from server.generation.opened import Config, Generation, gates, opened
from server.generation.publish import Publisher
from server.jobs.inputs import Upload
from server.jobs.values import Job, Wanted
from tests.server.jobs.live import png


@contextlib.asynccontextmanager
async def lane(
    folder: Path, config: dict[str, Any] | None = None
) -> AsyncIterator[tuple[Generation, GateMemory, AssetBus]]:
    assets = AssetsConfig.model_validate({"discovery": {"folder": str(folder / "models")}})
    with gates(("cpu",)) as gate_by_device, AssetBus(folder / "assets", assets) as bus:
        made = Config.model_validate(config or {})
        async with opened(made, folder / "jobs", bus, gate_by_device, b"") as generation:
            yield generation, gate_by_device["cpu"], bus


async def submit(generation: Generation, **params: Any) -> Job:
    return (await generation.desk.submit(Wanted(provider="rehearsal", params=params), ()))[0]


async def until_phase(generation: Generation, job: Job, phase: str) -> None:
    async for _ in generation.desk.follow(job.job, None):
        if (live := generation.desk.live(job.job)) is not None and live.phase == phase:
            return
    raise AssertionError(f"it was never {phase}")


async def test_a_job_yields_while_perception_is_at_work_and_says_so(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, gate, _):
        job = await submit(generation, blocks=100, block_ms=2.0)
        await until_phase(generation, job, "running")
        with Perception(gate).closed():
            await until_phase(generation, job, "yielding")
            worker = generation.lanes["cpu"].worker
            assert worker is not None
            assert not worker.is_stopped, "it parked by itself"
        await until_phase(generation, job, "running")
        assert (await generation.desk.wait(job.job, 60)).state == "succeeded"
        assert generation.lanes["cpu"].overseer.stops == 0


async def test_a_worker_that_does_not_park_is_stopped_and_goes_on_after(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, gate, _):
        job = await submit(generation, blocks=3, block_ms=400.0)
        await until_phase(generation, job, "running")
        with Perception(gate, TRACKER).closed():
            await until_phase(generation, job, "yielding")
            assert generation.lanes["cpu"].overseer.stops == 1
            worker = generation.lanes["cpu"].worker
            assert worker is not None
            await asyncio.to_thread(os.waitid, os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
        done = await generation.desk.wait(job.job, 60)
        assert (done.state, done.attempt) == ("succeeded", 1)


async def test_a_provider_that_hangs_is_killed_in_the_end_and_the_gate_is_open(tmp_path: Path) -> None:
    config = {"lane": {"escalation": {"job_timeout_s": 1.0}}, "jobs": {"retry": {"max_attempts": 1}}}
    async with lane(tmp_path, config) as (generation, gate, _):
        failed = await generation.desk.wait((await submit(generation, fail="hang", blocks=3)).job, 60)
        assert failed.failure is not None
        assert (failed.state, failed.failure.code) == ("failed", "worker_died")
        assert "1 s" in failed.failure.message
        assert not Watch(gate).is_raised
        assert (await generation.desk.wait((await submit(generation, blocks=1)).job, 60)).state == "succeeded"


async def test_what_ran_when_the_server_ended_begins_anew_and_is_made_once(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, _, _bus):
        job = await submit(generation, blocks=200, block_ms=2.0)
        await until_phase(generation, job, "running")
    async with lane(tmp_path) as (generation, _, bus):
        done = await generation.desk.wait(job.job, 60)
        assert (done.state, done.attempt) == ("succeeded", 1), "ending in good order is no attempt"
        assert bus.get(job.asset).latest == 1


async def test_a_full_disk_takes_no_job_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lane(tmp_path) as (generation, _, _bus):
        with monkeypatch.context() as full:

            def write(path: Path, data: bytes) -> None:
                raise OSError(errno.ENOSPC, "no space")

            full.setattr(disk, "write_file", write)
            with pytest.raises(Exception, match="disk is full") as refused:
                await generation.desk.submit(Wanted(provider="rehearsal"), [Upload("image", png())])
            assert getattr(refused.value, "status", None) == 507
        assert list((tmp_path / "jobs" / "spool").iterdir()) == []
        assert await generation.desk.ask(lambda store: store.page(None, None, "", 9)) == []


async def test_only_who_takes_it_is_asked_and_each_in_turn(tmp_path: Path) -> None:
    async with lane(tmp_path, {"registry": {"auto": ["library", "rehearsal"]}}) as (generation, _, _bus):
        job, _ = await generation.desk.submit(Wanted(text="a thing that is in no library", params={"blocks": 1}), ())
        done = await generation.desk.wait(job.job, 60)
        assert (done.state, done.provider, done.tried, done.attempt) == ("succeeded", "rehearsal", ("library",), 1)


async def test_a_mistake_of_ours_ends_the_job_and_not_the_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: Any) -> Any:
        raise ValueError("nobody thought of this")

    async with lane(tmp_path, {"jobs": {"retry": {"max_attempts": 1}}}) as (generation, _, _bus):
        with monkeypatch.context() as broken:
            broken.setattr(Publisher, "store", stumble)
            job = await submit(generation, blocks=1, block_ms=1.0)
            done = await generation.desk.wait(job.job, 60)
        assert (done.state, done.failure and done.failure.code) == ("failed", "internal")
        after = await submit(generation, blocks=2, block_ms=1.0)
        assert (await generation.desk.wait(after.job, 60)).state == "succeeded"
