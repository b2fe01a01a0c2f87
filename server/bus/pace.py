"""How fast one client may be sent to, and when it is given up: a pure policy."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """When a client counts as slow, and when as lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_unsent_bytes: int = Field(default=4 << 20, gt=0)
    """More than this waiting for one client halves its rate."""
    slow_after_s: float = Field(default=2.0, gt=0)
    """No byte taken for so long halves its rate."""
    close_after_s: float = Field(default=10.0, gt=0)
    """No byte taken for so long closes the connection; it may resume."""
    first_interval_s: float = Field(default=0.05, gt=0)
    """Between updates of one key after the first halving; doubled at each further one."""
    max_interval_s: float = Field(default=3.2, gt=0)


class Verdict(Enum):
    KEEP = "keep"
    CLOSE = "close"


class Pace:
    """Watches what one client takes; `interval_s` is the least time between two updates of the same key."""

    def __init__(self, config: Config, now: float) -> None:
        self._config = config
        self._taken_bytes = 0
        self._progress = now
        self._judged = now
        self.interval_s = 0.0
        self.num_halvings = 0

    def observe(self, taken_bytes: int, unsent_bytes: int, now: float) -> Verdict:
        """Judge by all the bytes the client has ever taken and those that wait for it (seconds, monotonic)."""
        if taken_bytes > self._taken_bytes or unsent_bytes == 0:
            self._taken_bytes, self._progress = taken_bytes, now
        stuck_s = now - self._progress
        if stuck_s >= self._config.close_after_s:
            return Verdict.CLOSE
        if now - self._judged >= self._config.slow_after_s:
            self._judged = now
            if stuck_s >= self._config.slow_after_s or unsent_bytes > self._config.max_unsent_bytes:
                self._halve()
            elif self.interval_s and unsent_bytes <= self._config.max_unsent_bytes // 16:
                self._recover()
        return Verdict.KEEP

    def _halve(self) -> None:
        self.num_halvings += 1
        self.interval_s = min(2 * self.interval_s or self._config.first_interval_s, self._config.max_interval_s)

    def _recover(self) -> None:
        slower = self.interval_s / 2
        self.interval_s = slower if slower >= self._config.first_interval_s else 0.0
