"""What this machine computes on, and which geometry engine suits it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mapping import engines

AUTO = "auto"
_NAME = re.compile(r"auto|(cpu|cuda)(:\d+)?")
_NVIDIA = Path("/proc/driver/nvidia/gpus")


def gpus(driver: Path = _NVIDIA) -> list[str]:
    """`cuda:0`, `cuda:1`, ... as the NVIDIA driver lists them; asks no heavy library."""
    try:
        return [f"cuda:{i}" for i, _ in enumerate(sorted(driver.iterdir()))]
    except OSError:
        return []


def visible_to(device: str, visible: str | None) -> str:
    """What `CUDA_VISIBLE_DEVICES` has to be for a child that works on one device; to the child a GPU is `cuda:0` then.

    Args:
        visible: the variable as this process has it; `cuda:1` is the second of those that it names.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return ""
    return visible.split(",")[int(index or 0)].strip() if visible else index or "0"


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


def named(text: str) -> tuple[str, ...]:
    """Devices as people write them: `auto`, `cpu`, `0,1` (GPUs), `cuda:0,cpu`.

    Raises:
        ValueError: it is none of these, or names a device twice.
    """
    names = [f"cuda:{part}" if part.isdecimal() else part for part in map(str.strip, text.split(","))]
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong or (AUTO in names and len(names) > 1) or len(set(names)) < len(names):
        raise ValueError(f"devices are `auto`, `cpu`, or GPUs by number (`0,1`), each once; got {text!r}")
    return tuple(names)


def choose_devices(devices: Sequence[str], engine: str) -> tuple[str, ...]:
    """`auto` is every GPU for vggt, and the CPU for all else."""
    if tuple(devices) != (AUTO,):
        return tuple(devices)
    return tuple(gpus()) or ("cpu",) if engine == "vggt" else ("cpu",)
