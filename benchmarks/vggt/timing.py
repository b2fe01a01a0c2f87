"""Seconds and memory of something that a device does again and again."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_WARM_UP_RUNS = 2
"""The first run is the slow one; where runs are recorded, the second one is."""
_LEAST_RUNS, _ENOUGH_S = 3, 2.0


class OutOfTime(Exception):
    """There was no time left for a figure."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one kind of run, warm-up aside."""

    seconds: float
    """Median."""
    runs: int
    working_gb: float | None
    """The most that was allocated at once beyond what was held before, warm-up included; None on the CPU."""
    reserved_gb: float | None
    """Likewise of what the device had to set aside."""


def timed(run: Callable[[], object], device: torch.device, most_runs: int, has_time: Callable[[], bool]) -> Timing:
    """Time `run`, from an idle device to an idle device.

    Raises:
        OutOfTime: the time was over before a warm run had ended.
    """
    is_cuda = device.type == "cuda"
    held = reserved = 0
    if is_cuda:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        held, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    seconds: list[float] = []
    for n in range(_WARM_UP_RUNS + most_runs):
        if not has_time():
            break
        took_s = once_s(run, device)
        if n >= _WARM_UP_RUNS:
            seconds.append(took_s)
        if len(seconds) >= _LEAST_RUNS and sum(seconds) > _ENOUGH_S:
            break
    if not seconds:
        raise OutOfTime
    return Timing(
        sorted(seconds)[len(seconds) // 2],
        len(seconds),
        (torch.cuda.max_memory_allocated(device) - held) / 1e9 if is_cuda else None,
        (torch.cuda.max_memory_reserved(device) - reserved) / 1e9 if is_cuda else None,
    )


def once_s(run: Callable[[], object], device: torch.device) -> float:
    """Seconds from an idle device to an idle device."""
    settle(device)
    began = time.perf_counter()
    run()
    settle(device)
    return time.perf_counter() - began


def settle(device: torch.device) -> None:
    """Wait until the device has nothing to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def why(error: Exception) -> str:
    """Why something has no figure."""
    if isinstance(error, OutOfTime):
        return "not measured: out of time"
    if isinstance(error, torch.OutOfMemoryError):
        return "not measured: out of memory"
    return f"not measured: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
