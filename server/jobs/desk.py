"""Where jobs are handed in, asked for and worked on: one per server, on its event loop.

The books are kept by a thread of their own. What changes many times a second (progress, parked or not) is in memory
only and told to whoever looks; what must not be lost is on the disk before anybody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from server.api.contract import Conflict, Refused
from server.assets.values import NewVersion
from server.jobs import fingerprint, inputs, machine
from server.jobs.events import JobEvent
from server.jobs.inputs import Folder, LimitsConfig, Upload
from server.jobs.live import Live
from server.jobs.machine import RetryConfig
from server.jobs.spool import Spool
from server.jobs.steady import steadily
from server.jobs.store import Store
from server.jobs.values import TERMINAL, Job, Wanted, asset_named

T = TypeVar("T")
MAX_WAIT_S = 60.0
MOST_RETRY_AFTER_S = 600.0
LEAST_RETRY_AFTER_S = 5.0
PRUNE_EVERY_S = 600.0


class Config(BaseModel):
    """Jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_queued: int = Field(default=1000, gt=0)
    """More get 429."""
    keep_s: float = Field(default=7 * 86400.0, gt=0)
    """So long a job is known after it ended; its result stays with the assets."""
    keep_files_s: float = Field(default=3600.0, gt=0)
    """So long a job that did not succeed can be tried again with the files that it brought."""
    max_spool_bytes: int = Field(default=4 << 30, gt=0)
    """What all jobs together may bring; more get 507."""
    retry: RetryConfig = RetryConfig()
    limits: LimitsConfig = LimitsConfig()


@dataclass(slots=True, eq=False)
class _Look:
    """Somebody follows a job."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    has_news: bool = True
    """The books have something, not only memory."""


class Desk:
    """Make it with `opened`."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.config, self._folder = config, folder
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._live: dict[str, Live] = {}
        self._lookers: dict[str, list[_Look]] = {}
        self._typical_s = LEAST_RETRY_AFTER_S
        self._watchers: list[asyncio.Event] = []
        self.owes = asyncio.Event()
        """Set when somebody may have to be told: for the webhooks."""
        self.on_cancel: Callable[[str], None] = lambda job: None
        """Told of jobs that run and are not wanted any more."""
        self._store: Store
        self._spool: Spool

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, folder: Path, config: Config | None = None) -> AsyncIterator[Desk]:
        """The jobs of a folder; those that ran when the server died wait again.

        Raises:
            OSError, sqlite3.DatabaseError: the folder cannot be used.
        """
        self = cls(folder, config or Config())
        try:
            await self.ask(lambda _: None, opening=True)
            pruning = asyncio.create_task(steadily("forgetting old jobs", self._prune), name="forget old jobs")
            try:
                yield self
            finally:
                pruning.cancel()
                await asyncio.wait([pruning])
                await self.ask(Store.close)
        finally:
            self._thread.shutdown()

    # -- what callers do -----------------------------------------------------------------------------------------------

    async def submit(
        self,
        wanted: Wanted,
        uploads: Sequence[Upload | Folder],
        key: str | None = None,
        *,
        asked: Wanted | None = None,
    ) -> tuple[Job, bool]:
        """Take a job; whether it is new, or the one that this key named before.

        Args:
            asked: as the caller sent it, if something was made of that.

        Raises:
            TooLarge, NotAPicture, Unprocessable: its files, or the secret of its webhook, are no good.
            Conflict: the key named another request.
            TooManyJobs: the queue is full.
            StorageFull: the disk is, or as much as jobs may bring is here.
        """
        files = await asyncio.to_thread(inputs.checked, uploads, self.config.limits)
        inputs.check_secret(wanted.webhook)
        named = fingerprint.key(key, asked or wanted, files)
        now_ns, name = time.time_ns(), f"job-{secrets.token_hex(12)}"
        asset = asset_named(wanted) or f"asset-{name[4:16]}"
        job = Job(job=name, wanted=wanted, inputs=files, asset=asset, created_ns=now_ns, changed_ns=now_ns)
        wait_s = min(self.config.max_queued * self._typical_s / 10, MOST_RETRY_AFTER_S)

        def take(store: Store) -> tuple[Job, bool]:
            if (before := store.admit(named, self.config.max_queued, wait_s)) is not None:
                return before, False
            self._spool.take(name, uploads, files)
            try:
                return store.submit(job, named, self.config.max_queued, wait_s)
            except BaseException:
                self._spool.drop(name)
                raise

        return await self.ask(take)

    async def known(self, asked: Wanted, uploads: Sequence[Upload], key: str) -> Job | None:
        """The job that a key named before; raises as `submit`."""
        files = await asyncio.to_thread(inputs.checked, uploads, self.config.limits)
        return await self.ask(lambda store: store.named(fingerprint.key(key, asked, files)))

    async def get(self, job: str) -> Job:
        """Raises: NotFound."""
        return await self.ask(lambda store: store.get(job))

    async def wait(self, job: str, timeout_s: float) -> Job:
        """The job when it is over, or as it is after that time."""
        with self._looking(job) as look, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    look.changed.clear()
                    if look.has_news:
                        look.has_news = False
                        if (await self.get(job)).is_over:
                            break
                    await look.changed.wait()
        return await self.get(job)

    async def cancel(self, job: str) -> Job:
        """
        Raises:
            NotFound: there is no such job.
            WrongState: it is over, or being published.
        """
        now_ns = time.time_ns()
        after = await self.step(job, lambda known: machine.cancel(known, now_ns))
        if after.is_cancelling:
            self.on_cancel(job)
        return after

    async def retry(self, job: str) -> Job:
        """
        Raises:
            NotFound: there is no such job.
            WrongState: it waits, runs or succeeded.
            Conflict: its files are not kept any more.
        """
        now_ns = time.time_ns()

        def again(known: Job) -> Job:
            if any(not (self.spool(job) / "in" / file.name).exists() for file in known.inputs):
                raise Conflict("the files of this job are not kept any more; submit it anew")
            return machine.retry(known, now_ns)

        return await self.step(job, again)

    async def follow(self, job: str, since: int | None) -> AsyncGenerator[JobEvent | Live, None]:
        """A job's changes after event `since`, and how it goes in between, until it is over; raises NotFound."""
        at = since or 0
        told: tuple[str, str, float] | None = None
        with self._looking(job) as look:
            is_over = (await self.get(job)).is_over
            while True:
                look.changed.clear()
                if look.has_news:
                    look.has_news = False
                    for event in await self.ask(lambda store, at=at: store.events_of(job, at)):  # type: ignore[misc]
                        at, is_over = event.seq, event.state in TERMINAL
                        yield event
                if is_over:
                    return
                if (live := self.live(job)) is not None and live.told != told:
                    told = live.told
                    yield live
                await look.changed.wait()

    def live(self, job: str) -> Live | None:
        """How a job goes that runs."""
        return self._live.get(job)

    async def positions(self, jobs: Iterable[Job]) -> dict[str, int]:
        """How many go before each of these that waits."""
        waiting = [job.job for job in jobs if job.state == "queued"]
        return await self.ask(lambda store: store.positions(waiting)) if waiting else {}

    # -- what the lane does --------------------------------------------------------------------------------------------

    async def step(self, job: str, step: Callable[[Job], Job], learn: str | None = None) -> Job:
        """Take a step of `machine`; on the disk when this returns."""
        return await self.ask(lambda store: store.change(job, step, learn))

    def watch(self) -> asyncio.Event:
        """Set whenever a job changed its state; whoever asked for it clears it."""
        watcher = asyncio.Event()
        self._watchers.append(watcher)
        return watcher

    def wake(self) -> None:
        """Have all that watch look again."""
        for watcher in self._watchers:
            watcher.set()

    def show(self, job: str, live: Live) -> None:
        """How a running job goes; forgotten as soon as it is written down that it runs no more."""
        before, self._live[job] = self._live.get(job), live
        if before is not None and live.quarter > before.quarter:
            self._loop.run_in_executor(self._thread, self._owe_progress, job, live)
        if before is None or live.told != before.told:
            self._wake(job)

    def took(self, seconds: float) -> None:
        """A job was done in so many seconds: what callers are told when the queue is full."""
        self._typical_s = max(0.9 * self._typical_s + 0.1 * seconds, 0.1)

    def spool(self, job: str) -> Path:
        """The folder of a job: `in` holds what it brought."""
        return self._spool.path(job)

    async def published(self, job: str, asset_version: int) -> Job:
        """It is on the bus; its files are not needed any more."""
        now_ns = time.time_ns()
        after = await self.step(job, lambda known: machine.publish(known, asset_version, now_ns))
        await self.ask(lambda _: self._spool.drop(job))
        return after

    async def made(self, job: str, version: NewVersion, digest: str | None, cached_from: str | None = None) -> Job:
        """Everything is stored: from here on it will be published."""
        now_ns = time.time_ns()
        return await self.step(job, lambda known: machine.make(known, version, now_ns, cached_from), digest)

    async def ask(self, work: Callable[[Store], T], *, opening: bool = False) -> T:
        """Have something done with the books, by their thread."""

        def do() -> T:
            if opening:
                self._open()
            return work(self._store)

        return await self._loop.run_in_executor(self._thread, do)

    # -----------------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """In the thread: open the books, and take back what was given out when the server died."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._store = Store(self._folder / "jobs.sqlite", self._from_thread)
        now_ns = time.time_ns()
        try:
            for job in self._store.in_state("running"):
                self._store.change(job.job, lambda known: machine.interrupt(known, self.config.retry, now_ns))
            self._store.forget_routes()
            self._spool = Spool(self._folder / "spool", self.config.max_spool_bytes, self._store.is_known)
        except BaseException:
            self._store.close()
            raise

    async def _prune(self) -> None:
        """Forget jobs, and before that their files, some time after they ended."""

        def forget(store: Store, now_ns: int) -> None:
            ended = store.ended_before(now_ns - int(self.config.keep_files_s * 1e9))
            self._spool.drop(*self._spool.holding(ended))
            while store.prune(now_ns - int(self.config.keep_s * 1e9)):
                pass

        await self.ask(lambda store: forget(store, time.time_ns()))
        await asyncio.sleep(PRUNE_EVERY_S)

    def _owe_progress(self, job: str, live: Live) -> None:
        """In the thread; what is told of progress may get lost."""
        with contextlib.suppress(Refused):
            if self._store.owe_progress(job, live.json(job), time.time_ns()):
                self._loop.call_soon_threadsafe(self.owes.set)

    @contextlib.contextmanager
    def _looking(self, job: str) -> Iterator[_Look]:
        look = _Look()
        self._lookers.setdefault(job, []).append(look)
        try:
            yield look
        finally:
            self._lookers[job].remove(look)
            if not self._lookers[job]:
                del self._lookers[job]

    def _from_thread(self, event: JobEvent) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._deliver, event)

    def _deliver(self, event: JobEvent) -> None:
        if event.state in TERMINAL or event.state == "queued":
            self._live.pop(event.job, None)
        self.wake()
        self.owes.set()
        for look in self._lookers.get(event.job, ()):
            look.has_news = True
        self._wake(event.job)

    def _wake(self, job: str) -> None:
        for look in self._lookers.get(job, ()):
            look.changed.set()
