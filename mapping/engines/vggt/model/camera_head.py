"""The camera head: pose and field of view of every view, refined in a few rounds, in float32: rounds add up errors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mapping.engines.vggt.model.architecture import ENCODING, Architecture
from mapping.engines.vggt.model.layers import Block, Perceptron

_FIELD_OF_VIEW = 7
"""Where in an encoding the fields of view begin."""


class CameraHead(nn.Module):
    """Camera tokens to pose encodings."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        width = sizes.feature_width
        self.iterations = sizes.camera_iterations
        self.token_norm = nn.LayerNorm(width)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, ENCODING))
        self.embed_pose = nn.Linear(ENCODING, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.trunk = nn.ModuleList(Block(width, sizes.camera_heads) for _ in range(sizes.camera_depth))
        self.trunk_norm = nn.LayerNorm(width)
        self.pose_branch = Perceptron(width, width // 2, ENCODING)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encodings (iterations, b, views, 9) of camera tokens (b, views, width); the last one counts."""
        tokens = self.token_norm(tokens)
        flat = functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        encoding = self.empty_pose_tokens.expand(*tokens.shape[:2], -1)
        rounds: list[Tensor] = []
        for _ in range(self.iterations):
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(encoding)).chunk(3, dim=-1)
            x = tokens + gate * (flat * (1 + scale) + shift)
            for block in self.trunk:
                x = block(x)
            change = self.pose_branch(self.trunk_norm(x))
            encoding = change if not rounds else encoding + change
            rounds.append(encoding)
        return _activated(torch.stack(rounds))


def _activated(encoding: Tensor) -> Tensor:
    pose, field_of_view = encoding[..., :_FIELD_OF_VIEW], encoding[..., _FIELD_OF_VIEW:]
    return torch.cat([pose, functional.relu(field_of_view)], dim=-1)
