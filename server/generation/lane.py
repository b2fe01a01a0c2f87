"""The lane of one device: takes jobs one at a time to their providers' workers, and writes down what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

from pydantic import BaseModel, ConfigDict

from mapping import disk
from server.assets.blobs import StorageFull
from server.generation.attempt import Attempt, Last, carry_out
from server.generation.clerk import Clerk, cache_key
from server.generation.controller import Config as ControlConfig
from server.generation.escalation import Config as EscalationConfig
from server.generation.gate import GateMemory
from server.generation.overseer import Overseer
from server.generation.process import ProviderProcess
from server.generation.provider import GenerationFailed
from server.generation.publish import Publisher
from server.generation.registry import Known, Registry
from server.generation.workers import Config as WorkersConfig
from server.generation.workers import NoRoom, Workers
from server.jobs import legs, machine
from server.jobs.desk import Desk
from server.jobs.live import Live
from server.jobs.machine import UNSUITABLE, WrongState
from server.jobs.progress import Progress
from server.jobs.steady import PAUSE_S, happens_within, steadily
from server.jobs.values import Failure, Job

log = logging.getLogger(__name__)
LOOK_EVERY_S = 2.0
"""Even when nothing happens: there may be room again, or a worker that had nothing to do for long."""
NO_ROOM_HINT = "name another provider, or give the device more memory"


class Config(BaseModel):
    """How a device is shared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: WorkersConfig = WorkersConfig()
    control: ControlConfig = ControlConfig()
    escalation: EscalationConfig = EscalationConfig()


class Lane:
    """`run` it as a task; `cancel` jobs at will."""

    def __init__(
        self, device: str, gate: GateMemory, desk: Desk, registry: Registry, clerk: Clerk, publisher: Publisher,
        has_gpu: bool, config: Config,
    ) -> None:  # fmt: skip
        """`has_gpu`: some lane of this server has one; then this one, if it is the CPU's, leaves it what wants one."""
        self.device, self._has_gpu, self._config = device, has_gpu, config
        self._desk, self._registry, self._clerk, self._publisher = desk, registry, clerk, publisher
        self._workers = Workers(device, gate, desk, config.workers)
        self.overseer = Overseer(gate, desk, config.control, config.escalation)
        self._attempt: Attempt | None = None
        self._changed = desk.watch()
        self._mine: dict[str, Known] = {}

    async def run(self) -> None:
        """Until cancelled; whatever goes wrong with one job, the next one gets its turn."""
        try:
            await steadily(f"the lane of {self.device}", self._serve)
        finally:
            await self._workers.close()

    @property
    def worker(self) -> ProviderProcess | None:
        """Who works at the moment."""
        return self._attempt.worker if self._attempt is not None else None

    def cancel(self, job: str) -> None:
        """The running job is not wanted any more; any other is none of this lane's."""
        attempt = self._attempt
        if attempt is not None and attempt.job.job == job and attempt.cancelled_at is None:
            attempt.cancel(time.monotonic())

    async def _serve(self) -> None:
        """Do the next job, or wait for one."""
        self._changed.clear()
        chosen = await self._choose()
        if chosen is not None:
            await self._take(*chosen)
            return
        await self._workers.drop_idle()
        if not await happens_within(self._changed, LOOK_EVERY_S):
            await self._workers.warm_up(self._mine)

    async def _choose(self) -> tuple[Job, Known] | None:
        """The most urgent job whose provider is this device's and fits on it."""
        known_here = await asyncio.to_thread(self._registry.all)
        self._mine = {known.name: known for known in known_here if self._is_mine(known)}
        mine = set(self._mine)
        while (job := await self._desk.ask(lambda store: store.next_for(mine, time.time_ns()))) is not None:
            known = await self._clerk.settle(job)
            if known is None:
                continue
            if known.name not in mine:
                await self._desk.ask(lambda store, to={job.job: known.name}: store.route(to))  # type: ignore[misc]
                continue
            try:
                if await self._workers.make_room(known):
                    return job, known
                mine.discard(known.name)  # its jobs wait; others need not
            except NoRoom as error:
                await self._clerk.turn_away(job, known, Failure(code="no_room", message=str(error), hint=NO_ROOM_HINT))
        return None

    def _is_mine(self, known: Known) -> bool:
        return (self.device != "cpu") == (self._has_gpu and known.description.vram_gb > 0)

    async def _take(self, job: Job, known: Known) -> None:
        """Give a job to a provider, watch over it, settle what becomes of it."""
        description, began = known.description, time.monotonic()
        try:
            job = await self._desk.step(
                job.job, lambda j: machine.start(j, known.name, description.revision, time.time_ns())
            )
        except WrongState:  # cancelled, or another lane's
            return
        stages = legs.stages(job, [(stage.name, stage.weight) for stage in description.stages])
        own = sum(stage.weight for stage in description.stages) or 1.0
        to_go = sum(weight for name, weight in stages if name != legs.BEFORE) / own
        progress = Progress(stages, description.seconds * to_go, began)
        if job.legs:
            progress.update(legs.BEFORE, 1.0)
            progress.begin(began)
        attempt = self._attempt = Attempt(job, known, self._desk.spool(job.job), progress, began)
        self._desk.show(job.job, Live(shown=progress.shown(began)))
        try:
            await self._settle(attempt, *await self._watched(attempt))
        except asyncio.CancelledError:  # the server ends in good order: the attempt does not count
            with contextlib.suppress(Exception):
                await self._desk.step(job.job, lambda j: machine.give_back(j, time.time_ns()))
            raise
        except StorageFull as error:
            await self._fail(job, Failure(code="storage_full", message=error.detail, retryable=True))
        except Exception as error:  # no job stays `running` that nobody works at
            log.exception("an attempt stumbled", extra={"job": job.job})
            message = f"{type(error).__name__}: {error}"[:2000]
            await self._fail(job, Failure(code="internal", message=message, retryable=True))
        finally:
            self._attempt = None
            await asyncio.to_thread(disk.remove, attempt.out)  # what is worth keeping of it is stored

    async def _watched(self, attempt: Attempt) -> tuple[Last, dict[str, Any]]:
        """Have it carried out, under the overseer's eyes for as long as its worker has to do with it."""
        watching = asyncio.create_task(self.overseer.watch(attempt), name=f"watch {attempt.job.job}")
        try:
            if (await self._desk.get(attempt.job.job)).is_cancelling:
                attempt.cancel(time.monotonic())
            load_timeout_s = self._config.workers.process.load_timeout_s
            return await carry_out(attempt, self._workers, self._publisher, load_timeout_s)
        finally:
            watching.cancel()

    async def _settle(self, attempt: Attempt, last: Last, told: dict[str, Any]) -> None:
        """Write down what became of an attempt."""
        job, desk = attempt.job, self._desk
        if last == "gone" or not attempt.is_loaded:
            await self._workers.drop(attempt.known.name)
        if last == "done" and attempt.cancelled_at is None:
            failure = await self._publish(attempt, told)
            if failure is None:
                return
        elif last == "gone" and attempt.cancelled_at is None:
            message = f"{machine.DIED.message}: {attempt.killed_because or told['message']}"
            failure = machine.DIED.model_copy(update={"message": message[:2000]})
        else:
            failure = _failure(told) if last == "failed" and attempt.cancelled_at is None else None
        if failure is None:
            await desk.step(job.job, lambda j: machine.cancelled(j, time.time_ns()))
        elif failure.code == UNSUITABLE and job.wanted.provider == "auto":
            await desk.step(job.job, lambda j: machine.pass_on(j, failure, time.time_ns()))
        else:
            await self._learn(attempt, told, was_too_little=failure.code == "out_of_memory")
            await self._fail(job, failure)

    async def _fail(self, job: Job, failure: Failure) -> None:
        """Write it down, however long that takes: until then nothing else could be written either."""
        retry = self._desk.config.retry
        while True:
            try:
                await self._desk.step(job.job, lambda j: machine.fail(j, failure, retry, time.time_ns()))
                return
            except WrongState:
                return
            except StorageFull as error:
                log.warning("a failure cannot be written down yet", extra={"job": job.job, "reason": error.detail})
                await asyncio.sleep(PAUSE_S)

    async def _publish(self, attempt: Attempt, told: dict[str, Any]) -> Failure | None:
        """Store and publish what was made; why not, if it is no good."""
        job, description = attempt.job, attempt.known.description
        try:
            version = await asyncio.to_thread(self._publisher.store, job, description, told["result"], attempt.out)
        except GenerationFailed as error:
            return Failure(code=error.code, message=str(error)[:2000])
        digest = cache_key(job, description)
        try:
            made = await self._desk.made(job.job, version, digest)
        except WrongState:
            return None
        self._desk.took(time.monotonic() - attempt.began)
        await self._learn(attempt, told, was_too_little=False)
        if made.state == "queued":  # this was only a part of it
            await self._clerk.show(made)
        if made.state == "publishing":  # else it was cancelled meanwhile
            await self._clerk.finish(made)
        return None

    async def _learn(self, attempt: Attempt, told: dict[str, Any], *, was_too_little: bool) -> None:
        peak_gb = float(told.get("rss_gb" if self.device == "cpu" else "vram_gb", 0.0))
        await self._workers.learn(attempt.known, peak_gb, was_too_little=was_too_little)


def _failure(told: dict[str, Any]) -> Failure:
    return Failure(
        code=str(told["code"])[:64],
        message=str(told["message"])[:2000],
        hint=str(told.get("hint", ""))[:1000],
        retryable=bool(told.get("retryable", False)),
    )
