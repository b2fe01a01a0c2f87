"""How well a feature vector fits the places around a point, on several scales."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


class Correlation:
    """Feature maps of all views at halving sizes, ready to be compared with."""

    def __init__(self, maps: Tensor, levels: int, radius: int) -> None:
        """Take maps (views, channels, height, width)."""
        self._levels = [maps]
        while len(self._levels) < levels:
            self._levels.append(functional.avg_pool2d(self._levels[-1], 2, stride=2))
        steps = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
        self._around = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)

    def __call__(self, vectors: Tensor, points: Tensor) -> Tensor:
        """(n, views, levels * places) of vectors (n, views, channels) at points (n, views, 2) in cells of the maps."""
        count, views, channels = vectors.shape
        centres = points.transpose(0, 1).reshape(-1, 1, 1, 2)
        found = []
        for level, maps in enumerate(self._levels):
            fit = vectors.transpose(0, 1) @ maps.flatten(2) / math.sqrt(channels)
            fit = fit.view(views * count, 1, *maps.shape[2:])
            found.append(sample(fit, centres / 2**level + self._around, "zeros").view(views, count, -1))
        return torch.cat(found, dim=-1).transpose(0, 1)


def sample(maps: Tensor, places: Tensor, outside: str) -> Tensor:
    """Bilinear values (v, channels, a, b) of maps (v, channels, h, w) at places (v, a, b, 2), x then y in cells."""
    height, width = maps.shape[2:]
    x = places[..., 0] * (2 / max(width - 1, 1)) - 1
    y = places[..., 1] * (2 / max(height - 1, 1)) - 1
    grid = torch.stack([x, y], dim=-1)
    return functional.grid_sample(maps, grid, mode="bilinear", padding_mode=outside, align_corners=True)
