"""Settles every job that needs no computing: refuses, lets expire, answers out of the cache, finishes publications."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from server.api.contract import Busy, Refused
from server.assets.blobs import StorageFull
from server.generation.publish import Publisher
from server.generation.registry import Known, Registry
from server.jobs import fingerprint, machine
from server.jobs.desk import Desk
from server.jobs.machine import WrongState
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
        self._seen: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        changed = self._desk.watch()
        while True:
            changed.clear()
            due_s = LOOK_EVERY_S
            try:
                due_s = await self._look()
            except (StorageFull, Busy) as error:
                log.warning("jobs wait for the asset store", extra={"reason": error.detail})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_s):
                    await changed.wait()

    async def settle(self, job: Job) -> Known | None:
        """Whom to give a job to; None when it is settled, or is nobody's any more.

        Raises:
            StorageFull, Busy: the bus cannot take anything now.
        """
        candidates = await asyncio.to_thread(self._registry.candidates, job)
        for known in candidates:
            if await self._from_cache(job, known):
                return None
        if candidates:
            return candidates[0]
        failure = job.failure or Failure(code="no_provider", message="no provider takes this")
        failure = failure.model_copy(update={"hint": failure.hint or self._registry.why_not(job), "retryable": False})
        with contextlib.suppress(WrongState):
            await self._desk.step(job.job, lambda known: machine.refuse(known, failure, time.time_ns()))
        return None

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

    async def _look(self) -> float:
        """Look at all that waits; seconds until time alone changes something."""
        desk = self._desk
        for job in await desk.ask(lambda store: store.in_state("publishing")):
            with contextlib.suppress(WrongState):
                await self.finish(job)
        for late in await desk.ask(lambda store: store.overdue(time.time_ns(), PAGE)):
            with contextlib.suppress(WrongState):
                await desk.step(late, lambda known: machine.expire(known, time.time_ns()))
        waiting = await desk.ask(lambda store: store.queued(time.time_ns(), PAGE))
        for job in waiting:
            if job.job not in self._seen:
                await self.settle(job)
        self._seen = {job.job for job in waiting}
        due_ns = await desk.ask(lambda store: store.next_due_ns(time.time_ns()))
        return LOOK_EVERY_S if due_ns is None else min(max((due_ns - time.time_ns()) / 1e9, 0.001), LOOK_EVERY_S)

    async def _from_cache(self, job: Job, known: Known) -> bool:
        description = known.description
        digest = fingerprint.of_result(job.wanted, job.inputs, description.name, description.revision)

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
