"""What this machine computes on, and which geometry engine suits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mapping import engines

AUTO = "auto"
_NVIDIA = Path("/proc/driver/nvidia/gpus")


def gpus(driver: Path = _NVIDIA) -> list[str]:
    """`cuda:0`, `cuda:1`, ... as the NVIDIA driver lists them; asks no heavy library."""
    try:
        return [f"cuda:{i}" for i, _ in enumerate(sorted(driver.iterdir()))]
    except OSError:
        return []


def choose_engine(name: str, options: Mapping[str, Any], driver: Path = _NVIDIA) -> str:
    """`auto` is vggt where there are a GPU, PyTorch and the weights, else classical; any other name is itself."""
    if name != AUTO:
        return name
    if not gpus(driver):
        return "classical"
    try:
        return "classical" if engines.missing("vggt", dict(options)) else "vggt"
    except ValueError:  # the options are another engine's
        return "classical"


def choose_devices(devices: Sequence[str], engine: str) -> tuple[str, ...]:
    """`auto` is every GPU for vggt, and the CPU for all else."""
    if tuple(devices) != (AUTO,):
        return tuple(devices)
    return tuple(gpus()) or ("cpu",) if engine == "vggt" else ("cpu",)
