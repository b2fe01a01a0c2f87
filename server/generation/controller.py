"""Keeps what generation costs perception below a target, pure: compares, and gives generation less time or more.

Perception's calls drift (scenes change, phones come and go), so with and without generation is compared in pairs: now
and then the lane holds generation for a window, and the calls in it stand against those around it. Too much growth
halves generation's share of the time, enough room adds a little (AIMD); growth beyond the hard limit holds it at once,
for a while.
"""

from __future__ import annotations

from collections import deque

from pydantic import BaseModel, ConfigDict, Field

from server.generation.gate import Call


class Config(BaseModel):
    """What generation may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_growth: float = Field(default=0.05, gt=0)
    """Of the 99th percentile of perception's calls."""
    hard_growth: float = Field(default=0.10, gt=0)
    window_s: float = Field(default=1.0, gt=0)
    off_every: int = Field(default=12, ge=2)
    """One window in so many is held, to compare with."""
    cool_down_s: float = Field(default=15.0, ge=0)
    least_calls: int = Field(default=50, ge=5)
    """Of each kind, before anything is concluded."""
    remembered: int = Field(default=1000, ge=100)
    """Calls with generation; without, in proportion, but at least a tenth."""


class Controller:
    """Of one device. `hold` is asked at every tick, `note` is told of the calls that ended meanwhile."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._on_s: deque[float] = deque(maxlen=config.remembered)
        self._off_s: deque[float] = deque(maxlen=max(config.remembered // 5, 100))
        self._window = -1
        self._is_held = False
        self._turned_ns = 0
        self._credit = 0.0
        self._cool_until_s = 0.0
        self.duty = 1.0
        """Share of the windows in which generation may run."""

    def note(self, calls: list[Call]) -> None:
        """Calls of perception that ended; those that began before the last change of mind say nothing."""
        for call in calls:
            if call.began_ns > self._turned_ns:
                (self._off_s if self._is_held else self._on_s).append((call.ended_ns - call.began_ns) / 1e9)

    def growth(self) -> float | None:
        """Of the 99th percentile (the 90th while there are few calls) with generation; None = not known yet."""
        least = self._config.least_calls
        if min(len(self._on_s), len(self._off_s)) < least:
            return None
        share = 0.99 if self._knows_tail else 0.90
        without = _quantile(self._off_s, share)
        return _quantile(self._on_s, share) / without - 1 if without > 0 else None

    def hold(self, now_s: float, has_calls: bool) -> bool:
        """Whether generation is to be held now; `has_calls`: perception is at work at all."""
        c = self._config
        window = int(now_s / c.window_s)
        if window != self._window:
            self._window = window
            self._judge(now_s)
            held = has_calls and (window % c.off_every == 0 or now_s < self._cool_until_s or not self._earned())
            if held != self._is_held:
                self._is_held, self._turned_ns = held, int(now_s * 1e9)
        return self._is_held

    @property
    def _knows_tail(self) -> bool:
        """Whether there are enough calls without generation to speak of their 99th percentile."""
        return len(self._off_s) >= 100

    def _earned(self) -> bool:
        self._credit = min(self._credit + self.duty, 1.0 + self.duty)
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def _judge(self, now_s: float) -> None:
        growth = self.growth()
        if growth is None or now_s < self._cool_until_s:
            return
        if growth > self._config.hard_growth:
            self._cool_until_s = now_s + self._config.cool_down_s
            self.duty = max(self.duty / 2, 0.05)
            self._on_s.clear()  # judged: the next verdict is about what comes
        elif growth > self._config.target_growth and self._knows_tail:
            self.duty = max(self.duty / 2, 0.05)
            self._on_s.clear()
        else:
            self.duty = min(self.duty + 0.05, 1.0)


def _quantile(values: deque[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
