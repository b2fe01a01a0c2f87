"""The transformer inside the point tracker: along time for each track, and between tracks by way of virtual ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mapping.engines.vggt.model.architecture import Tracking
from mapping.engines.vggt.model.layers import Perceptron

_VIRTUAL_TRACKS = 64
_MLP_RATIO = 4


class SelfBlock(nn.Module):
    """Attention among tokens; what is added to is the NORMALISED input, as the published weights expect."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = Perceptron(width, _MLP_RATIO * width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x)
        x = x + self.attn(x, x, x, need_weights=True)[0]
        x = x + self.mlp(self.norm2(x))
        return x


class CrossBlock(nn.Module):
    """Attention of tokens to a context, likewise."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = Perceptron(width, _MLP_RATIO * width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x, context = self.norm1(x), self.norm_context(context)
        x = x + self.cross_attn(x, context, context, need_weights=True)[0]
        x = x + self.mlp(self.norm2(x))
        return x


class UpdateFormer(nn.Module):
    """What is known of each track in each view to a change of its place and feature."""

    def __init__(self, sizes: Tracking, width_in: int) -> None:
        super().__init__()
        hidden, heads = sizes.hidden, sizes.heads
        self.input_norm = nn.LayerNorm(width_in)
        self.input_transform = nn.Linear(width_in, hidden)
        self.virual_tracks = nn.Parameter(torch.zeros(1, _VIRTUAL_TRACKS, 1, hidden))  # the checkpoints spell it so
        self.time_blocks = nn.ModuleList(SelfBlock(hidden, heads) for _ in range(sizes.depth))
        self.space_virtual_blocks = nn.ModuleList(SelfBlock(hidden, heads) for _ in range(sizes.depth))
        self.space_point2virtual_blocks = nn.ModuleList(CrossBlock(hidden, heads) for _ in range(sizes.depth))
        self.space_virtual2point_blocks = nn.ModuleList(CrossBlock(hidden, heads) for _ in range(sizes.depth))
        self.output_norm = nn.LayerNorm(hidden)
        self.flow_head = nn.Linear(hidden, 2 + sizes.width)

    def forward(self, tracks: Tensor) -> Tensor:
        """(n, views, 2 + width) of tracks (n, views, width_in)."""
        count, views = tracks.shape[:2]
        start = self.input_transform(self.input_norm(tracks))
        x = torch.cat([start, self.virual_tracks[0].expand(-1, views, -1)])
        layers = zip(
            self.time_blocks,
            self.space_virtual2point_blocks,
            self.space_virtual_blocks,
            self.space_point2virtual_blocks,
            strict=True,
        )
        for along_time, gather, among_virtual, spread in layers:
            x = along_time(x)
            points, virtual = x.transpose(0, 1).split([count, _VIRTUAL_TRACKS], dim=1)
            virtual = among_virtual(gather(virtual, points))
            points = spread(points, virtual)
            x = torch.cat([points, virtual], dim=1).transpose(0, 1)
        out: Tensor = self.flow_head(self.output_norm(x[:count] + start))
        return out
