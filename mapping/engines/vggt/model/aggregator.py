"""The trunk: tokens of all views look in turn at their own view and at all views."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mapping.engines.vggt.model.architecture import REGISTERS, Architecture
from mapping.engines.vggt.model.encoder import PatchEncoder
from mapping.engines.vggt.model.layers import Block
from mapping.engines.vggt.model.rotary import rotation_of
from mapping.engines.vggt.model.thinning import answering


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the heads read."""

    layers: dict[int, Tensor]
    """(b, views, 5 + rows * columns, 2 * width) by layer, in the numbers of the trunk's products."""
    cameras: Tensor
    """(b, views, 2 * width) float32: the camera tokens after the last layer."""


class Aggregator(nn.Module):
    """Patch tokens of a window to the features that the heads read."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        width, heads = sizes.width, sizes.heads
        self.head = width // heads
        self.patch_embed = PatchEncoder(sizes)
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, width))  # of the first view, of any other
        self.register_token = nn.Parameter(torch.zeros(1, 2, REGISTERS, width))
        self.frame_blocks = nn.ModuleList(Block(width, heads, norm_queries=True) for _ in range(sizes.depth))
        self.global_blocks = nn.ModuleList(Block(width, heads, norm_queries=True) for _ in range(sizes.depth))

    def forward(self, patches: Tensor, grid: tuple[int, int], layers: Collection[int], every: int = 1) -> Features:
        """Features of the asked layers only; all others are forgotten at once.

        Args:
            patches: (b, views, rows * columns, width) from `patch_embed`; the first view of each b is its reference.
            grid: (rows, columns).
            every: of the patches that views ask each other about, every so manieth answers; 1 = all, as published.
        """
        batch, views, _, width = patches.shape
        within = rotation_of(grid, self.head, patches.device)
        across = within.repeated(views)
        asked = answering(views, grid, every, patches.device) if every > 1 else None
        special = torch.cat([self.camera_token, self.register_token], dim=2)
        special = torch.cat([special[:, :1], special[:, 1:].expand(-1, views - 1, -1, -1)], dim=1)
        x = torch.cat([special.expand(batch, -1, -1, -1), patches.float()], dim=2)
        tokens, shape = x.shape[2], x.shape
        kept: dict[int, Tensor] = {}
        for layer, (frame_block, global_block) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            own = frame_block(x.reshape(batch * views, tokens, width), within)
            x = global_block(own.reshape(batch, views * tokens, width), across, asked)
            if layer in layers:
                kept[layer] = torch.cat([part.reshape(shape).to(self.product_dtype) for part in (own, x)], dim=-1)
        return Features(kept, torch.cat([part.reshape(shape)[:, :, 0] for part in (own, x)], dim=-1))

    @property
    def product_dtype(self) -> torch.dtype:
        """Of the weights that make products of matrices."""
        return self.patch_embed.patch_embed.proj.weight.dtype
