"""Tiles that wait to be built, each at most once in a while: a policy without a clock of its own.

A tile that came out about as large as before is calm: what changes in it is noise, and each time in a row that it is
calm it is built half as often, down to a limit. As soon as it grows or shrinks it is fast again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from navmesh.tiles import TileKey

CALM_SHARE = 1 / 30
"""A size that differs by less is the same."""


@dataclass(frozen=True, slots=True)
class _Built:
    at_s: float
    size: int
    period_s: float

    @property
    def next_s(self) -> float:
        return self.at_s + self.period_s


class Paced:
    """Bound: one entry a tile of the map."""

    def __init__(self, period_s: float, calm_period_s: float | None = None) -> None:
        """A tile is due again `period_s` after it was built, a calm one after up to `calm_period_s`."""
        self._period_s, self._calm_period_s = period_s, max(period_s, calm_period_s or period_s)
        self._dirty: set[TileKey] = set()
        self._built: dict[TileKey, _Built] = {}

    def __len__(self) -> int:
        """How many wait, due or not."""
        return len(self._dirty)

    def mark(self, keys: Iterable[TileKey]) -> None:
        self._dirty.update(keys)

    def due(self, now_s: float) -> set[TileKey]:
        return {key for key in self._dirty if self._next_s(key) <= now_s}

    def wait_s(self, now_s: float) -> float | None:
        """How long until one of those that wait is due; None = none waits."""
        next_s = min(map(self._next_s, self._dirty), default=None)
        return None if next_s is None else max(0.0, next_s - now_s)

    def built(self, sizes: Mapping[TileKey, int], now_s: float) -> None:
        """These were built, and came out so large, in whatever unit."""
        for key, size in sizes.items():
            self._dirty.discard(key)
            before = self._built.get(key)
            is_calm = before is not None and abs(size - before.size) <= CALM_SHARE * before.size
            period_s = min(2 * before.period_s, self._calm_period_s) if before and is_calm else self._period_s
            self._built[key] = _Built(now_s, size, period_s)

    def hurry(self) -> None:
        """Let every dirty tile be due: what was built is of a world that is gone."""
        self._built.clear()

    def _next_s(self, key: TileKey) -> float:
        built = self._built.get(key)
        return -math.inf if built is None else built.next_s
