"""What waits for one client: newest per key, bounded. Pure."""

from __future__ import annotations

from collections import OrderedDict

from server.assets.database import Event

MAX_KEYS = 512
MAX_BYTES = 1 << 20


class Backlog:
    """Events in order; one that a newer one of its key replaces is left out, and counted."""

    def __init__(self, max_keys: int = MAX_KEYS, max_bytes: int = MAX_BYTES) -> None:
        self._max_keys, self._max_bytes = max_keys, max_bytes
        self._events: OrderedDict[str, Event] = OrderedDict()
        self._size_bytes = 0
        self._skipped = 0
        self.is_overflowing = False
        """More waits than may: the client has to come back and resume."""

    def __len__(self) -> int:
        return len(self._events)

    def push(self, event: Event) -> None:
        older = self._events.pop(event.key, None)
        if older is not None:
            self._skipped += 1
            self._size_bytes -= len(older.text)
        self._events[event.key] = event
        self._size_bytes += len(event.text)
        self.is_overflowing |= len(self._events) > self._max_keys or self._size_bytes > self._max_bytes

    def pop(self) -> bytes | None:
        """The next message; before the first event after a replaced one, how many were left out."""
        if not self._events:
            return None
        if self._skipped:
            text = b'{"type":"skipped","count":%d}' % self._skipped
            self._skipped = 0
            return text
        _, event = self._events.popitem(last=False)
        self._size_bytes -= len(event.text)
        return event.text
