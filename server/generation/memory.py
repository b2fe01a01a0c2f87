"""Whether a device has room for a provider: by what its runs really needed, not by what it says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

TRUST_FROM = 5
"""Runs; before, what the provider says counts if it is more."""


class Config(BaseModel):
    """Room that is not generation's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin_gb: float = Field(default=1.0, ge=0)
    perception_gb: float = Field(default=0.0, ge=0)
    """What perception may still come to need: its peak, less what it holds already."""


def needed_gb(declared_gb: float, peaks_gb: Sequence[float]) -> float:
    """What a run is expected to need: the 95th percentile of the peaks, oldest first, that were seen."""
    if not peaks_gb:
        return declared_gb
    learned = sorted(peaks_gb)[min(int(0.95 * len(peaks_gb)), len(peaks_gb) - 1)]
    return learned if len(peaks_gb) >= TRUST_FROM else max(learned, declared_gb)


def fits(free_gb: float | None, needed: float, config: Config) -> bool:
    """Whether it may begin; where nobody knows what is free, it may."""
    return free_gb is None or free_gb - config.perception_gb - config.margin_gb >= needed


def free_gb(device: str) -> float | None:
    """Memory of a device that nobody uses; None = nobody knows. Takes some milliseconds."""
    if device.startswith("cuda:"):
        return _vram(device.partition(":")[2])
    return _ram()


def _vram(index: str) -> float | None:
    if (command := shutil.which("nvidia-smi")) is None:
        return None
    query = [command, f"--id={index}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
        return float(told.stdout.strip()) / 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _ram() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable:")), None)
