"""Settles every job that needs no computing: refuses, lets expire, answers out of the cache, finishes publications.

It also says whom each waiting job goes to, and takes back what was shown of those that came to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from server.api.contract import Busy, Refused
from server.assets.blobs import StorageFull
from server.generation.provider import Description
from server.generation.publish import Publisher
from server.generation.registry import Known, Registry
from server.jobs import fingerprint, legs, machine
from server.jobs.desk import Desk
from server.jobs.machine import WrongState
from server.jobs.steady import happens_within, steadily
from server.jobs.store import Store
from server.jobs.values import Failure, Job, Leg

log = logging.getLogger(__name__)
PAGE = 64
LOOK_EVERY_S = 5.0
"""Even when nothing happens: a full disk may have room again."""
AGAIN_S = 4.0
"""So long a job with which something went wrong is left alone."""


class Clerk:
    """One per server."""

    def __init__(self, desk: Desk, registry: Registry, publisher: Publisher) -> None:
        self._desk, self._registry, self._publisher = desk, registry, publisher
        self._changed = desk.watch()
        self._again_at: dict[str, float] = {}
        """When those are looked at again with which something went wrong; monotonic seconds, as the next one."""
        self._keep_again_at = 0.0
        """When what legs made has to be kept again."""

    async def run(self) -> None:
        """Until cancelled."""
        await steadily("settling jobs", self._turn)

    async def settle(self, job: Job) -> Known | None:
        """Whom to give a job to; None when it is settled, or is nobody's any more.

        Raises:
            StorageFull: nothing can be written down now.
        """
        try:
            return await self._settled(job)
        except Refused:
            raise
        except Exception as error:  # else it would be looked at again and again, and those behind it never
            log.exception("a job cannot be settled", extra={"job": job.job})
            await self._refuse(job, Failure(code="internal", message=f"{type(error).__name__}: {error}"[:2000]))
            return None

    async def _settled(self, job: Job) -> Known | None:
        if lost := await asyncio.to_thread(self._lost, job):
            job = await self._desk.step(job.job, lambda j: machine.redo(j, lost, time.time_ns()))
        candidates = await asyncio.to_thread(self._registry.candidates, job)
        for known in candidates:
            if await self._from_cache(job, known):
                return None
        if candidates:
            return candidates[0]
        failure = job.failure or Failure(code="no_provider", message="no provider takes this")
        hint = failure.hint or await asyncio.to_thread(self._registry.why_not, job)
        await self._refuse(job, failure.model_copy(update={"hint": hint, "retryable": False}))
        return None

    def _lost(self, job: Job) -> list[Leg]:
        """Legs whose files are not there any more; those of the others, which no version names yet, stay for a while.

        Blocks.
        """
        return [leg for leg in job.legs if leg.made is not None and not self._publisher.has_all(leg.made)]

    async def turn_away(self, job: Job, known: Known, failure: Failure) -> None:
        """A waiting job's provider cannot have it: another may, unless the job wants just that one."""
        if job.wanted.provider != "auto":
            await self._refuse(job, failure)
            return
        with contextlib.suppress(WrongState):
            await self._desk.step(job.job, lambda j: machine.rule_out(j, known.name, failure, time.time_ns()))

    async def _refuse(self, job: Job, failure: Failure) -> None:
        with contextlib.suppress(WrongState):
            await self._desk.step(job.job, lambda j: machine.refuse(j, failure, time.time_ns()))

    async def finish(self, job: Job) -> None:
        """Publish what was made; what cannot be now stays to be published."""
        await self._alone("published", job, self._publish)

    async def _publish(self, job: Job) -> None:
        assert job.made is not None
        try:
            version = await asyncio.to_thread(self._publisher.publish, job, job.made)
        except (StorageFull, Busy):
            raise
        except Refused as refused:
            failure = Failure(code="not_published", message=refused.detail, hint="ask for a retry", retryable=True)
            await self._desk.step(job.job, lambda known: machine.lose(known, failure, time.time_ns()))
        else:
            await self._desk.published(job.job, version)

    async def show(self, job: Job) -> None:
        """What won a race is there while it is refined; if it cannot be now, the end of the job will tell."""
        if legs.part(job) != "refine" or (best := legs.winner(job)) is None:
            return
        try:
            await asyncio.to_thread(self._publisher.publish, job, best, "winner")
        except Refused as refused:
            log.warning("a winner is not shown", extra={"job": job.job, "reason": refused.detail})

    async def _turn(self) -> None:
        """Look at all that waits; then wait until something happens, or time alone changes something."""
        self._changed.clear()
        await self.look()
        due_ns = await self._desk.ask(lambda store: store.next_due_ns(time.time_ns()))
        due_s = LOOK_EVERY_S if due_ns is None else (due_ns - time.time_ns()) / 1e9
        await happens_within(self._changed, min(max(due_s, 0.001), LOOK_EVERY_S))

    async def look(self) -> None:
        """Look once at all that waits; a job with which something goes wrong waits for the next look, alone."""
        desk = self._desk
        for late in await desk.ask(lambda store: store.overdue(time.time_ns(), PAGE)):
            with contextlib.suppress(WrongState):
                await desk.step(late, lambda known: machine.expire(known, time.time_ns()))
        while waiting := await desk.ask(lambda store: store.unrouted(time.time_ns(), PAGE)):
            await self._route(waiting)
        if (now := time.monotonic()) >= self._keep_again_at:
            self._keep_again_at = now + self._publisher.grace_s / 4
            self._again_at = {job: at for job, at in self._again_at.items() if at > now}
            for job in await desk.ask(lambda store: store.in_state("queued", "running")):
                await asyncio.to_thread(self._lost, job)
        for job in await desk.ask(lambda store: store.in_state("publishing")):
            await self.finish(job)
        for job in await desk.ask(lambda store: store.to_withdraw()):
            await self._alone("taken back", job, self._withdraw)

    async def _alone(self, what: str, job: Job, work: Callable[[Job], Awaitable[None]]) -> None:
        """Do something with a job; what goes wrong with it is none of the others', and is not tried at every look."""
        if time.monotonic() < self._again_at.get(job.job, 0.0):
            return
        self._again_at.pop(job.job, None)
        try:
            await work(job)
        except WrongState:  # somebody else was quicker
            pass
        except Exception as error:
            self._again_at[job.job] = time.monotonic() + AGAIN_S
            is_odd = not isinstance(error, Refused)
            log.warning("a job cannot be %s yet", what, extra={"job": job.job, "reason": str(error)}, exc_info=is_odd)

    async def _withdraw(self, job: Job) -> None:
        """Take back previews of a job that failed or is not wanted any more; also if the server died meanwhile."""
        await asyncio.to_thread(self._publisher.withdraw, job)
        await self._desk.ask(lambda store: store.withdrawn(job))

    async def _route(self, waiting: list[Job]) -> None:
        """Find out whom waiting jobs go to, if anybody has to do them at all."""
        provider_by_job = {}
        for job in waiting:
            if (known := await self.settle(job)) is not None:
                provider_by_job[job.job] = known.name
        await self._desk.ask(lambda store: store.route(provider_by_job))
        self._desk.wake()

    async def _from_cache(self, job: Job, known: Known) -> bool:
        if (digest := cache_key(job, known.description)) is None:
            return False

        def find(store: Store) -> Job | None:
            if (found := store.result(digest)) is None:
                return None
            before, version = found
            if not self._publisher.has_all(version):
                store.forget_result(digest)
                return None
            return store.change(job.job, lambda known: machine.make(known, version, time.time_ns(), before))

        try:
            made = await self._desk.ask(find)
        except WrongState:  # somebody else was quicker
            return True
        if made is None:
            return False
        await self.finish(made)
        return True


def cache_key(job: Job, description: Description) -> str | None:
    """What a provider's result for a job is remembered under; None where the same request may give another one."""
    if not description.deterministic or legs.part(job) != "whole":
        return None
    return fingerprint.of_result(job.wanted, legs.inputs(job), description.name, description.revision)
