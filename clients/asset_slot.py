"""One slot in a program: prepares what is to come, changes over on time, keeps the old until that is settled.

The program gives functions. `prepare(new)` makes something showable of a file's bytes (it may be a coroutine);
`commit(resource, old)` shows it, `rollback(resource)` shows the old one again; `dispose(resource)` frees what will not
be shown any more. `commit` and `rollback` run on the event loop between two of the program's own steps, never half.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from clients.asset_store import Accept, AssetFile, Ref
from clients.http import HttpError

R = TypeVar("R")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` is given."""

    what: Ref
    file: AssetFile
    data: bytes
    """The file's bytes; their hash was checked."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the server wants of this slot."""

    revision: int
    what: Ref
    files: tuple[AssetFile, ...]
    at_ms: float = 0.0
    """When to show it, by the server's clock."""
    is_rollback: bool = False


@dataclass(frozen=True, slots=True)
class Callbacks(Generic[R]):
    """What the program does."""

    prepare: Callable[[Prepared], R | Awaitable[R]]
    commit: Callable[[R, R | None], object]
    rollback: Callable[[R], object] | None = None
    dispose: Callable[[R], object] | None = None


class Binding(Generic[R]):
    """A slot as this program shows it; `run` does the work, the connection says what is wanted."""

    def __init__(
        self,
        slot: str,
        callbacks: Callbacks[R],
        accept: Accept,
        fetch: Callable[[AssetFile], Awaitable[bytes]],
        acknowledge: Callable[[str, int, bool, str], Awaitable[None]],
        wait_s: Callable[[float], float],
    ) -> None:
        """`acknowledge(slot, revision, is_ready, reason)`; `wait_s(ms)`: how long until then on the server's clock."""
        self.slot = slot
        self._do, self._accept, self._fetch = callbacks, accept, fetch
        self._acknowledge, self._wait_s = acknowledge, wait_s
        self._show: Goal | None = None
        self._prepare: Goal | None = None
        self._settled = 0
        self._have: dict[Ref, R] = {}
        self._failed: set[tuple[int, Ref]] = set()
        self._told: set[int] = set()
        self._complaints: list[tuple[int, str]] = []
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.shown: Ref | None = None

    @property
    def revision(self) -> int:
        """Of the slot, as far as it is to be shown."""
        return 0 if self._show is None else self._show.revision

    @property
    def resource(self) -> R | None:
        """What is shown now."""
        return None if self.shown is None else self._have[self.shown]

    @property
    def held(self) -> list[Ref]:
        """Versions this program has in memory, or is about to."""
        coming = {goal.what for goal in (self._show, self._prepare) if goal is not None}
        return sorted({*self._have, *coming}, key=lambda ref: (ref.asset, ref.version))

    # -- what the server wants ----------------------------------------------------------------------------------------

    def prepare(self, goal: Goal) -> None:
        if goal.revision > self.revision and (self._prepare is None or goal.revision > self._prepare.revision):
            self._prepare = goal
            self._changed.set()

    def show(self, goal: Goal) -> None:
        if goal.revision > self.revision:
            self._show = goal
            if self._prepare is not None and self._prepare.revision <= goal.revision:
                self._prepare = None
            self._arrange(goal)
            self._changed.set()

    def settle(self, revision: int) -> None:
        """No way back from here: what is not shown any more can be freed."""
        self._settled = max(self._settled, revision)
        self._changed.set()

    def reconnected(self) -> None:
        """The server has forgotten what was acknowledged."""
        self._told.clear()
        self._changed.set()

    def restarted(self) -> None:
        """Revisions begin anew: the slot was removed, or this is another store. What is shown stays."""
        self._settled, self._show, self._prepare = 0, None, None
        self._failed.clear()

    # -- doing it -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Bring about what is wanted, until cancelled; then everything is freed."""
        try:
            while True:
                self._changed.clear()
                await self._step()
                await self._changed.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for resource in self._have.values():
                self._dispose(resource)

    async def _step(self) -> None:
        """Load what is missing, say how it went, free what is over. Changing over does not wait for any of it."""
        while self._complaints:
            revision, reason = self._complaints.pop()
            await self._tell(revision, False, reason)
        if (goal := self._show) is not None and await self._get(goal):
            self._arrange(goal)
        if (coming := self._prepare) is not None:
            await self._get(coming)
        if self._prepare is None and self._show is not None and self._settled >= self._show.revision:
            for what in [what for what in self._have if what not in (self.shown, self._show.what)]:
                self._dispose(self._have.pop(what))

    def _arrange(self, goal: Goal) -> None:
        """Change over as soon as it is there and its time has come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._show is not goal or goal.what not in self._have or goal.what == self.shown:
            return
        wait_s = self._wait_s(goal.at_ms)
        if wait_s > 0:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._arrange, goal)
        elif (goal.revision, goal.what) not in self._failed:
            self._change_over(goal)
            self._changed.set()

    async def _get(self, goal: Goal) -> bool:
        """Have it ready and say so; False when it failed or is not wanted any more."""
        if (goal.revision, goal.what) in self._failed:
            return False
        if goal.what not in self._have:
            loading = asyncio.create_task(self._load(goal), name=f"prepare {goal.what.asset}")
            try:
                await self._while_wanted(goal.what, loading)
                if not loading.done():
                    return False
                self._have[goal.what] = loading.result()
            except Exception as error:  # whatever the program's own function raises
                log.warning("an asset cannot be prepared", extra={"slot": self.slot, "reason": str(error)})
                self._failed.add((goal.revision, goal.what))
                await self._tell(goal.revision, False, f"{type(error).__name__}: {error}")
                return False
            finally:
                loading.cancel()
                self._changed.set()  # something else may be wanted by now
        await self._tell(goal.revision, True)
        return True

    async def _while_wanted(self, what: Ref, loading: asyncio.Task[R]) -> None:
        """Wait for it to load, unless it is not to be shown any more."""
        while not loading.done() and any(goal and goal.what == what for goal in (self._show, self._prepare)):
            self._changed.clear()
            changed = asyncio.create_task(self._changed.wait())
            await asyncio.wait({loading, changed}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()

    async def _load(self, goal: Goal) -> R:
        file = self._accept.choose(goal.files)
        if file is None:
            raise HttpError(f"no file of {goal.what.asset} version {goal.what.version} can be loaded here")
        made = self._do.prepare(Prepared(goal.what, file, await self._fetch(file)))
        return await made if inspect.isawaitable(made) else made

    def _change_over(self, goal: Goal) -> None:
        old = self.resource
        try:
            if goal.is_rollback and self.shown is not None and self._do.rollback is not None:
                self._do.rollback(self._have[goal.what])
            else:
                self._do.commit(self._have[goal.what], old)
            self.shown = goal.what
        except Exception as error:  # whatever the program's own functions raise
            log.exception("an asset cannot be shown", extra={"slot": self.slot})
            self._failed.add((goal.revision, goal.what))
            self._complaints.append((goal.revision, f"{type(error).__name__}: {error}"))
            if old is not None and self._do.rollback is not None:
                self._do.rollback(old)

    async def _tell(self, revision: int, is_ready: bool, reason: str = "") -> None:
        if revision not in self._told or not is_ready:
            self._told.add(revision)
            await self._acknowledge(self.slot, revision, is_ready, reason[:200])

    def _dispose(self, resource: R) -> None:
        if self._do.dispose is not None:
            self._do.dispose(resource)
