"""The published forward done plainly, as its own code runs it: what ours is measured against, in the same run.

Weights in float32 under bfloat16 autocast; the output of every layer kept; rotations looked up by positions in each
block, which asks the device for their maximum; heads in float32, for every view, points included.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mapping.engines.vggt.model.aggregator import Features
from mapping.engines.vggt.model.architecture import PATCH_PX, SPECIAL_TOKENS
from mapping.engines.vggt.model.vggt import Vggt

_BASE = 100.0


class Plain:
    """Runs a network that has its point head."""

    def __init__(self, network: Vggt) -> None:
        self._network = network
        self._tables: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def trunk(self, images: Tensor) -> list[Tensor]:
        """Features of EVERY layer, (1, views, tokens, 2 * width), of images (views, 3, height, width)."""
        trunk = self._network.aggregator
        views, _, height, width = images.shape
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            patches = self._network.encode(images)
            special = torch.cat([trunk.camera_token, trunk.register_token], dim=2)
            special = torch.cat([special[:, :1], special[:, 1:].expand(-1, views - 1, -1, -1)], dim=1)[0]
            x = torch.cat([special, patches], dim=1)
            places = self._places((height // PATCH_PX, width // PATCH_PX), images.device).expand(views, -1, -1)
            tokens, channels = x.shape[1:]
            kept = []
            for frame, across in zip(trunk.frame_blocks, trunk.global_blocks, strict=True):
                own = self._block(frame, x.reshape(views, tokens, channels), places)
                x = self._block(across, own.reshape(1, -1, channels), places.reshape(1, -1, 2))
                shape = (1, views, tokens, channels)
                kept.append(torch.cat([own.reshape(shape), x.reshape(shape)], dim=-1))
        return kept

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Encodings (views, 9), depth and points of every view."""
        grid = (images.shape[2] // PATCH_PX, images.shape[3] // PATCH_PX)
        kept, views = self.trunk(images), len(images)
        layers = {layer: kept[layer].float() for layer in self._network.sizes.feature_layers}
        features = Features(layers, layers[self._network.sizes.feature_layers[-1]][:, :, 0])
        depth = self._network.depth(features, grid, last=views)
        points = self._network.points(features, grid, last=views)
        return {"encodings": self._network.cameras(features)[-1, 0], "depth": depth.z[0], "points": points.xyz[0]}

    def _block(self, block: nn.Module, x: Tensor, places: Tensor) -> Tensor:
        parts: Any = block
        batch, tokens, width = x.shape
        qkv = parts.attn.qkv(parts.norm1(x)).reshape(batch, tokens, 3, parts.attn.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self._rotated(parts.attn.q_norm(q), places), self._rotated(parts.attn.k_norm(k), places)
        mixed = functional.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        x = x + parts.attn.proj(mixed.transpose(1, 2).reshape(batch, tokens, width)) * parts.ls1.gamma
        x = x + parts.mlp(parts.norm2(x)) * parts.ls2.gamma
        return x

    def _rotated(self, x: Tensor, places: Tensor) -> Tensor:
        """Each half of a head by one axis; channel i of a half pairs with i + half / 2."""
        count = int(places.max()) + 1  # here the host waits for the device, in every block
        half = x.shape[-1] // 2
        cos, sin = self._table(count, half, x.device)
        turned = []
        for axis, part in enumerate(torch.split(x, half, dim=-1)):
            a, b = part.chunk(2, dim=-1)
            here = places[..., axis]
            turned.append(part * functional.embedding(here, cos)[:, None])
            turned[-1] = turned[-1] + torch.cat([-b, a], dim=-1) * functional.embedding(here, sin)[:, None]
        return torch.cat(turned, dim=-1)

    def _table(self, count: int, half: int, device: torch.device) -> tuple[Tensor, Tensor]:
        if (count, device) not in self._tables:
            steps = 1 / _BASE ** (torch.arange(0, half, 2, device=device).float() / half)
            angles = torch.arange(count, device=device).float()[:, None] * steps
            angles = torch.cat([angles, angles], dim=-1)
            self._tables[count, device] = angles.cos(), angles.sin()
        return self._tables[count, device]

    @staticmethod
    def _places(grid: tuple[int, int], device: torch.device) -> Tensor:
        """(1, tokens, 2) row and column + 1 of each patch, 0 for special tokens."""
        rows, columns = grid
        y, x = torch.meshgrid(torch.arange(1, rows + 1), torch.arange(1, columns + 1), indexing="ij")
        patches = torch.stack([y.reshape(-1), x.reshape(-1)], dim=1)
        return torch.cat([torch.zeros(SPECIAL_TOKENS, 2, dtype=torch.long), patches])[None].to(device)
