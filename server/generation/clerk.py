"""Settles every job that needs no computing: refuses, lets expire, answers out of the cache, finishes publications.

It also says whom each waiting job goes to, and takes back what was shown of those that came to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from server.api.contract import Busy, NotFound, Refused
from server.assets.blobs import StorageFull
from server.generation.provider import Description
from server.generation.publish import Publisher
from server.generation.registry import Known, Registry
from server.jobs import fingerprint, legs, machine
from server.jobs.desk import Desk
from server.jobs.machine import WrongState
from server.jobs.steady import happens_within, steadily
from server.jobs.store import Store
from server.jobs.values import Failure, Job

log = logging.getLogger(__name__)
PAGE = 64
LOOK_EVERY_S = 5.0
"""Even when nothing happens: a full disk may have room again."""


class Clerk:
    """One per server."""

    def __init__(self, desk: Desk, registry: Registry, publisher: Publisher) -> None:
        self._desk, self._registry, self._publisher = desk, registry, publisher
        self._changed = desk.watch()
        self._withdrawn_to = 0
        """Sequence number of the event up to which nothing is left to be taken back."""

    async def run(self) -> None:
        """Until cancelled."""
        await steadily("settling jobs", self._turn)

    async def settle(self, job: Job) -> Known | None:
        """Whom to give a job to; None when it is settled, or is nobody's any more.

        Raises:
            StorageFull, Busy: the bus cannot take anything now.
        """
        for leg in job.legs:
            if leg.made is not None:  # nothing else names its files yet
                await asyncio.to_thread(self._publisher.has_all, leg.made)
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

    async def finish(self, job: Job) -> Job:
        """Publish what was made.

        Raises:
            StorageFull, Busy: not now.
        """
        assert job.made is not None
        try:
            version = await asyncio.to_thread(self._publisher.publish, job, job.made)
        except (StorageFull, Busy):
            raise
        except Refused as refused:
            failure = Failure(code="not_published", message=refused.detail, hint="ask for a retry", retryable=True)
            return await self._desk.step(job.job, lambda known: machine.lose(known, failure, time.time_ns()))
        return await self._desk.published(job.job, version)

    async def _turn(self) -> None:
        """Look at all that waits; then wait until something happens, or time alone changes something."""
        self._changed.clear()
        desk = self._desk
        for job in await desk.ask(lambda store: store.in_state("publishing")):
            with contextlib.suppress(WrongState):
                await self.finish(job)
        for late in await desk.ask(lambda store: store.overdue(time.time_ns(), PAGE)):
            with contextlib.suppress(WrongState):
                await desk.step(late, lambda known: machine.expire(known, time.time_ns()))
        await self._withdraw()
        while waiting := await desk.ask(lambda store: store.unrouted(time.time_ns(), PAGE)):
            await self._route(waiting)
        due_ns = await desk.ask(lambda store: store.next_due_ns(time.time_ns()))
        due_s = LOOK_EVERY_S if due_ns is None else (due_ns - time.time_ns()) / 1e9
        await happens_within(self._changed, min(max(due_s, 0.001), LOOK_EVERY_S))

    async def _withdraw(self) -> None:
        """Take back previews of jobs that failed or are not wanted any more; also if the server died meanwhile."""
        desk = self._desk
        while events := await desk.ask(lambda store: store.ended_badly(self._withdrawn_to, PAGE)):
            for event in events:
                with contextlib.suppress(NotFound):
                    job = await desk.get(event.job)
                    if job.is_over and job.state != "succeeded":
                        await asyncio.to_thread(self._publisher.withdraw, job)
                self._withdrawn_to = event.seq

    async def _route(self, waiting: list[Job]) -> None:
        """Find out whom waiting jobs go to, if anybody has to do them at all."""
        provider_by_job = {}
        for job in waiting:
            try:
                known = await self.settle(job)
            except Refused:
                raise
            except Exception as error:  # else it would be looked at again and again, and those behind it never
                log.exception("a job cannot be settled", extra={"job": job.job})
                await self._refuse(job, Failure(code="internal", message=f"{type(error).__name__}: {error}"[:2000]))
                continue
            if known is not None:
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
        with contextlib.suppress(WrongState):
            await self.finish(made)
        return True


def cache_key(job: Job, description: Description) -> str | None:
    """What a provider's result for a job is remembered under; None where the same request may give another one."""
    if not description.deterministic or legs.part(job) != "whole":
        return None
    return fingerprint.of_result(job.wanted, legs.inputs(job), description.name, description.revision)
