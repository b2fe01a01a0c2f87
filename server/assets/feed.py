"""From the bus's thread to the readers on the event loop: every event once and in order, from any point on."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from server.assets.bus import AssetBus
from server.assets.database import Event

RECENT = 1024
PAGE = 128


class Reader(Protocol):
    """Who follows the feed."""

    def offer(self, event: Event) -> None:
        """Take an event; must not block."""
        ...

    async def room(self) -> None:
        """Wait until what was offered is mostly gone; others get their turn in any case."""
        ...


class Feed:
    """Follows the bus on one event loop. Make it, `start` it, let readers `follow`."""

    def __init__(self, bus: AssetBus) -> None:
        self._bus, self._loop = bus, asyncio.get_running_loop()
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self._readers: dict[Reader, None] = {}
        self.seq = 0
        """Of the newest event that readers were offered."""

    async def start(self) -> None:
        self.seq = await asyncio.to_thread(self._bus.listen, self._from_thread)

    def stop(self) -> None:
        self._bus.unlisten(self._from_thread)

    async def follow(self, reader: Reader, since: int | None) -> bool:
        """Offer everything after `since` (None = from now on), then everything as it happens, until `leave`.

        False when that is not all known any more: then nothing was offered, or the events up to a gap.
        """
        at = self.seq if since is None else since
        while at != self.seq:
            page = self._after(at)
            if not page:
                known = await self._bus.ask(lambda catalog, _, at=at: catalog.events_since(at, PAGE))  # type: ignore[misc]
                if known is None:
                    return False
                page = [event for event in known if event.seq <= self.seq]  # others are on their way to `_deliver`
            for event in page:
                reader.offer(event)
                at = event.seq
            if at != self.seq:
                await reader.room()
        self.join(reader)
        return True

    def join(self, reader: Reader) -> None:
        """Offer everything that happens from now on, until `leave`."""
        self._readers[reader] = None

    def has(self, reader: Reader) -> bool:
        """Whether a reader has seen all there was, and sees what happens."""
        return reader in self._readers

    def leave(self, reader: Reader) -> None:
        self._readers.pop(reader, None)

    def _after(self, seq: int) -> list[Event]:
        """The next page from memory; empty when memory does not reach back so far."""
        if not self._recent or seq < self._recent[0].seq - 1 or seq >= self.seq:
            return []
        first = seq + 1 - self._recent[0].seq
        return [self._recent[i] for i in range(first, min(first + PAGE, len(self._recent)))]

    def _from_thread(self, events: list[Event]) -> None:
        self._loop.call_soon_threadsafe(self._deliver, events)

    def _deliver(self, events: list[Event]) -> None:
        for event in events:
            self.seq = event.seq
            self._recent.append(event)
            for reader in tuple(self._readers):
                reader.offer(event)
