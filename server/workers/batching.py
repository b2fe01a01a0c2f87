"""How many windows that wait go to a device together: as many as made one cheapest so far. Pure policy, no clock."""

from __future__ import annotations

from collections import deque
from statistics import median

from pydantic import BaseModel, ConfigDict, Field

_RUNS = 3
"""A cost is the median of so many: an engine that compiles or records a new shape is slow once."""


class Config(BaseModel):
    """Whether and how windows of several phones are put together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    most: int = Field(default=4, ge=1)
    """Windows at once; 1 = never together. The engine may want fewer."""
    gain: float = Field(default=0.05, ge=0, lt=1)
    """Together has to be cheaper by this share: who waits for others answers later."""
    retry_after: int = Field(default=200, ge=1)
    """After so many choices a number that was not the best is measured again: loads change."""


class Batching:
    """Learns what windows cost by how many ran together, and chooses how many shall."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._seconds: dict[int, deque[float]] = {}
        """Per window and view, of the last runs, by how many ran together."""
        self._choices = 0

    def choose(self, waiting: int, together: int) -> int:
        """How many of `waiting` windows run now, on an engine that takes up to `together`."""
        most = min(waiting, together, self._config.most)
        if most <= 1:
            return 1
        self._choices += 1
        if self._choices % self._config.retry_after == 0:
            self._seconds.pop(most, None)
        unknown = [n for n in range(1, most + 1) if len(self._seconds.get(n, ())) < _RUNS]
        if unknown:
            return unknown[0]
        cost = {n: median(self._seconds[n]) for n in range(1, most + 1)}
        best = min(cost, key=cost.__getitem__)
        return best if cost[best] < (1 - self._config.gain) * cost[1] else 1

    def learn(self, count: int, seconds: float) -> None:
        """`count` windows ran together and took so long in all, for each view of one: windows differ in length."""
        self._seconds.setdefault(count, deque(maxlen=_RUNS)).append(seconds / count)
