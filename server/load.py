"""What gives way when the host cannot keep up. Pure policy: every method that needs the time is given it.

The measure is how long phones' newest frames wait for their poses. In time, nothing is held back. Late, work behind the
poses rests after each step, the less urgent the longer: recognition first, then what is built to be looked at, then
keyframes; so all of it still goes on. Later still, every phone's frames are tracked a little further apart, all phones'
alike: fewer poses, but fresh ones.
"""

from __future__ import annotations

import enum

from pydantic import BaseModel, ConfigDict, Field


class Work(enum.Enum):
    """What runs behind the poses, the most urgent first; the value is how long it rests per second worked and late."""

    KEYFRAME = 1.0
    BUILD = 3.0
    RECOGNISE = 6.0


class Config(BaseModel):
    """When poses count as late, and how far work may be held back for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_time_s: float = Field(default=0.04, gt=0)
    """Up to this age of an answered pose, nothing gives way."""
    late_s: float = Field(default=0.1, gt=0)
    """At this age the host counts as saturated."""
    memory_s: float = Field(default=1.0, gt=0)
    """Time in which an old measurement loses most of its weight."""
    max_rest_s: float = Field(default=0.5, gt=0)
    """Longest pause after one step of work: late or not, it goes on."""
    max_interval_s: float = Field(default=0.1, gt=0)
    """Longest time between two tracked frames of a phone, where it sends enough."""


class Load:
    """How late poses are, as one number, and what follows from it."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._age_s = 0.0
        self._at = 0.0

    def posed(self, age_s: float, now: float) -> None:
        """A pose left for its phone; `age_s` is the time since its frame was taken up, on our own clock."""
        weight = min(1.0, 0.1 + max(0.0, now - self._at) / self._config.memory_s)
        self._age_s += weight * (max(0.0, age_s) - self._age_s)
        self._at = max(self._at, now)

    def pressure(self, now: float) -> float:
        """0 while poses are in time, 1 when they are late, and beyond; fades when no more come."""
        config = self._config
        fading = max(0.0, 1.0 - max(0.0, now - self._at - config.memory_s) / config.memory_s)
        return fading * max(0.0, self._age_s - config.in_time_s) / max(config.late_s - config.in_time_s, 1e-6)

    def is_saturated(self, now: float) -> bool:
        """The host does not keep up: poses are late whatever gave way."""
        return self.pressure(now) >= 1.0

    def rest_s(self, work: Work, spent_s: float, now: float) -> float:
        """How long to let the poses go first after a step of work that took so long."""
        return min(self._config.max_rest_s, work.value * max(0.0, spent_s) * self.pressure(now))

    def interval_s(self, now: float) -> float:
        """Least time between the frames of one phone that are tracked; 0 = all of them."""
        beyond = self.pressure(now) - 0.5
        return min(self._config.max_interval_s, max(0.0, beyond) * self._config.late_s)
