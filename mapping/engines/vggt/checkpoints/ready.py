"""A network with its weights, and where they came from."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from mapping.engines.vggt.checkpoints import checkpoint, files, hub, seeded
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.devices import chosen
from mapping.engines.vggt.model.architecture import TINY, VGGT_1B, Architecture
from mapping.engines.vggt.model.precision import interleave, shorten
from mapping.engines.vggt.model.vggt import Vggt

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a map made with these weights must say about them."""

    weights: str
    licence: str
    sha256: str
    """Empty for seeded weights."""


def ready(config: Config, *, has_points: bool = False, has_tracks: bool = False) -> tuple[Vggt, Provenance]:
    """The network of a config on its device, with weights.

    Raises:
        CheckpointError: the weights cannot be found or do not fit.
        ValueError: PyTorch cannot use the device.
    """
    device = device_of(config)
    if device.type == "cpu" and config.threads:
        torch.set_num_threads(config.threads)
    is_seeded = config.weights == "seeded"
    paths, licence = ((), "none") if is_seeded else hub.locate(config.weights, stated_licence=config.licence)
    network = blank(_sizes(config), device, dtype_of(config, device), has_points=has_points, has_tracks=has_tracks)
    if is_seeded:
        seeded.fill(network)
        return network, Provenance(config.weights, licence, "")
    checkpoint.load(network, paths)
    provenance = Provenance(config.weights, licence, files.digest(paths))
    _log.info("weights %s, licence: %s, sha256 %s", provenance.weights, licence, provenance.sha256)
    return network, provenance


def check(config: Config) -> None:
    """Whether the weights, which are on this machine, fit the network; none of their numbers are read.

    Raises:
        CheckpointError: they do not.
    """
    if config.weights == "seeded":
        return
    with torch.device("meta"):
        network = Vggt(_sizes(config))
    checkpoint.check(network, hub.locate(config.weights)[0])


def blank(
    sizes: Architecture, device: torch.device, dtype: torch.dtype, *, has_points: bool = False, has_tracks: bool = False
) -> Vggt:
    """A network as it runs on a device, its products in `dtype`; its weights are whatever lay in memory."""
    with torch.device("meta"):
        network = Vggt(sizes, has_points=has_points, has_tracks=has_tracks)
    shorten(network, dtype)
    if device.type == "cuda":
        interleave(network)
    return network.to_empty(device=device).eval().requires_grad_(False)


def device_of(config: Config) -> torch.device:
    """Where the network of a config runs.

    Raises:
        ValueError: PyTorch cannot use that device.
    """
    return chosen(config.device)


def dtype_of(config: Config, device: torch.device) -> torch.dtype:
    if config.dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[config.dtype]
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _sizes(config: Config) -> Architecture:
    return {"1b": VGGT_1B, "tiny": TINY}[config.architecture]
