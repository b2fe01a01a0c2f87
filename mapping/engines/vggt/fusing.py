"""Queries and keys normalised and turned by one compiled kernel: step by step it is a dozen passes through memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mapping.engines.vggt.model.layers import Attention, Turn, turned
from mapping.engines.vggt.model.rotary import rotation_of

_GRIDS = ((2, 3), (3, 5))
_HEAD = 64
_TOLERANCE = 2.0**-6
"""Of bfloat16: two units in the last place of what is about 1."""

_log = logging.getLogger(__name__)


def fuse(network: nn.Module, compiled: Callable[..., Any] = torch.compile) -> bool:
    """Have every attention with rotation use the compiled kernel, if it does what the steps do.

    Args:
        compiled: makes a faster function of a function.

    Returns:
        False where there is no compiler, or its kernel is wrong: everything stays as it was, and a log line says why.
    """
    weight = next(network.parameters())
    try:
        turn: Turn = compiled(turned, dynamic=True)
        off = max(_difference(turn, grid, weight) for grid in _GRIDS)
    except Exception as error:  # a compiler fails in many ways
        _log.warning("queries and keys are turned step by step: %s", (str(error).splitlines() or [repr(error)])[0])
        return False
    if off > _TOLERANCE:
        _log.warning("queries and keys are turned step by step: the compiled kernel is off by %g", off)
        return False
    for module in network.modules():
        if isinstance(module, Attention):
            module.turn = turn
    return True


def _difference(turn: Turn, grid: tuple[int, int], like: torch.Tensor) -> float:
    """Largest difference between both, on numbers about 1."""
    rotation = rotation_of(grid, _HEAD, like.device)
    generator = torch.Generator(like.device).manual_seed(0)
    x = torch.randn(2, 4, len(rotation.cos), _HEAD, generator=generator, device=like.device).to(like.dtype)
    ones = torch.ones(_HEAD, device=like.device, dtype=like.dtype)
    with torch.inference_mode():
        found, exact = (f(x, ones, 0.1 * ones, 1e-5, rotation.cos, rotation.sin) for f in (turn, turned))
    return float((found.float() - exact.float()).abs().max())
