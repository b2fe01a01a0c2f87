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

from mapping.engines import GeometryEngine
from mapping.engines.vggt.config import Config
from mapping.windows import Config as WindowsConfig

__all__ = ["WINDOWS", "Config", "create", "fetch", "missing"]

WINDOWS = WindowsConfig(recent=8, retrieved=8, elsewhere=2, anchors=1)

_PACKAGES = ("torch", "safetensors", "huggingface_hub")


def missing(config: Config) -> str | None:
    """What this machine lacks, and what to do about it; None = nothing. Loads neither PyTorch nor weights."""
    for package in _PACKAGES:
        if find_spec(package) is None:
            return f"{package} is not installed: pip install 'commonground[vggt]'"
    from mapping.engines.vggt.checkpoints.published import is_here

    if config.weights == "seeded" or is_here(config.weights):
        return None
    return f"the weights {config.weights} are not on this machine: the first start fetches them, or give their path"


def fetch(config: Config, tell: Callable[[str], None]) -> None:
    """Download the weights if they are not on this machine.

    Raises:
        ValueError: they cannot be had (a `CheckpointError`).
    """
    if config.weights == "seeded" or missing(config) is None:
        return
    from mapping.engines.vggt.checkpoints.hub import locate

    locate(config.weights, tell)


def create(config: Config) -> GeometryEngine:
    """Make the engine; this finds, downloads where need be, and loads its weights.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the weights cannot be found or do not fit (a `CheckpointError`, which names file and tensor).
    """
    try:
        from mapping.engines.vggt.engine import VggtEngine
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error.name} is not installed: pip install 'commonground[vggt]'", name=error.name
        ) from error
    return VggtEngine.load(config)
