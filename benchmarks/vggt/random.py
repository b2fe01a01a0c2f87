"""Networks of random weights, made where they run: timings do not depend on what weights say."""

from __future__ import annotations

import math

import torch

from mapping.engines.vggt.checkpoints.ready import blank
from mapping.engines.vggt.model.architecture import Architecture
from mapping.engines.vggt.model.vggt import Vggt


def random_network(sizes: Architecture, device: torch.device) -> Vggt:
    """With its point head, float32, filled on the device by the rule of the seeded weights."""
    network = blank(sizes, device, torch.float32, has_points=True)
    generator = torch.Generator(device).manual_seed(0)
    for name, tensor in network.state_dict().items():
        x = torch.randn(tensor.shape, generator=generator, device=device)
        if "token" in name or "pos_embed" in name:
            tensor.copy_(0.5 * x)
        elif tensor.dim() >= 2:
            tensor.copy_(x / math.sqrt(math.prod(tensor.shape[1:])))
        else:
            tensor.copy_(0.1 * x + (1 if name.endswith((".weight", ".gamma")) else 0))
    return network


def scale_factors(network: Vggt, by: float) -> None:
    """Those that blocks of trunk and camera head multiply what they add by."""
    for name, tensor in network.state_dict().items():
        if name.endswith("gamma") and not name.startswith("aggregator.patch_embed"):
            tensor *= by


def gigabytes(network: Vggt, prefixes: tuple[str, ...] = ("",)) -> float:
    """Of the weights whose names begin so."""
    tensors = [tensor for name, tensor in network.state_dict().items() if name.startswith(prefixes)]
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)) / 1e9
