"""Figures out of paired windows: each growth is of one window against another of the same seconds, and what is told is
the median of them with the interval in which it lies; a window in which others had the core counts for nothing.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Condition = Literal["held", "again", "gated", "ungated"]
"""`again` is `held` once more: what these two differ by is the noise of the measurement."""
CONDITIONS: tuple[Condition, ...] = ("held", "again", "gated", "ungated")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Window:
    """Some calls under each condition, in turns, within the same seconds."""

    latencies_s: Mapping[Condition, Sequence[float]]
    used_s: float
    """Processor time that generation got while it was gated."""
    idle_s: float
    """Meanwhile: what perception left."""
    foreign_share: float
    """Of the core's time: what neither perception nor generation used."""

    def growth(self, condition: Condition, share: float) -> float:
        """Of a quantile, against `held`."""
        held = float(np.quantile(self.latencies_s["held"], share))
        return float(np.quantile(self.latencies_s[condition], share)) / held - 1


@dataclass(frozen=True, slots=True)
class Median:
    """Of some windows, and where it lies in 95 of 100 cases."""

    value: float
    low: float
    high: float


def median(values: Sequence[float]) -> Median:
    """Of independent values of any distribution; the bounds are order statistics, the outermost if there are few."""
    ordered, n = sorted(values), len(values)
    skipped, outside = 0, 0.0
    while skipped < n // 2 and (outside := outside + math.comb(n, skipped) / 2**n) <= 0.025:
        skipped += 1
    lowest = max(skipped - 1, 0)
    return Median(statistics.median(ordered), ordered[lowest], ordered[n - 1 - lowest])


def core_busy_s(core: int) -> float:
    """Processor time that a core has given so far, to anybody."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, line.split()[1:])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def used_s(pids: Iterable[int]) -> float:
    """Processor time of some processes so far; 0 of those that are gone."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS
