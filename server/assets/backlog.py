"""What waits for one client: everything in order while that is little, then the newest per key, bounded. Pure."""

from __future__ import annotations

from collections import deque

from server.assets.database import Event

MAX_KEYS = 512
MAX_BYTES = 1 << 20


class Backlog:
    """Events in order. When too many wait, those that a newer one of their key replaces are left out, and counted."""

    def __init__(self, max_keys: int = MAX_KEYS, max_bytes: int = MAX_BYTES) -> None:
        self._max_keys, self._max_bytes = max_keys, max_bytes
        self._events: deque[Event] = deque()
        self._size_bytes = 0
        self._skipped = 0
        self.is_overflowing = False
        """More waits than may: the client has to come back and resume."""

    def __len__(self) -> int:
        return len(self._events)

    def push(self, event: Event) -> None:
        self._events.append(event)
        self._size_bytes += len(event.text)
        if len(self._events) > 2 * self._max_keys or self._size_bytes > self._max_bytes:
            self._thin_out()

    def pop(self) -> bytes | None:
        """The next message; before the events that are left of a thinning, how many were left out."""
        if not self._events:
            return None
        if self._skipped:
            text = b'{"type":"skipped","count":%d}' % self._skipped
            self._skipped = 0
            return text
        event = self._events.popleft()
        self._size_bytes -= len(event.text)
        return event.text

    def _thin_out(self) -> None:
        newest = {event.key: event.seq for event in self._events}
        kept = deque(event for event in self._events if newest[event.key] == event.seq)
        self._skipped += len(self._events) - len(kept)
        self._events, self._size_bytes = kept, sum(len(event.text) for event in kept)
        self.is_overflowing |= len(kept) > self._max_keys or self._size_bytes > self._max_bytes
