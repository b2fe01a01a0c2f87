"""Looks beside the map for places that keyframes have in common, and tells what it finds.

A thread of its own, behind the map: no pose and no keyframe ever waits for it. Bound: the newest keyframe of each
camera; one that is overtaken is not looked at, its tracker's corrections go on with the newer one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mapping.places.agreement import Seen
from mapping.places.locating import Located, PlaceInWorld, Unlocated
from mapping.places.place import Place
from mapping.places.recogniser import Recogniser
from mapping.tracking.tracked import Tracked
from server.load import Work
from streams.frame import Frame, Intrinsics, StreamId

_log = logging.getLogger(__name__)
T = TypeVar("T")


async def _no_rest(work: Work, spent_s: float) -> None:
    """Nobody is late."""


class Recognition:
    """Made inside the event loop; `tell` gets pairs of keyframes that show one place, `keep` what is to be stored."""

    def __init__(
        self,
        recogniser: Recogniser,
        tell: Callable[[list[Seen]], Awaitable[None]],
        keep: Callable[[list[Place]], Awaitable[None]],
        observe: Callable[[str, float], None] = lambda hop, seconds: None,
        rest: Callable[[Work, float], Awaitable[None]] = _no_rest,
        name: str = "",
    ) -> None:
        """`observe` takes the seconds that each keyframe took; `rest` is awaited after each, with what it took."""
        self.recogniser, self._tell, self._keep, self._observe = recogniser, tell, keep, observe
        self._rest = rest
        self.overtaken = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"places-{name}")
        self._waiting: dict[StreamId, tuple[Tracked, Frame]] = {}
        self._some = asyncio.Event()
        self._task = asyncio.create_task(self._look_at_all(), name=f"places {name}")

    def offer(self, tracked: Tracked, frame: Frame) -> None:
        """Leave a keyframe to be looked at when there is time."""
        before = self._waiting.pop(frame.stream, None)
        if before is not None:
            self.overtaken += 1
            if before[0].component == tracked.component:
                tracked = replace(tracked, corrected=before[0].corrected | tracked.corrected)
        self._waiting[frame.stream] = tracked, frame
        self._some.set()

    async def look(self, tracked: Tracked, frame: Frame) -> None:
        """Look at a keyframe now, after those that are being looked at."""
        began = time.perf_counter()
        seen = await self._run(lambda: self.recogniser.see(tracked, frame))
        self._observe("recognise", time.perf_counter() - began)
        if seen:
            await self._tell(seen)
        if settled := await self._run(self.recogniser.settled):
            await self._keep(settled)

    async def locate(
        self, gray: NDArray[np.uint8], intrinsics: Intrinsics, in_world: PlaceInWorld, *, is_focal_guess: bool
    ) -> Located | Unlocated:
        """Look a single picture (h, w) up, after what is being looked at."""
        began = time.perf_counter()
        found = await self._run(
            lambda: self.recogniser.locate(gray, intrinsics, in_world, is_focal_guess=is_focal_guess)
        )
        self._observe("locate", time.perf_counter() - began)
        return found

    async def forget(self, stream: StreamId) -> None:
        """Drop all that a phone saw."""
        self._waiting.pop(stream, None)
        await self._run(lambda: self.recogniser.forget(stream))

    async def close(self) -> None:
        """Stop looking."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if rest := await self._run(self.recogniser.rest):
            await self._keep(rest)
        await self._run(self.recogniser.close)
        await asyncio.to_thread(self._thread.shutdown)

    async def _look_at_all(self) -> None:
        while True:
            await self._some.wait()
            while self._waiting:
                tracked, frame = self._waiting.pop(next(iter(self._waiting)))
                began = time.perf_counter()
                try:
                    await self.look(tracked, frame)
                except Exception:
                    _log.exception("recognition failed", extra={"keyframe": f"{frame.stream}/{frame.seq}"})
                await self._rest(Work.RECOGNISE, time.perf_counter() - began)
            self._some.clear()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
