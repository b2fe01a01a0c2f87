"""Fixed sinusoidal embeddings of places in an image."""

from __future__ import annotations

from functools import cache, lru_cache

import torch
from torch import Tensor

_UV_BASE = 100.0
_UV_SHARE = 0.1
"""By how much places count beside what is there."""
_GRID_BASE = 10_000.0
_FLOW_BASE = 1000.0


def add_places(x: Tensor, aspect: float) -> Tensor:
    """`x` (n, channels, height, width), changed in place: the first half of its channels learns of x, the other of y.

    Args:
        aspect: of the image, width / height; its diagonal counts as 2.
    """
    height, width = x.shape[2:]
    diagonal = (1.0 + aspect * aspect) ** 0.5
    half = x.shape[1] // 2
    x[:, :half] += _axis(half, width, aspect / diagonal, x.device, x.dtype)[:, None]
    x[:, half:] += _axis(half, height, 1.0 / diagonal, x.device, x.dtype)[..., None]
    return x


@cache
@torch.inference_mode(False)
def _axis(channels: int, cells: int, extent: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(channels, cells) of an axis that reaches from -extent to extent; made once, in float64.

    Kept for ever, some 100 KB a canvas: a recorded pass reads it where it lies.
    """
    waves = _waves(_centred(cells, extent), channels, _UV_BASE).T
    return _UV_SHARE * waves.to(device=device, dtype=dtype)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def grid_embedding(channels: int, height: int, width: int, device: torch.device) -> Tensor:
    """(1, channels, height, width) float32: half of the channels tell the column, half the row, in cells."""
    x = torch.arange(width, dtype=torch.float64)[None, :].expand(height, -1)
    y = torch.arange(height, dtype=torch.float64)[:, None].expand(-1, width)
    both = torch.cat([_waves(x, channels // 2, _GRID_BASE), _waves(y, channels // 2, _GRID_BASE)], dim=-1)
    return both.permute(2, 0, 1)[None].to(device=device, dtype=torch.float32)


def flow_embedding(flow: Tensor, channels: int) -> Tensor:
    """(..., channels) of displacements (..., 2): for x and then y, sine and cosine of each frequency side by side.

    Frequencies go up to 1000 rad a cell, as the weights were trained: what rounding makes of a place 60 cells from the
    edge, 4e-6, turns them by 4e-3 rad.
    """
    half = channels // 2
    frequencies = torch.arange(0, half, 2, device=flow.device, dtype=torch.float32) * (_FLOW_BASE / half)
    angles = flow[..., None].float() * frequencies
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1)
    return waves.flatten(-3).to(flow.dtype)


def _centred(cells: int, extent: float) -> Tensor:
    """Cell centres of an axis that reaches from -extent to extent."""
    end = extent * (cells - 1) / cells
    return torch.linspace(-end, end, cells, dtype=torch.float32).double()


def _waves(places: Tensor, channels: int, base: float) -> Tensor:
    frequencies = 1 / base ** (torch.arange(channels // 2, dtype=torch.float64) / (channels / 2))
    angles = places[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
