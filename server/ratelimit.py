"""How often somebody may ask: one token bucket per client, of bounded number. Pure: `now` comes in."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Requests that change something, and new connections, per address and per token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_s: float = Field(default=20.0, gt=0)
    burst: int = Field(default=60, gt=0)
    frames_per_s: float = Field(default=120.0, gt=0)
    """Of posed frames, which come in quicker than other requests."""
    queries_per_s: float = Field(default=200.0, gt=0)
    """Of questions about a map; each one of a batch counts, a line of sight four times."""
    max_clients: int = Field(default=10_000, gt=0)
    """Buckets remembered; the ones unused for longest are forgotten."""


class RateLimiter:
    """Token buckets by key; a key that was forgotten starts full."""

    def __init__(self, per_s: float, burst: int, max_clients: int = 10_000) -> None:
        self._per_s, self._burst, self._max_clients = per_s, burst, max_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """0 when the request may go on, else the seconds to wait before it would; never for a cost above `burst`."""
        tokens, then = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + max(0.0, now - then) * self._per_s)
        allowed = tokens >= cost
        self._buckets[key] = (tokens - cost if allowed else tokens, now)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (cost - tokens) / self._per_s
