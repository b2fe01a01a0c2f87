"""What all parts of the network are built of: attention, a two-layer perceptron and the residual block around them.

Products of matrices are made in the numbers of their weights, float32 or shorter ones; everything between them, and the
stream that blocks add to, is float32, as where the published network runs under autocast.

Attribute names are those of the published checkpoints, because `state_dict` is made of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mapping.engines.vggt.model.rotary import Rotation, rotate

_MLP_RATIO = 4
_QUERY_EPS = 1e-5


def normed(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """`x` normalised in float32, in the numbers of the product that reads it."""
    return functional.layer_norm(x.float(), x.shape[-1:], weight, bias, eps).to(dtype)


def turned(x: Tensor, weight: Tensor, bias: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys (b, heads, tokens, head), normalised and turned by `Rotation(cos, sin)` in float32."""
    straight = functional.layer_norm(x.float(), x.shape[-1:], weight, bias, _QUERY_EPS)
    return rotate(straight, Rotation(cos, sin)).to(x.dtype)


def added(x: Tensor, change: Tensor, gamma: Tensor) -> Tensor:
    """The float32 stream after a change, each channel of which counts by a learned factor."""
    return x + change * gamma


@dataclass(frozen=True, slots=True)
class Steps:
    """What lies between products of matrices; a compiler can make one kernel of each."""

    normed: Callable[[Tensor, Tensor, Tensor, float, torch.dtype], Tensor] = normed
    turned: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] = turned
    added: Callable[[Tensor, Tensor, Tensor], Tensor] = added


class Scale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))


class Perceptron(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width if out is None else out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Attention(nn.Module):
    """Self-attention; where it normalises queries and keys, it turns them by position, too."""

    def __init__(self, width: int, heads: int, *, norm_queries: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(width // heads, eps=_QUERY_EPS) if norm_queries else None
        self.k_norm = nn.LayerNorm(width // heads, eps=_QUERY_EPS) if norm_queries else None
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, steps: Steps, rotation: Rotation | None, answering: Tensor | None) -> Tensor:
        """Mix tokens (b, n, width) among the n of each b, or among those at indices `answering`."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if self.q_norm is not None and self.k_norm is not None and rotation is not None:
            q = steps.turned(q, self.q_norm.weight, self.q_norm.bias, rotation.cos, rotation.sin)
            k = steps.turned(k, self.k_norm.weight, self.k_norm.bias, rotation.cos, rotation.sin)
        if answering is not None:
            k, v = k.index_select(2, answering), v.index_select(2, answering)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


class Block(nn.Module):
    """Attention, then a perceptron, each normalised before, scaled after, and added to what came in."""

    def __init__(self, width: int, heads: int, *, norm_queries: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.steps = Steps()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, norm_queries=norm_queries)
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Perceptron(width, _MLP_RATIO * width)
        self.ls2 = Scale(width)

    def forward(self, x: Tensor, rotation: Rotation | None = None, answering: Tensor | None = None) -> Tensor:
        """The float32 stream (b, n, width) after this block."""
        x = self.steps.added(x, self.attn(self._normed(x, self.norm1), self.steps, rotation, answering), self.ls1.gamma)
        return self.steps.added(x, self.mlp(self._normed(x, self.norm2)), self.ls2.gamma)

    def _normed(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        return self.steps.normed(x, norm.weight, norm.bias, norm.eps, self.mlp.fc1.weight.dtype)
