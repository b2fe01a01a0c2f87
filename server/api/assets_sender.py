"""Writes events and answers to one client of the asset socket; what it cannot take waits, newest per key."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from server.api import assets_access as access
from server.api.transport import Wire
from server.assets import messages as m
from server.assets.backlog import Backlog
from server.assets.database import Event
from server.auth import Grant

STALLED_S = 10.0
"""So long a client may take nothing while something waits for it."""
CHECK_EVERY_S = 1.0
MAX_ANSWERS = 512


class AssetSender:
    """Fulfils `server.assets.feed.Reader`. `on_lost` is called with the reason when the client has to be given up."""

    def __init__(self, wire: Wire, grant: Grant, on_lost: Callable[[str], None]) -> None:
        self._wire, self._grant, self._on_lost = wire, grant, on_lost
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog()
        self._answers: deque[bytes] = deque()
        self._room = asyncio.Event()
        self._check: asyncio.TimerHandle | None = None
        self._taken_bytes, self._taken_at = 0, 0.0
        wire.on_writable = self._drain

    @property
    def has_waiting(self) -> bool:
        """Events were offered that are not written yet."""
        return bool(self._backlog)

    def stop(self) -> None:
        self._wire.on_writable = lambda: None
        if self._check is not None:
            self._check.cancel()

    def say(self, type: str, **fields: Any) -> None:
        """Answer, as soon as there is room."""
        if self._wire.is_writable:
            self._wire.send_text(m.pack(type, **fields))
        elif len(self._answers) < MAX_ANSWERS:
            self._answers.append(m.pack(type, **fields))
        else:
            self._on_lost("answers are not read; connect again and resume")

    def offer(self, event: Event) -> None:
        """Write an event that the client may see, or keep it while there is no room."""
        if not access.may_see(self._grant, event.scene):
            return
        if self._wire.is_writable and not self._backlog:
            self._wire.send_text(event.text)
            return
        self._backlog.push(event)
        if self._backlog.is_overflowing:
            self._on_lost("too much waits; connect again and resume")
        elif self._check is None:
            self._taken_bytes, self._taken_at = self._wire.taken_bytes, self._loop.time()
            self._check = self._loop.call_later(CHECK_EVERY_S, self._look)

    async def room(self) -> None:
        """Wait until nothing waits; others get their turn in any case."""
        await asyncio.sleep(0)
        while self._backlog:
            self._room.clear()
            await self._room.wait()

    def _drain(self) -> None:
        while self._wire.is_writable and self._answers:
            self._wire.send_text(self._answers.popleft())
        while self._wire.is_writable and (text := self._backlog.pop()) is not None:
            self._wire.send_text(text)
        if not self._backlog:
            self._room.set()

    def _look(self) -> None:
        """Give up a client that takes nothing."""
        self._check = None
        if not self._backlog:
            return
        now, taken = self._loop.time(), self._wire.taken_bytes
        if taken != self._taken_bytes:
            self._taken_bytes, self._taken_at = taken, now
        if now - self._taken_at > STALLED_S:
            self._on_lost("nothing was read for too long; connect again and resume")
        else:
            self._check = self._loop.call_later(CHECK_EVERY_S, self._look)
