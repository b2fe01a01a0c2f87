"""What follows the keyframes of a scene: what they left is built in short steps, what was published becomes durable,
and the disk is kept small. Three loops on the event loop; the work itself is done in the scene's writer thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from server.bus.channel import Channel
from server.journal import Journal
from server.load import Work
from server.writer import Step, Writer

_log = logging.getLogger(__name__)
T = TypeVar("T")

SEQ_RESERVE = 1_000_000
"""Sequence numbers that may be given out before the next sync: after a crash, counting goes on beyond them."""


class Config(BaseModel):
    """How often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    save_s: float = Field(default=0.5, gt=0)
    """Least time between two syncs to disk."""
    tidy_s: float = Field(default=30.0, gt=0)
    """Time between two looks at what the disk need not hold any more."""


class Thread(Protocol):
    """The scene's one writer thread."""

    async def __call__(self, work: Callable[..., T], *args: Any) -> T:
        """Run something in it."""
        ...


class Upkeep:
    """Runs from its making until `close`."""

    def __init__(
        self,
        name: str,
        config: Config,
        writer: Writer,
        write: Thread,
        channel: Channel,
        step: Callable[[], Awaitable[Step]],
        rest: Callable[[Work, float], Awaitable[None]],
    ) -> None:
        """`step` builds and publishes a little of what waits; `rest` pauses after work while poses are late."""
        self._name, self._config = name, config
        self._writer, self._write, self._channel = writer, write, channel
        self._step, self._rest = step, rest
        self._journal = Journal(channel)
        self._unfinished = asyncio.Event()
        self._unfinished.set()  # a restored map builds its tiles anew
        loops = {"finish": self._finish, "save": self._save, "tidy": self._tidy}
        self._tasks = [asyncio.create_task(loop(), name=f"{what} {name}") for what, loop in loops.items()]

    def build_soon(self) -> None:
        """There is something to build."""
        self._unfinished.set()

    def save_soon(self) -> None:
        """Something that is not published was appended: it becomes durable with the next save."""
        self._journal.nudge()

    async def settle(self) -> None:
        """Build whatever is still waiting: for those who want the map as it is, not as it was a moment ago."""
        while (wait_s := (await self._step()).wait_s) is not None:  # noqa: ASYNC110 - a surface has a least period
            await asyncio.sleep(wait_s)

    async def rebuilt(self) -> None:
        """Wait until the volume holds the whole map: a new epoch brings it in by slices."""
        while await self._write(lambda: self._writer.map.status.is_rebuilding):
            await self._step()

    async def reread(self) -> int:
        """Build every tile anew from the voxels alone, in short steps; how many NavMesh tiles came out otherwise."""
        await self.rebuilt()
        before = await self._write(self._writer.reread)
        self.build_soon()  # surfaces, too
        while await self._write(lambda: self._writer.nav_pending):
            await self._step()
        return self._writer.num_nav_changes - before

    async def save(self) -> None:
        """Save what waits; the event `durable` then tells up to which `seq` nothing can be lost any more."""
        tiles, seq = self._journal.drain()
        if not await self._write(self._writer.save, self._channel.lineage, seq + SEQ_RESERVE, tiles):
            return  # the tiles of the new epoch, once it is whole, come here again
        await asyncio.to_thread(self._writer.store.commit)
        self._channel.announce("durable", {"seq": seq})

    async def close(self) -> None:
        """End the loops, finish the volume and save."""
        for task in self._tasks:
            task.cancel()
            await asyncio.wait([task])
        await self.rebuilt()
        await self.save()
        self._journal.close()

    async def _finish(self) -> None:
        """Build what keyframes left, in short steps between theirs: surfaces, points, tiles beyond a budget."""
        wait_s: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._unfinished.wait()
            self._unfinished.clear()
            try:
                began = time.perf_counter()
                wait_s = (await self._step()).wait_s
                await self._rest(Work.BUILD, time.perf_counter() - began)
            except Exception:
                wait_s = None  # the next keyframe brings it up again
                _log.exception("building failed", extra={"scene": self._name})

    async def _save(self) -> None:
        while True:
            await self._journal.changed()
            began = time.monotonic()
            await asyncio.shield(self.save())
            await asyncio.sleep(max(0.0, self._config.save_s - (time.monotonic() - began)))

    async def _tidy(self) -> None:
        """Keep the disk small: fold the log into a snapshot when it has grown, erase keyframes that are too old."""
        store = self._writer.store
        while True:
            await asyncio.sleep(self._config.tidy_s)
            now_ns = time.time_ns()
            await self._write(self._writer.expire, now_ns)
            await asyncio.to_thread(store.expire, now_ns)
            if store.roll_up_due:
                await asyncio.to_thread(store.roll_up)
