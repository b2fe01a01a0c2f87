"""Whether a device has room for a provider: by what its runs really needed, not by what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from server.devices import visible_to

TRUST_FROM = 5
"""Runs; before, what the provider says counts if it is more."""
MORE = 1.25
"""So much more than was expected is what a run that ran out of memory is thought to need."""


class Config(BaseModel):
    """Room that is not generation's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin_gb: float = Field(default=1.0, ge=0)
    perception_gb: float = Field(default=0.0, ge=0)
    """What perception may still come to need: its peak, less what it holds already."""
    remember_s: float = Field(default=86400.0, gt=0)
    """What a run needed says nothing any more after this: inputs and versions change."""

    @property
    def reserved_gb(self) -> float:
        return self.margin_gb + self.perception_gb


@dataclass(frozen=True, slots=True)
class Room:
    """Memory of a device."""

    free_gb: float
    """That nobody uses."""
    total_gb: float


def needed_gb(declared_gb: float, peaks_gb: Sequence[float]) -> float:
    """What a run is expected to need: the 95th percentile of the peaks, oldest first, that were seen."""
    if not peaks_gb:
        return declared_gb
    learned = sorted(peaks_gb)[min(int(0.95 * len(peaks_gb)), len(peaks_gb) - 1)]
    return learned if len(peaks_gb) >= TRUST_FROM else max(learned, declared_gb)


def after_too_little(expected_gb: float, seen_gb: float, room: Room | None, config: Config) -> float:
    """What to expect of a run that ran out of memory: a step more, and never more than there can be.

    Args:
        expected_gb: before it ran.
        seen_gb: its peak, as far as it was told.
    """
    step_gb = MORE * max(expected_gb, seen_gb)
    return step_gb if room is None else min(step_gb, max(room.total_gb - config.reserved_gb, 0.0))


def fits(room: Room | None, needed: float, config: Config, *, given_back_gb: float = 0.0) -> bool:
    """Whether a run may begin; where nobody knows what is free, it may.

    Args:
        given_back_gb: what idle workers would give back.
    """
    return room is None or room.free_gb + given_back_gb - config.reserved_gb >= needed


def never_fits(room: Room | None, needed: float, config: Config) -> bool:
    """Whether there would be too little even with nothing else on the device."""
    return room is not None and needed > room.total_gb - config.reserved_gb


def room_on(device: str) -> Room | None:
    """None = nobody knows. Takes some milliseconds."""
    if device.startswith("cuda:"):
        return _vram(visible_to(device, os.environ.get("CUDA_VISIBLE_DEVICES")))
    return _ram()


def _vram(id: str) -> Room | None:
    """`id` is a number, or `GPU-...`."""
    if (command := shutil.which("nvidia-smi")) is None:
        return None
    query = [command, f"--id={id}", "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
        free_mb, total_mb = map(float, told.stdout.strip().split(","))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Room(free_mb / 1024, total_mb / 1024)


def _ram() -> Room | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kb = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest}
    if not {"MemAvailable", "MemTotal"} <= kb.keys():
        return None
    return Room(kb["MemAvailable"] / 2**20, kb["MemTotal"] / 2**20)
