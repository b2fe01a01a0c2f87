"""Which numbers a network computes in: short ones where there is much work, float32 where errors add up or show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mapping.engines.vggt.model.vggt import Vggt

_PRODUCTS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def shorten(network: Vggt, dtype: torch.dtype) -> None:
    """Have trunk and dense heads make their products in `dtype`.

    All else stays float32: tokens, norms and the stream between blocks, as where the published network is autocast; the
    camera head, whose rounds add up; and the last convolution of the dense heads, whose output is an exponent.
    """
    heads = [head for head in (network.depth_head, network.point_head) if head is not None]
    for part in (network.aggregator, *heads):
        for module in part.modules():
            if isinstance(module, _PRODUCTS):
                module.to(dtype)
    for head in heads:
        head.scratch.output_conv2[-1].float()


def interleave(network: Vggt) -> None:
    """Lay the dense heads' channels side by side in memory, as a GPU's convolutions read them."""
    for head in (network.depth_head, network.point_head):
        if head is not None:
            for module in head.modules():
                if isinstance(module, _PRODUCTS[1:]):
                    module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


@contextmanager
def whole_float32() -> Iterator[None]:
    """Inside, float32 has all of its digits: on a GPU, convolutions would round their factors to 10 bits (TF32)."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
