"""How a job goes that runs: what changes many times a second, and is told but not written down."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from server.jobs.progress import Shown
from server.jobs.values import State

NOTHING = Shown("", 0.0, None)


@dataclass(frozen=True, slots=True)
class Live:
    """What is known of a job that runs, and is not worth writing down."""

    phase: State = "loading"
    """`loading`, `running` or `yielding`."""
    shown: Shown = NOTHING
    yielded_ms: float = 0.0

    @property
    def told(self) -> tuple[str, str, float]:
        """What is worth telling those who watch, when it changes."""
        return self.phase, self.shown.stage, round(self.shown.fraction, 3)

    @property
    def quarter(self) -> int:
        """How many quarters of it are done."""
        return int(4 * self.shown.fraction)

    def json(self, job: str) -> bytes:
        """What is told of it."""
        told = {"type": "job.progress", "job": job, "state": self.phase, "stage": self.shown.stage}
        figures = {"progress": self.shown.fraction, "eta_s": self.shown.eta_s, "yielded_ms": self.yielded_ms}
        return msgspec.json.encode(told | figures)
