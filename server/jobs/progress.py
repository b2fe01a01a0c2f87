"""How far a job is, pure: stages weighted by their share of the time, never going back, with the time it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TRUST_FROM = 0.15
"""From here on the run itself says how long it takes; before, what is typical counts as well."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client sees of a running job."""

    stage: str
    fraction: float
    """0..1; never less than before."""
    eta_s: float | None
    """Seconds of the device's time that are still to go; None = nobody knows."""


class Progress:
    """Of one attempt."""

    def __init__(self, stages: Sequence[tuple[str, float]], typical_s: float, now_s: float) -> None:
        """
        Args:
            stages: names and weights, in order.
            typical_s: from its beginning to the end of all stages.
        """
        total = sum(weight for _, weight in stages) or 1.0
        self._spans: dict[str, tuple[float, float]] = {}
        begin = 0.0
        for name, weight in stages:
            self._spans[name] = (begin, weight / total)
            begin += weight / total
        self._typical_s, self._began_s = typical_s, now_s
        self._stage, self._fraction, self._from = "", 0.0, 0.0

    def begin(self, now_s: float) -> None:
        """Only now it really begins; how long what is done already took says nothing of the rest."""
        self._began_s, self._from = now_s, self._fraction

    def update(self, stage: str, fraction: float) -> None:
        """A stage is at 0..1; one that nobody announced changes only the name."""
        begin, span = self._spans.get(stage, (self._fraction, 0.0))
        self._stage = stage
        self._fraction = max(self._fraction, min(begin + span * min(max(fraction, 0.0), 1.0), 1.0))

    def shown(self, now_s: float, parked_s: float = 0.0) -> Shown:
        """As it stands; time for which it was parked says nothing about its speed."""
        ran_s = max(0.0, now_s - self._began_s - parked_s)
        done = (self._fraction - self._from) / (1 - self._from) if self._from < 1 else 1.0
        left_s = max(0.0, self._typical_s - ran_s) if done < TRUST_FROM else None
        if done > 0:
            measured_s = ran_s * (1 - done) / done
            trust = min(1.0, done / TRUST_FROM)
            left_s = measured_s if left_s is None else trust * measured_s + (1 - trust) * left_s
        return Shown(self._stage, self._fraction, left_s)
