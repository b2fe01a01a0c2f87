"""The server's clock as a client knows it: the offset of the ping with the shortest round trip lately (as NTP does)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class ServerClock:
    """Offsets of the last `capacity` exchanges; all times in Unix ns of the side that names them."""

    capacity: int = 16
    _samples: deque[tuple[int, int]] = field(default_factory=deque)
    _greeting_ns: int = 0

    def greet(self, server_ns: int, local_ns: int) -> None:
        """A first guess, one way: the server's clock in its greeting."""
        self._greeting_ns = server_ns - local_ns

    def add(self, t0_ns: int, t1_ns: int, t2_ns: int, t3_ns: int) -> None:
        """One exchange: sent here at t0, received there at t1, answered there at t2, received here at t3."""
        rtt = (t3_ns - t0_ns) - (t2_ns - t1_ns)
        if rtt < 0:
            return  # one of the clocks was set meanwhile
        self._samples.append((rtt, ((t1_ns - t0_ns) + (t2_ns - t3_ns)) // 2))
        while len(self._samples) > self.capacity:
            self._samples.popleft()

    @property
    def offset_ns(self) -> int:
        """Server clock minus local clock."""
        return min(self._samples)[1] if self._samples else self._greeting_ns

    @property
    def rtt_ns(self) -> int | None:
        return min(self._samples)[0] if self._samples else None
