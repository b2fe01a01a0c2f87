"""The dense head: features of four layers to a value at every pixel (DPT, Ranftl et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mapping.engines.vggt.model.architecture import PATCH_PX, SPECIAL_TOKENS, Architecture
from mapping.engines.vggt.model.embeddings import add_places
from mapping.engines.vggt.model.layers import normed

_HIDDEN = 32


class Residual(nn.Module):
    """Two convolutions added to the RECTIFIED input: the published weights were trained with an in-place ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        out: Tensor = self.conv2(functional.relu(self.conv1(x)))
        return out + x


class Fusion(nn.Module):
    """Joins the coarser result with the features of one layer and grows it."""

    def __init__(self, width: int, *, is_coarsest: bool = False) -> None:
        super().__init__()
        if not is_coarsest:
            self.resConfUnit1 = Residual(width)
        self.resConfUnit2 = Residual(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, coarser: Tensor, features: Tensor | None, size: tuple[int, int]) -> Tensor:
        x = coarser if features is None else coarser + self.resConfUnit1(features)
        out: Tensor = self.out_conv(_grown(self.resConfUnit2(x), size))
        return out


class Scratch(nn.Module):
    """All that comes after the projections; the name is the checkpoints'."""

    def __init__(self, channels: Sequence[int], width: int, hidden: int, out: int | None) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(c, width, 3, padding=1, bias=False) for c in channels
        )
        self.refinenet1, self.refinenet2, self.refinenet3 = Fusion(width), Fusion(width), Fusion(width)
        self.refinenet4 = Fusion(width, is_coarsest=True)
        self.output_conv1 = nn.Conv2d(width, hidden, 3, padding=1)
        if out is not None:
            self.output_conv2 = nn.Sequential(
                nn.Conv2d(hidden, _HIDDEN, 3, padding=1), nn.ReLU(), nn.Conv2d(_HIDDEN, out, 1)
            )

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """One map (n, hidden, 8 * rows, 8 * columns) of four, finest first."""
        fine, middle, coarse, coarsest = (
            layer(x)
            for layer, x in zip((self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn), pyramid, strict=True)
        )
        x = self.refinenet4(coarsest, None, _size(coarse))
        x = self.refinenet3(x, coarse, _size(middle))
        x = self.refinenet2(x, middle, _size(fine))
        x = self.refinenet1(x, fine, (2 * fine.shape[2], 2 * fine.shape[3]))
        out: Tensor = self.output_conv1(x)
        return out


class DensePyramid(nn.Module):
    """Features of four layers to one feature map a view; what comes before a head's last convolutions."""

    def __init__(
        self,
        sizes: Architecture,
        width: int,
        hidden: int,
        out: int | None,
        *,
        knows_place: bool,
    ) -> None:
        super().__init__()
        channels = sizes.dense_channels
        self.knows_place = knows_place
        self.norm = nn.LayerNorm(sizes.feature_width)
        self.projects = nn.ModuleList(nn.Conv2d(sizes.feature_width, c, 1) for c in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(channels, width, hidden, out)

    def feature_map(self, features: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """(n, hidden, *size) of four features (n, tokens, 2 * width) of an image of `grid` patches."""
        aspect, dtype = grid[1] / grid[0], self.scratch.output_conv1.weight.dtype
        pyramid = []
        for x, project, resize in zip(features, self.projects, self.resize_layers, strict=True):
            patches = normed(x[:, SPECIAL_TOKENS:], self.norm.weight, self.norm.bias, self.norm.eps, dtype)
            cells = project(torch.unflatten(patches.transpose(1, 2), 2, grid))
            pyramid.append(resize(self._placed(cells, aspect)))
        return self._placed(_grown(self.scratch(pyramid), size), aspect)

    def _placed(self, x: Tensor, aspect: float) -> Tensor:
        return add_places(x, aspect) if self.knows_place else x


class DenseHead(DensePyramid):
    """`out` raw channels at every pixel, activations left to the caller. Its last convolution is made in float32."""

    def __init__(self, sizes: Architecture, out: int) -> None:
        super().__init__(sizes, sizes.dense_width, sizes.dense_width // 2, out, knows_place=True)

    def forward(self, features: Sequence[Tensor], grid: tuple[int, int], views_at_once: int) -> Tensor:
        """(n, out, height, width) float32; views do not know of each other, so they go through in small groups."""
        size = (PATCH_PX * grid[0], PATCH_PX * grid[1])
        hidden, last = self.scratch.output_conv2[:-1], self.scratch.output_conv2[-1]
        groups = [
            last(hidden(self.feature_map(group, grid, size)).float())
            for group in zip(*(torch.split(x, views_at_once) for x in features), strict=True)
        ]
        return torch.cat(groups)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[2], x.shape[3]


def _grown(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
