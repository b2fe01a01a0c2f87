"""The clerk: what goes wrong with one job keeps no other waiting."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from server.api.contract import Busy, Conflict
from server.assets.bus import AssetBus
from server.assets.values import AssetFile, NewVersion
from server.generation.clerk import Clerk
from server.generation.publish import Publisher
from server.generation.registry import Config as RegistryConfig
from server.generation.registry import Registry
from server.jobs import machine
from server.jobs.desk import Config, Desk
from server.jobs.values import Failure, Job, Wanted

NO = Failure(code="broken", message="it broke")


class Office:
    """A clerk at work, without any lane."""

    def __init__(self, desk: Desk, bus: AssetBus) -> None:
        self.desk, self.bus, self.publisher = desk, bus, Publisher(bus)
        self.registry = Registry(RegistryConfig())
        self.clerk = Clerk(desk, self.registry, self.publisher)

    async def submit(self, **wanted: Any) -> Job:
        return (await self.desk.submit(Wanted(**{"provider": "rehearsal", **wanted}), ()))[0]

    async def step(self, job: Job, *steps: Callable[[Job], Job]) -> Job:
        for step in steps:
            job = await self.desk.step(job.job, step)
        return job

    async def is_routed(self, job: Job) -> bool:
        return job.job not in [one.job for one in await self.desk.ask(lambda store: store.unrouted(2**62, 99))]

    def version(self, content: bytes, job: Job) -> NewVersion:
        file = AssetFile(role="lod0", format="glb", sha256=self.bus.blobs.put(content), size=len(content))
        return NewVersion(files=(file,), provenance={"job": job.job})


@contextlib.asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    with AssetBus(folder / "assets") as bus:
        async with Desk.opened(folder / "jobs", Config()) as desk:
            yield Office(desk, bus)


def start(job: Job) -> Job:
    return machine.start(job, "rehearsal", "1", 5)


def fail(job: Job) -> Job:
    return machine.fail(job, NO, machine.RetryConfig(), time.time_ns())


@pytest.mark.parametrize("trouble", [Conflict("other content"), ValueError("nobody thought of this")])
async def test_a_job_that_cannot_be_taken_back_keeps_nobody_waiting_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    async with office(tmp_path) as here:
        stuck = await here.step(await here.submit(asset="vase"), start, fail)
        other = await here.step(await here.submit(asset="chair"), start, fail)
        waits = await here.submit()
        taken_back: list[str] = []
        troubles = [trouble]

        def withdraw(job: Job) -> None:
            if job.job == stuck.job and troubles:
                raise troubles.pop()
            taken_back.append(job.job)

        monkeypatch.setattr(here.publisher, "withdraw", withdraw)
        await here.clerk.look()
        assert await here.is_routed(waits)
        await here.clerk.look()
        assert taken_back == [other.job], "it is not tried at every look"
        here.clerk._again_at.clear()
        for _ in range(2):
            await here.clerk.look()
        assert taken_back == [other.job, stuck.job], "each once"


async def test_what_was_taken_back_is_so_after_a_restart_too_and_a_retry_that_fails_owes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_back: list[str] = []
    monkeypatch.setattr(Publisher, "withdraw", lambda self, job: taken_back.append(job.job))
    async with office(tmp_path) as here:
        job = await here.step(await here.submit(), start, fail)
        await here.clerk.look()
    async with office(tmp_path) as here:
        await here.clerk.look()
        assert taken_back == [job.job]
        await here.desk.retry(job.job)
        await here.clerk.look()
        assert taken_back == [job.job]
        await here.desk.cancel(job.job)
        await here.clerk.look()
        assert taken_back == [job.job] * 2


async def test_a_result_that_cannot_be_published_now_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path) as here:
        full = await here.submit(asset="vase")
        made = here.version(b"vase", full)
        await here.step(full, start, lambda job: machine.make(job, made, 6))
        waits = await here.submit()
        with monkeypatch.context() as busy:

            def publish(*_: Any) -> int:
                raise Busy("asset 'vase' has 10000 versions")

            busy.setattr(here.publisher, "publish", publish)
            await here.clerk.look()
        assert await here.is_routed(waits)
        assert (await here.desk.get(full.job)).state == "publishing"
        here.clerk._again_at.clear()
        await here.clerk.look()
        assert (await here.desk.get(full.job)).state == "succeeded"


async def raced(here: Office) -> Job:
    """Its first leg is done, and it waits for the second one."""
    job = await here.submit(provider="auto", providers=("rehearsal", "prims"), text="red cube 20 cm")
    made = here.version(b"cube", job)
    return await here.step(job, start, lambda job: machine.make(job, made, 6))


def path(here: Office, job: Job) -> Path:
    """Of the file that the first leg made."""
    made = job.legs[0].made
    assert made is not None
    return here.publisher.path(made.files[0])


async def test_what_a_leg_made_stays_while_its_job_waits_for_the_next(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        job = await raced(here)
        await here.clerk.look()
        os.utime(path(here, job), ns=(0, 0))
        await here.clerk.look()
        assert path(here, job).stat().st_mtime_ns == 0, "there is time enough"
        here.clerk._keep_again_at = 0.0
        await here.clerk.look()
        here.bus.do(lambda catalog, now_ns: catalog.sweep(now_ns))
        assert path(here, job).exists()


async def test_a_leg_whose_files_are_gone_is_done_again(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        job = await raced(here)
        known = await here.clerk.settle(job)
        assert known is not None
        assert known.name == "prims"
        path(here, job).unlink()
        known = await here.clerk.settle(job)
        assert known is not None
        assert known.name == "rehearsal"
        assert (await here.desk.get(job.job)).legs == ()


async def test_a_job_that_nobody_can_settle_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path) as here:
        job = await here.submit()

        def stumble(job: Job) -> Any:
            raise ValueError("nobody thought of this")

        monkeypatch.setattr(here.registry, "candidates", stumble)
        assert await here.clerk.settle(job) is None
        failure = (await here.desk.get(job.job)).failure
        assert failure is not None
        assert failure.code == "internal"
