"""On which device the network runs; a GPU that was asked for and cannot be used is an error, never the CPU."""

from __future__ import annotations

import os

import torch

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def chosen(name: str) -> torch.device:
    """The device of that name; `auto` is the GPU where this process was given one or sees one, else the CPU.

    A process was given a GPU where `CUDA_VISIBLE_DEVICES` names one, as in a worker of `cuda:3`.

    Raises:
        ValueError: PyTorch cannot use it; says why and what to do.
    """
    if name == "auto":
        is_given = os.environ.get(_VISIBLE, "").strip()[:1] not in ("", "-")
        name = "cuda" if is_given or torch.cuda.is_available() else "cpu"
    if (reason := unusable(name)) is not None:
        raise ValueError(reason)
    return torch.device(name)


def unusable(name: str) -> str | None:
    """Why PyTorch cannot use a device, and what to do about it; None = it can."""
    try:
        device = torch.device(name)
    except RuntimeError:
        return f"{name!r} is no device of PyTorch; name cpu, cuda, or cuda:1"
    if device.type != "cuda":
        return None
    visible = os.environ.get(_VISIBLE)
    asked = name if visible is None else f"{name} ({_VISIBLE}={visible})"
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        built = f"PyTorch {torch.__version__} is built for the CPU only"
        return f"{asked} cannot be used: {built}; install a build with CUDA (see pytorch.org), or use the device cpu"
    count = torch.cuda.device_count()
    if count == 0:
        return f"{asked} cannot be used: PyTorch sees no GPU; does `nvidia-smi` list it? Else use the device cpu"
    if (device.index or 0) >= count:
        return f"{asked} cannot be used: PyTorch sees only {count} GPU{'s' if count > 1 else ''}, counted from 0"
    return None
