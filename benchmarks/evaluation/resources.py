"""What a stretch of work cost this process and its children: CPU seconds and peak memory."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.evaluation.session import Cost

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Meter:
    """Measures while its context lasts. Peaks of several processes add up: an upper bound of their common peak."""

    def __init__(self) -> None:
        self._cpu_s = 0.0
        self._peak_mb = 0.0

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):  # not allowed everywhere: then the peak is that of the whole process
            Path("/proc/self/clear_refs").write_text("5")
        self._cpu_s = -cpu_s()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Take the children that still live into account, so leave before they end."""
        self._cpu_s += cpu_s()
        self._peak_mb = sum(_memory_mb(process, "VmHWM:") for process in (os.getpid(), *_children()))

    def cost(self, wall_s: float, not_ours_s: float) -> Cost:
        """The figures, `not_ours_s` of CPU time taken off."""
        return Cost(self._cpu_s - not_ours_s, wall_s, self._peak_mb)


def cpu_s() -> float:
    """CPU seconds of this process and all its children, those that have ended included."""
    ended = os.times()
    return (
        time.process_time() + ended.children_user + ended.children_system + sum(_cpu_of(child) for child in _children())
    )


def resident_mb() -> float:
    """What this process and its children hold now, not their peaks."""
    return sum(_memory_mb(process, "VmRSS:") for process in (os.getpid(), *_children()))


def _children() -> list[int]:
    """Processes started from any thread of this one."""
    found = []
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in listing.read_text().split()]
    return found


def _cpu_of(pid: int) -> float:
    with contextlib.suppress(OSError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / _TICKS_PER_S
    return 0.0


def _memory_mb(pid: int, kind: str) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(kind):
                return int(line.split()[1]) / 1024
    return 0.0
