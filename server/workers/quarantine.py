"""Which keyframe kills workers. Pure policy, no clock.

A worker that dies takes its evidence with it: all that is known is the window it was working on. The newest keyframe
is the first suspect, and whoever was a suspect before and is in the window again; two strikes, and a keyframe is never
sent to a worker again. A window that succeeds clears every keyframe in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from mapping.changes import KeyframeId

MAX_REMEMBERED = 4096


class Quarantine:
    """Strikes per keyframe; the oldest are forgotten beyond a bound."""

    def __init__(self, strikes: int = 2) -> None:
        self._limit = strikes
        self._strikes: OrderedDict[KeyframeId, int] = OrderedDict()

    def __contains__(self, keyframe: KeyframeId) -> bool:
        return self._strikes.get(keyframe, 0) >= self._limit

    def __len__(self) -> int:
        return sum(strikes >= self._limit for strikes in self._strikes.values())

    def died(self, window: Sequence[KeyframeId]) -> None:
        """A worker died on this window (oldest keyframe first, the newest last)."""
        for keyframe in window:
            if keyframe in self._strikes or keyframe == window[-1]:
                self._strikes[keyframe] = self._strikes.get(keyframe, 0) + 1
                self._strikes.move_to_end(keyframe)
        while len(self._strikes) > MAX_REMEMBERED:
            self._strikes.popitem(last=False)

    def succeeded(self, window: Sequence[KeyframeId]) -> None:
        """A worker survived this window (even if all it had to say was an error)."""
        for keyframe in window:
            self._strikes.pop(keyframe, None)
