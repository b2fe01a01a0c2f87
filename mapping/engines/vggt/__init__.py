"""VGGT (Wang et al. 2025) by our own hand: a window of pictures to poses, depth and confidence in one pass.

Enters: a window. Leaves: depth and confidence of its newest view, poses of all, in the frame and unit of the priors
where the views have some. Needs PyTorch (`pip install commonground[vggt]`) and, unless a test asks for seeded weights,
a published checkpoint, which is never bundled and has a licence of its own. Torch is imported nowhere else.

`engine.py` tells the story: views are laid out and encoded (`token_cache.py`), the network is asked (`passes.py`, which
replays what a GPU has seen before, in the memory that `admission.py` knows of), and what it said becomes the window's
own (`answers.py`). `model/` is the network, `checkpoints/` its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from mapping.engines import GeometryEngine
from mapping.engines.vggt.config import Config
from mapping.windows import Config as WindowsConfig

__all__ = ["WINDOWS", "Config", "create", "fetch", "missing", "unfit"]

WINDOWS = WindowsConfig(recent=8, retrieved=8, elsewhere=2, anchors=1)

_PACKAGES = ("torch", "safetensors", "huggingface_hub")


def missing(config: Config) -> str | None:
    """What this machine lacks, and what to do about it; None = nothing. Loads neither PyTorch nor weights."""
    for package in _PACKAGES:
        if find_spec(package) is None:
            return f"{package} is not installed: pip install 'commonground[vggt]'"
    if config.weights == "seeded":
        return None
    from mapping.engines.vggt.checkpoints.files import CheckpointError, find
    from mapping.engines.vggt.checkpoints.published import cached, published

    path = Path(config.weights).expanduser()
    try:
        if path.exists():
            find(path)
            return None
        source = published(config.weights, config.licence)
        if cached(source.repository):
            return None
    except CheckpointError as error:
        return str(error)
    return (
        f"the weights {config.weights} are not on this machine: the first start fetches them from {source.page}, "
        f"if they are there (licence: {source.licence}), or give their path"
    )


def unfit(config: Config, device: str) -> str | None:
    """What is missing, or else why it could not start on a device; loads PyTorch and the files' lists of tensors."""
    if (lack := missing(config)) is not None:
        return lack
    from mapping.engines.vggt.checkpoints.ready import check
    from mapping.engines.vggt.devices import unusable

    for name in (device, config.device):
        if name != "auto" and (reason := unusable(name)) is not None:
            return reason
    try:
        check(config)
    except ValueError as error:
        return str(error)
    return None


def fetch(config: Config, tell: Callable[[str], None]) -> None:
    """Download the weights if they are not on this machine.

    Raises:
        ValueError: they cannot be had (a `CheckpointError`), or PyTorch could not use them on its device.
    """
    if config.weights == "seeded" or missing(config) is None:
        return
    from mapping.engines.vggt.checkpoints.hub import locate
    from mapping.engines.vggt.checkpoints.ready import device_of

    device_of(config)  # gigabytes are not fetched for a device that is not there
    locate(config.weights, tell, stated_licence=config.licence)


def create(config: Config) -> GeometryEngine:
    """Make the engine; this finds, downloads where need be, and loads its weights.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the weights cannot be found or do not fit (a `CheckpointError`, which names file and tensor), or
            PyTorch cannot use the device.
    """
    try:
        from mapping.engines.vggt.engine import VggtEngine
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error.name} is not installed: pip install 'commonground[vggt]'", name=error.name
        ) from error
    return VggtEngine.load(config)
