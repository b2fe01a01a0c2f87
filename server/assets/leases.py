"""Who holds which version right now: kept alive by pings, gone with a crash. Pure: `now` comes in.

A client says all it holds each time, so nothing has to be given back, and a lost message is repaired by the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from server.assets.values import Ref

MAX_HELD = 256


@dataclass(frozen=True, slots=True)
class Held:
    """One version in one slot of one client."""

    slot: str
    what: Ref


class Leases:
    """Bounded: `MAX_HELD` of each client, `max_clients` clients; a client more is not counted until one expires."""

    def __init__(self, ttl_s: float, max_clients: int = 4096) -> None:
        self._ttl_ns, self._max_clients = int(ttl_s * 1e9), max_clients
        self._held: dict[str, tuple[int, frozenset[Held]]] = {}

    def renew(self, client: str, held: Iterable[Held] | None, now_ns: int) -> None:
        """This is all the client holds; None = as before."""
        self.expire(now_ns)
        if held is None:
            held = self._held[client][1] if client in self._held else ()
        everything = frozenset(tuple(held)[:MAX_HELD])
        if not everything:
            self._held.pop(client, None)
        elif client in self._held or len(self._held) < self._max_clients:
            self._held.pop(client, None)
            self._held[client] = (now_ns + self._ttl_ns, everything)

    def end(self, client: str) -> None:
        """It is gone for good."""
        self._held.pop(client, None)

    def expire(self, now_ns: int) -> None:
        """Forget clients that were not heard of; the dict is in the order of their last words."""
        while self._held:
            client, (until_ns, _) = next(iter(self._held.items()))
            if until_ns > now_ns:
                return
            del self._held[client]

    def usage(self, now_ns: int) -> Counter[str]:
        """Leases by asset."""
        self.expire(now_ns)
        return Counter(held.what.asset for _, everything in self._held.values() for held in everything)

    def refs(self, now_ns: int) -> set[Ref]:
        """Every version that somebody holds."""
        self.expire(now_ns)
        return {held.what for _, everything in self._held.values() for held in everything}
