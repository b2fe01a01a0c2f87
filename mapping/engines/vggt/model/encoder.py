"""The patch encoder: DINOv2 with registers (Oquab et al. 2023, Darcet et al. 2023). It sees one image at a time, so
what it says of a keyframe is true in every window."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mapping.engines.vggt.model.architecture import PATCH_PX, POSITION_GRID, REGISTERS, Architecture
from mapping.engines.vggt.model.layers import Block

_EPS = 1e-6


class PatchProjection(nn.Module):
    """Squares of pixels to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH_PX, stride=PATCH_PX)

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.proj(images.to(self.proj.weight.dtype))
        return tokens.flatten(2).transpose(1, 2)


class PatchEncoder(nn.Module):
    """Images to patch tokens."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        width = sizes.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + POSITION_GRID**2, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, REGISTERS, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # for training only; checkpoints hold it
        self.patch_embed = PatchProjection(width)
        self.blocks = nn.ModuleList(Block(width, sizes.heads, eps=_EPS) for _ in range(sizes.encoder_depth))
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (n, rows * columns, width), float32, of normalised images (n, 3, 14 * rows, 14 * columns)."""
        count, grid = len(images), (images.shape[2] // PATCH_PX, images.shape[3] // PATCH_PX)
        of_class, of_patches = self._positions(grid)
        x = torch.cat(
            [
                (self.cls_token + of_class).expand(count, -1, -1),
                self.register_tokens.expand(count, -1, -1),
                self.patch_embed(images) + of_patches,
            ],
            dim=1,
        )
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = self.norm(x[:, 1 + REGISTERS :])
        return tokens

    def _positions(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The learned embedding of the class token, and that of the patches resampled to this grid."""
        of_class, of_patches = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        if grid != (POSITION_GRID, POSITION_GRID):
            square = torch.unflatten(of_patches.transpose(1, 2), 2, (POSITION_GRID, POSITION_GRID))
            resampled = functional.interpolate(square, size=grid, mode="bicubic", antialias=True)
            of_patches = resampled.flatten(2).transpose(1, 2)
        return of_class, of_patches
