"""What all parts of the network are built of: attention, a two-layer perceptron and the residual block around them.

Attribute names are those of the published checkpoints, because `state_dict` is made of them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mapping.engines.vggt.model.rotary import Rotation, rotate

_MLP_RATIO = 4


class Scale(nn.Module):
    """Multiplies each channel by a learned factor."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Perceptron(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width if out is None else out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


Turn = Callable[[Tensor, Tensor, Tensor, float, Tensor, Tensor], Tensor]


def turned(x: Tensor, weight: Tensor, bias: Tensor, eps: float, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys (b, heads, tokens, head), normalised and turned by `Rotation(cos, sin)`."""
    return rotate(functional.layer_norm(x, x.shape[-1:], weight, bias, eps), Rotation(cos, sin))


class Attention(nn.Module):
    """Self-attention with optional LayerNorm of queries and keys; only where there is one, rotation by position."""

    def __init__(self, width: int, heads: int, *, norm_queries: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(width // heads) if norm_queries else nn.Identity()
        self.k_norm = nn.LayerNorm(width // heads) if norm_queries else nn.Identity()
        self.proj = nn.Linear(width, width)
        self.turn: Turn = turned

    def forward(self, x: Tensor, rotation: Rotation | None = None, answering: Tensor | None = None) -> Tensor:
        """Mix tokens (b, n, width) among the n of each b, or among those at indices `answering`."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self._prepared(q, self.q_norm, rotation), self._prepared(k, self.k_norm, rotation)
        if answering is not None:
            k, v = k.index_select(2, answering), v.index_select(2, answering)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out

    def _prepared(self, x: Tensor, norm: nn.Module, rotation: Rotation | None) -> Tensor:
        """Queries or keys, normalised and turned as far as this attention does."""
        if rotation is None or not isinstance(norm, nn.LayerNorm):
            out: Tensor = norm(x)
            return out
        return self.turn(x, norm.weight, norm.bias, norm.eps, rotation.cos, rotation.sin)


class Block(nn.Module):
    """Attention, then a perceptron, each normalised before, scaled after, and added to what came in."""

    def __init__(self, width: int, heads: int, *, norm_queries: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, norm_queries=norm_queries)
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Perceptron(width, _MLP_RATIO * width)
        self.ls2 = Scale(width)

    def forward(self, x: Tensor, rotation: Rotation | None = None, answering: Tensor | None = None) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), rotation, answering))
        x = x + self.ls2(self.mlp(self.norm2(x)))
        return x
