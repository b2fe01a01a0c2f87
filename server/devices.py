"""What this machine computes on, and which geometry engine suits it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from mapping import engines

AUTO = "auto"
_NAME = re.compile(r"auto|(cpu|cuda)(:\d+)?")
_NVIDIA = Path("/proc/driver/nvidia/gpus")


def gpus(driver: Path = _NVIDIA) -> list[str]:
    """`cuda:0`, `cuda:1`, ... as many as the NVIDIA driver lists and `CUDA_VISIBLE_DEVICES` leaves to this process.

    Asks no heavy library.
    """
    try:
        there = len(list(driver.iterdir()))
    except OSError:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [f"cuda:{n}" for n in range(there if visible is None else min(there, len(_listed(visible))))]


def visible_to(device: str, visible: str | None) -> str:
    """What `CUDA_VISIBLE_DEVICES` has to be for a child that works on one device; to the child a GPU is `cuda:0` then.

    Args:
        visible: the variable as this process has it; `cuda:1` is the second of those that it names.

    Raises:
        ValueError: it does not name so many.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return ""
    if visible is None:
        return index or "0"
    names = _listed(visible)
    if int(index or 0) >= len(names):
        raise ValueError(f"there is no {device}: CUDA_VISIBLE_DEVICES={visible!r} leaves {len(names)} GPUs")
    return names[int(index or 0)]


def environment(device: str) -> dict[str, str]:
    """What a child that works on one device needs to see it alone; GPUs are counted as the driver does.

    Raises:
        ValueError: there is no such GPU.
    """
    visible = visible_to(device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}


def unit(device: str) -> str:
    """What is shared: of all workers on the CPU `cpu`, of a GPU itself."""
    return "cpu" if device.partition(":")[0] == "cpu" else device


def _listed(visible: str) -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names: those before the first that is none."""
    return list(takewhile(lambda name: name not in ("", "-1"), map(str.strip, visible.split(","))))


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
    """Devices as people write them: `auto`, `cpu`, `0,1` (GPUs), `cuda:0,cpu`; `cpu,cpu` is two workers on the CPU.

    Raises:
        ValueError: it is none of these, or names a GPU twice.
    """
    names = [f"cuda:{part}" if part.isdecimal() else part for part in map(str.strip, text.split(","))]
    if names.count("cpu") > 1:
        numbers = count()
        names = [f"cpu:{next(numbers)}" if name == "cpu" else name for name in names]
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong or (AUTO in names and len(names) > 1) or len(set(names)) < len(names):
        raise ValueError(f"devices are `auto`, `cpu`, or GPUs by number (`0,1`), each once; got {text!r}")
    return tuple(names)


def choose_devices(devices: Sequence[str], engine: str) -> tuple[str, ...]:
    """`auto` is every GPU for vggt, and the CPU for all else."""
    if tuple(devices) != (AUTO,):
        return tuple(devices)
    return tuple(gpus()) or ("cpu",) if engine == "vggt" else ("cpu",)
