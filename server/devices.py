"""What this machine computes on, and which geometry engine suits it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from mapping import engines

AUTO = "auto"
_NVIDIA = Path("/proc/driver/nvidia/gpus")


def gpus(driver: Path = _NVIDIA) -> list[str]:
    """`cuda:0`, `cuda:1`, ... as the NVIDIA driver lists them; asks no heavy library."""
    try:
        return [f"cuda:{i}" for i, _ in enumerate(sorted(driver.iterdir()))]
    except OSError:
        return []


def choose_engine(name: str) -> str:
    """`auto` is vggt where there are a GPU and torch, else classical; any other name is itself."""
    if name != AUTO:
        return name
    has_torch = importlib.util.find_spec("torch") is not None
    return "vggt" if gpus() and has_torch and "vggt" in engines.available() else "classical"


def choose_devices(devices: Sequence[str], engine: str) -> tuple[str, ...]:
    """`auto` is every GPU for vggt, and the CPU for all else."""
    if tuple(devices) != (AUTO,):
        return tuple(devices)
    return tuple(gpus()) or ("cpu",) if engine == "vggt" else ("cpu",)
