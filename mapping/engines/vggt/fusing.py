"""What lies between products of matrices, in one compiled kernel each: step by step it crosses memory many times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mapping.engines.vggt.model.layers import Block, Steps
from mapping.engines.vggt.model.rotary import rotation_of

_GRIDS = ((2, 3), (3, 5))
_HEADS, _HEAD, _EPS = 4, 64, 1e-5
_CLOSE = 1e-5
"""Of float32: sums are taken in another order. Shorter numbers may differ by their last digit."""

_log = logging.getLogger(__name__)


def fuse(network: nn.Module, compiled: Callable[..., Any] = torch.compile) -> bool:
    """Have the blocks of the trunk use compiled kernels, if they do what the steps do.

    Args:
        compiled: makes a faster function of a function.

    Returns:
        False where there is no compiler, or a kernel is wrong: everything stays as it was, and a log line says why.
    """
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    like, plain = blocks[0].mlp.fc1.weight, Steps()
    try:
        fused = Steps(*(compiled(getattr(plain, name), dynamic=True) for name in Steps.__slots__))
        with torch.inference_mode():
            wrong = {
                name
                for name, inputs in _samples(like)
                if not _same(getattr(fused, name)(*inputs), getattr(plain, name)(*inputs))
            }
    except Exception as error:  # a compiler fails in many ways
        _log.warning("kernels are not fused: %s", (str(error).splitlines() or [repr(error)])[0])
        return False
    if wrong:
        _log.warning("kernels are not fused: compiled, they say something else: %s", ", ".join(sorted(wrong)))
        return False
    for block in blocks:
        if block.mlp.fc1.weight.dtype == like.dtype:  # the camera head's few tokens are not worth kernels of their own
            block.steps = fused
    return True


def _samples(like: Tensor) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Inputs for each step, as blocks whose products are made like `like` would give them."""
    generator = torch.Generator(like.device).manual_seed(0)
    for grid in _GRIDS:
        rotation = rotation_of(grid, _HEAD, like.device)
        stream = torch.randn(2, len(rotation.cos), _HEADS * _HEAD, generator=generator, device=like.device)
        gain, shift = 1 + 0.1 * stream[0, 0], 0.1 * stream[0, 1]
        queries = stream.view(2, -1, _HEADS, _HEAD).transpose(1, 2).to(like.dtype)
        yield "normed", (stream, gain, shift, _EPS, like.dtype)
        yield "turned", (queries, gain[:_HEAD], shift[:_HEAD], rotation.cos, rotation.sin)
        yield "added", (stream, stream.flip(0).to(like.dtype), gain)


def _same(found: Tensor, exact: Tensor) -> bool:
    digits = max(torch.finfo(exact.dtype).eps, _CLOSE)
    return found.dtype == exact.dtype and torch.allclose(found.float(), exact.float(), rtol=digits, atol=_CLOSE)
