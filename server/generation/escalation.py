"""What to do with a worker that does not do as it is told, pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """How much patience there is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_park_ms: float = Field(default=50.0, gt=0)
    park_blocks: float = Field(default=3.0, gt=0)
    """A worker that is not parked after so many of its blocks (and the time above) is stopped by SIGSTOP."""
    beat_timeout_s: float = Field(default=20.0, gt=0)
    """One that was silent for so long is killed. Compiling or loading may keep it from speaking for seconds."""
    cancel_grace_s: float = Field(default=0.12, gt=0)
    """One that does not let go of a cancelled job is killed."""
    job_timeout_s: float = Field(default=900.0, gt=0)
    """Of computing, without the time it was parked."""


class Action(Enum):
    NOTHING = auto()
    STOP = auto()
    GO_ON = auto()
    KILL = auto()


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker with a job, at one instant."""

    raised_ms: float | None
    """Since when perception has the gate raised; None = it has not."""
    is_parked: bool
    is_stoppable: bool
    """It waits for no gate, and expects to be stopped."""
    is_stopped: bool
    block_ms_p99: float
    silent_s: float
    cancelled_s: float | None
    """Since when its job is not wanted any more."""
    computed_s: float


def decide(seen: Seen, config: Config) -> tuple[Action, str]:
    """What to do now, and why."""
    if seen.cancelled_s is not None and seen.cancelled_s > config.cancel_grace_s:
        return Action.KILL, "it did not let go of a cancelled job"
    if seen.is_stopped:
        return (Action.GO_ON, "") if seen.raised_ms is None else (Action.NOTHING, "")
    if seen.silent_s > config.beat_timeout_s:
        return Action.KILL, f"it was silent for {seen.silent_s:.1f} s"
    if seen.computed_s > config.job_timeout_s:
        return Action.KILL, f"it took more than {config.job_timeout_s:g} s"
    patience_ms = 0.0 if seen.is_stoppable else max(config.least_park_ms, config.park_blocks * seen.block_ms_p99)
    if seen.raised_ms is not None and not seen.is_parked and seen.raised_ms >= patience_ms:
        return Action.STOP, f"not parked after {seen.raised_ms:.0f} ms"
    return Action.NOTHING, ""
