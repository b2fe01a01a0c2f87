"""Weights that anyone can make again from their names alone: exactness and timing need no download."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def seeded(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The tensor of that name. Sizes are such that activations neither vanish nor explode in any layer."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    x = rng.standard_normal(shape, dtype=np.float32)
    if "token" in name or "pos_embed" in name:
        return np.float32(0.5) * x
    if len(shape) >= 2:
        return x / np.float32(math.sqrt(math.prod(shape[1:])))
    if name.endswith((".weight", ".gamma")):
        return 1 + np.float32(0.1) * x
    return np.float32(0.1) * x


def fill(network: nn.Module) -> None:
    """Give every entry of the network's state its seeded value."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(torch.from_numpy(seeded(name, tuple(tensor.shape))))
