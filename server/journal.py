"""What a channel published and the disk does not have yet: the newest of each key, once more.

A listener like any client's. It is drained in rounds: what is published while one round syncs waits for the next.
"""

from __future__ import annotations

import asyncio

from mapping.store.records import StoredTile
from server.bus.channel import Channel, Entry, EntryKey, Move
from server.protocol import Layer

DURABLE: frozenset[Layer] = frozenset({"points", "mesh", "nav", "occluder", "culling", "asset"})
"""Poses and thumbnails are of the moment: they are not kept."""


class Journal:
    """Bound: one entry per key of the map. Policy when full: the newer entry of a key replaces the older."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: dict[EntryKey, Entry] = {}
        self._changed = asyncio.Event()
        channel.listen(self)

    def on_entry(self, entry: Entry) -> None:
        if entry.layer in DURABLE:
            self._waiting[entry.layer, entry.key] = entry
            self._changed.set()

    def on_move(self, move: Move) -> None:
        self._changed.set()

    def on_event(self, frame: bytes) -> None:
        """Events are of the moment, too."""

    def nudge(self) -> None:
        """Something that is not published was appended: it becomes durable with the next save."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until there is something to save."""
        await self._changed.wait()
        self._changed.clear()

    def drain(self) -> tuple[list[StoredTile], int]:
        """Take what waits, with the sequence number up to which the disk is complete once it is durable."""
        tiles = [
            StoredTile(layer=e.layer, key=e.key, seq=e.seq, ver=e.ver, wire=e.frame, removed=e.removed)
            for e in self._waiting.values()
        ]
        self._waiting.clear()
        return tiles, self._channel.seq

    def close(self) -> None:
        self._channel.unlisten(self)
