"""The lane with real worker processes: it makes way, stops who does not, and is not stopped by a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mapping import disk
from server.assets.blobs import StorageFull
from server.assets.bus import AssetBus
from server.assets.catalog import Config as AssetsConfig
from server.assets.database import Gone
from server.assets.swap import target
from server.assets.values import Ref
from server.generation import memory, wire
from server.generation.attempt import MAX_OFFERS
from server.generation.clerk import cache_key
from server.generation.gate import GateMemory, Perception, Watch
from server.generation.opened import Config, Generation, gates, opened
from server.generation.process import ProviderProcess
from server.generation.provider import Description, Licence
from server.generation.publish import Publisher
from server.jobs.inputs import Upload
from server.jobs.store import Store
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


async def until_running(generation: Generation, job: Job) -> Job:
    """As it is when a provider has it; then it is not wanted any more."""
    async for _ in generation.desk.follow(job.job, None):
        if (found := await generation.desk.get(job.job)).state == "running":
            await generation.desk.cancel(job.job)
            return found
    raise AssertionError("it never ran")


def state_of(pid: int) -> str:
    """Of a process, in the kernel's letters."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


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
        job = await submit(generation, blocks=6, block_ms=400.0)
        overseer = generation.lanes["cpu"].overseer
        while not overseer.stops:  # it may have been between two blocks, and parked
            await until_phase(generation, job, "running")
            with Perception(gate).closed():
                await until_phase(generation, job, "yielding")
                if overseer.stops:
                    worker = generation.lanes["cpu"].worker
                    assert worker is not None
                    await asyncio.to_thread(os.waitid, os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
        done = await generation.desk.wait(job.job, 60)
        assert (done.state, done.attempt) == ("succeeded", 1)


async def test_a_worker_that_has_finished_is_left_in_peace_whatever_is_wanted_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storing, go_on, store = asyncio.Event(), threading.Event(), Publisher.store
    loop = asyncio.get_running_loop()

    def slowly(*args: Any) -> Any:
        loop.call_soon_threadsafe(storing.set)
        go_on.wait(60)
        return store(*args)

    monkeypatch.setattr(Publisher, "store", slowly)
    async with lane(tmp_path) as (generation, _, _bus):
        job = await submit(generation, blocks=1, block_ms=1.0)
        await storing.wait()
        await generation.desk.cancel(job.job)
        watching = [task for task in asyncio.all_tasks() if task.get_name() == f"watch {job.job}"]
        if watching:
            await asyncio.wait(watching, timeout=5)
        assert all(task.done() for task in watching)
        go_on.set()
        assert (await generation.desk.wait(job.job, 60)).state == "cancelled"
        assert generation.lanes["cpu"].overseer.kills == 0


async def test_a_run_that_nobody_hears_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: Any) -> Any:
        raise ValueError("nobody thought of this")

    async with lane(tmp_path, {"jobs": {"retry": {"max_attempts": 1}}}) as (generation, _, _bus):
        with monkeypatch.context() as broken:
            broken.setattr(Publisher, "store", stumble)
            job = await submit(generation, blocks=10**6, block_ms=1.0, offer=True)
            done = await generation.desk.wait(job.job, 60)
        assert (done.state, done.failure and done.failure.code) == ("failed", "internal")
        after = await submit(generation, blocks=1, block_ms=1.0)
        assert (await generation.desk.wait(after.job, 20)).state == "succeeded"


async def test_a_job_is_in_no_stage_before_its_provider_says_so(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, _, _bus):
        job = await submit(generation, blocks=1, block_ms=1.0)
        looks = [generation.desk.live(job.job) async for _ in generation.desk.follow(job.job, None)]
        assert {live.shown.stage for live in looks if live is not None} <= {"", "blocks", "fixed"}
        assert generation.desk.live(job.job) is None


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


@pytest.mark.parametrize(
    ("how", "ends"),
    [
        ("nan", "succeeded"),
        ("boast", "succeeded"),
        ("flood", "succeeded"),
        ("escape", "bad_result"),
        ("memory", "out_of_memory"),
    ],
)
async def test_a_provider_that_talks_nonsense_is_judged_by_its_result(tmp_path: Path, how: str, ends: str) -> None:
    async with lane(tmp_path, {"jobs": {"retry": {"max_attempts": 1}}}) as (generation, _, bus):
        job = await submit(generation, blocks=2, block_ms=1.0, fail=how)
        done = await generation.desk.wait(job.job, 60)
        assert (done.failure.code if done.failure else done.state) == ends
        versions = 0 if ends != "succeeded" else bus.get(job.asset).latest
        assert versions <= MAX_OFFERS + 1


@pytest.mark.parametrize(
    ("how", "code"), [("raise", "provider_error"), ("die", "worker_died"), ("hang", "worker_died")]
)
async def test_a_provider_that_cannot_be_loaded_is_a_failed_job(tmp_path: Path, how: str, code: str) -> None:
    options = {"registry": {"providers": {"rehearsal": {"options": {"load": how}}}}}
    impatient = {"lane": {"workers": {"process": {"load_timeout_s": 1.0}}}, "jobs": {"retry": {"max_attempts": 1}}}
    async with lane(tmp_path, options | impatient) as (generation, _, _bus):
        done = await generation.desk.wait((await submit(generation)).job, 60)
        assert (done.state, done.failure and done.failure.code) == ("failed", code)
        assert generation.lanes["cpu"].worker is None


async def test_what_was_shown_of_a_job_that_failed_is_taken_back(tmp_path: Path) -> None:
    wanted = Wanted(provider="rehearsal", asset="vase", slot="shelf")
    fails = {"blocks": 2, "block_ms": 1.0, "offer": True, "fail": "raise"}

    async def end(job: Job) -> Job:
        done = await generation.desk.wait(job.job, 60)
        await generation.lanes["cpu"]._clerk.look()  # or it has done so already
        return done

    async with lane(tmp_path, {"jobs": {"retry": {"max_attempts": 1}}}) as (generation, _, bus):
        job, _ = await generation.desk.submit(wanted.model_copy(update={"params": fails}), ())
        assert (await end(job)).state == "failed"
        with pytest.raises(Gone):
            bus.get("vase")
        good = wanted.model_copy(update={"params": {"blocks": 1, "block_ms": 1.0}})
        assert (await end((await generation.desk.submit(good, ()))[0])).state == "succeeded", "its name is not burnt"
        kept = await bus.ask(lambda catalog, _: catalog.version("vase", None))
        other = wanted.model_copy(update={"params": fails | {"size_m": 0.5}})
        assert (await end((await generation.desk.submit(other, ()))[0])).state == "failed"
        now = await bus.ask(lambda catalog, _: catalog.version("vase", None))
        assert now.version == kept.version + 2, "the preview, and what was there before it"
        assert (now.files, now.provenance) == (kept.files, kept.provenance)
        slot = await bus.ask(lambda catalog, _: catalog.slot("shelf"))
        assert target(slot) == Ref("vase", now.version)


async def test_a_provider_that_will_never_fit_fails_its_jobs_or_leaves_them_to_another(tmp_path: Path) -> None:
    async with lane(tmp_path, {"registry": {"auto": ["rehearsal", "prims"]}}) as (generation, _, _bus):
        await generation.desk.ask(lambda store: store.learn_peak("rehearsal", "cpu", 1e6, 9, time.time_ns()))
        named = await generation.desk.wait((await submit(generation)).job, 60)
        assert (named.state, named.failure and named.failure.code) == ("failed", "no_room")
        assert "1000000.0 GB" in str(named.failure)
        job, _ = await generation.desk.submit(Wanted(text="red cube 20 cm"), ())
        begun = await until_running(generation, job)
        assert (begun.provider, begun.tried) == ("prims", ("rehearsal",))


async def test_jobs_that_wait_for_room_keep_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "room_on", lambda device: memory.Room(free_gb=2.0, total_gb=1000.0))
    async with lane(tmp_path) as (generation, _, _bus):
        await generation.desk.ask(lambda store: store.learn_peak("rehearsal", "cpu", 500.0, 9, time.time_ns()))
        waiting = [(await generation.desk.submit(Wanted(provider="rehearsal", seed=n), ()))[0] for n in range(70)]
        job, _ = await generation.desk.submit(Wanted(provider="prims", text="red cube 20 cm"), ())
        assert (await until_running(generation, job)).provider == "prims"
        assert {(await generation.desk.get(one.job)).state for one in waiting} == {"queued"}


async def test_a_disk_that_is_full_when_a_job_ends_leaves_none_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.generation.lane.PAUSE_S", 0.01)
    change, refused = Store.change, iter(range(5))

    def full(store: Store, job: str, step: Any, learn: str | None = None) -> Job:
        if store.get(job).state == "running" and next(refused, None) is not None:
            raise StorageFull("the disk is full; nothing was changed")
        return change(store, job, step, learn)

    async with lane(tmp_path, {"jobs": {"retry": {"max_attempts": 1}}}) as (generation, _, _bus):
        monkeypatch.setattr(Store, "change", full)
        done = await generation.desk.wait((await submit(generation, blocks=1, block_ms=1.0)).job, 60)
        assert (done.state, done.failure and done.failure.code) == ("failed", "storage_full")


async def test_what_a_worker_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    async with lane(tmp_path) as (generation, _, _bus):
        done = await generation.desk.wait((await submit(generation, blocks=1, block_ms=1.0, fail="orphan")).job, 60)
        assert done.state == "succeeded"
        pid = int((tmp_path / "jobs" / "spool" / "orphan").read_text())
        assert state_of(pid) not in ("gone", "Z")
    assert state_of(pid) in ("gone", "Z"), "killed, if not yet buried"


async def test_who_is_to_be_warm_is_loaded_before_anybody_asks_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.generation.lane.LOOK_EVERY_S", 0.01)
    load, loaded = ProviderProcess.load, asyncio.Queue[str]()

    async def heard(worker: ProviderProcess) -> wire.Message:
        told = await load(worker)
        loaded.put_nowait(f"{worker.known.name} {told['type']}")
        return told

    monkeypatch.setattr(ProviderProcess, "load", heard)
    broken = {"library": {"python": "/bin/false"}}
    workers = {"warm": ["library", "rehearsal"], "keep_s": 0.0}
    async with lane(tmp_path, {"lane": {"workers": workers}, "registry": {"providers": broken}}) as (generation, _, _b):
        assert await asyncio.wait_for(loaded.get(), 60) == "rehearsal loaded", "the broken one is left out"
        job = await submit(generation, blocks=1, block_ms=1.0)
        assert (await generation.desk.wait(job.job, 60)).state == "succeeded"
        again = await submit(generation, blocks=2, block_ms=1.0)
        assert (await generation.desk.wait(again.job, 60)).state == "succeeded"
        assert loaded.empty(), "it did not have to be loaded again"


def test_only_what_comes_out_the_same_is_remembered() -> None:
    job = Job(job="job-1", wanted=Wanted(), asset="vase", created_ns=0, changed_ns=0)
    sure = Description("a", "1", Licence("MIT"), ("text",))
    assert cache_key(job, sure) is not None
    assert cache_key(job, replace(sure, deterministic=False)) is None
