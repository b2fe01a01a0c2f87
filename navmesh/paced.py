"""Tiles that wait to be built, each at most once in a while: a policy without a clock of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable

from navmesh.tiles import TileKey


class Paced:
    """Bound: one entry a tile of the map."""

    def __init__(self, period_s: float) -> None:
        """A tile is due again `period_s` after it was built."""
        self._period_s = period_s
        self._dirty: set[TileKey] = set()
        self._built_s: dict[TileKey, float] = {}

    def __len__(self) -> int:
        """How many wait, due or not."""
        return len(self._dirty)

    def mark(self, keys: Iterable[TileKey]) -> None:
        self._dirty.update(keys)

    def due(self, now_s: float) -> set[TileKey]:
        long_ago_s = now_s - self._period_s
        return {key for key in self._dirty if self._built_s.get(key, -math.inf) <= long_ago_s}

    def wait_s(self, now_s: float) -> float | None:
        """How long until one of those that wait is due; None = none waits."""
        next_s = min((self._built_s.get(key, -math.inf) + self._period_s for key in self._dirty), default=None)
        return None if next_s is None else max(0.0, next_s - now_s)

    def built(self, keys: Iterable[TileKey], now_s: float) -> None:
        for key in keys:
            self._dirty.discard(key)
            self._built_s[key] = now_s

    def hurry(self) -> None:
        """Let every dirty tile be due: what was built is of a world that is gone."""
        self._built_s.clear()
