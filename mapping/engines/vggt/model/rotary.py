"""Rotary position embedding in two dimensions (RoPE, Su et al. 2021): half of a head turns with y, half with x."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from mapping.engines.vggt.model.architecture import SPECIAL_TOKENS

_BASE = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """By how much each token turns each pair of channels."""

    cos: Tensor  # (tokens, 2, head / 4) axis y then x, float32
    sin: Tensor

    def repeated(self, views: int) -> Rotation:
        """For the tokens of several views one after the other."""
        return Rotation(self.cos.repeat(views, 1, 1), self.sin.repeat(views, 1, 1))


@cache
@torch.inference_mode(False)
def rotation_of(grid: tuple[int, int], head: int, device: torch.device) -> Rotation:
    """The rotation of one view's tokens: none for its special tokens, by row and column + 1 for its patches.

    Made on the host once for each grid of patches (rows, columns), so that no forward pass waits for it, and kept for
    ever, 0.3 MB each: a recorded pass reads it where it lies.
    """
    rows, columns = grid
    y, x = torch.meshgrid(torch.arange(1, rows + 1), torch.arange(1, columns + 1), indexing="ij")
    patches = torch.stack([y.reshape(-1), x.reshape(-1)], dim=1)
    places = torch.cat([torch.zeros(SPECIAL_TOKENS, 2, dtype=patches.dtype), patches]).float()
    frequencies = 1 / _BASE ** (torch.arange(0, head // 2, 2).float() / (head // 2))
    angles = places[:, :, None] * frequencies
    return Rotation(angles.cos().to(device), angles.sin().to(device))


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn float32 queries or keys (b, heads, tokens, head); channel i of each half pairs with i + head / 4."""
    pairs = torch.unflatten(x, -1, (2, 2, -1))  # axis, member of the pair, frequency
    a, b = pairs.unbind(-2)
    turned = torch.stack([a * rotation.cos - b * rotation.sin, b * rotation.cos + a * rotation.sin], dim=-2)
    return turned.flatten(-3)
