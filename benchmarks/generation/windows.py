"""Figures out of paired windows: each growth is of one window against another of the same seconds.

Told are the median of them, and the growth of all calls together, which sees what happens to fewer calls than a window
can show: what befalls 1.5 in 100, the median of quantiles of 100 calls halves. Each comes with the interval in which it
lies. A window in which others had the core counts for nothing.
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
REDRAWN = 500
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
class Figure:
    """Of some windows, and where it lies in 95 of 100 cases."""

    value: float
    low: float
    high: float


def median(values: Sequence[float]) -> Figure:
    """Of independent values of any distribution; the bounds are order statistics, the outermost if there are few."""
    ordered, n = sorted(values), len(values)
    skipped, outside = 0, 0.0
    while skipped < n // 2 and (outside := outside + math.comb(n, skipped) / 2**n) <= 0.025:
        skipped += 1
    lowest = max(skipped - 1, 0)
    return Figure(statistics.median(ordered), ordered[lowest], ordered[n - 1 - lowest])


def pooled(windows: Sequence[Window], condition: Condition, share: float) -> Figure:
    """Growth of a quantile of all windows' calls together; bounds by drawing whole windows anew (Efron's bootstrap).

    Calls are in units of what their window's take while generation is held: the machine's drift is left out.
    """
    kinds: tuple[Condition, ...] = ("held", condition)
    calls = {
        kind: [np.divide(w.latencies_s[kind], np.median(w.latencies_s["held"])) for w in windows] for kind in kinds
    }

    def growth(drawn: Iterable[int]) -> float:
        held, other = (np.quantile(np.concatenate([calls[kind][n] for n in drawn]), share) for kind in kinds)
        return float(other / held) - 1

    chance, everyone = np.random.default_rng(0), range(len(windows))
    draws = [growth(chance.integers(len(windows), size=len(windows)).tolist()) for _ in range(REDRAWN)]
    return Figure(growth(everyone), float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975)))


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
