"""VGGT (Wang et al. 2025): images of one place to cameras, depth and points, in one pass.

Our own implementation of the published network; `state_dict` has the names and shapes of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mapping.engines.vggt.model.aggregator import Aggregator, Features
from mapping.engines.vggt.model.architecture import Architecture
from mapping.engines.vggt.model.camera_head import CameraHead
from mapping.engines.vggt.model.dense_head import DenseHead
from mapping.engines.vggt.model.track_head import TrackHead, Tracks

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class Depth:
    """What the depth head says; `confidence` is 1 where it knows nothing and has no upper bound."""

    z: Tensor  # (b, views, height, width) float32
    confidence: Tensor  # (b, views, height, width) float32, >= 1


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """What the point head says, in the first view's camera axes."""

    xyz: Tensor  # (b, views, height, width, 3) float32
    confidence: Tensor  # (b, views, height, width) float32, >= 1


class Vggt(nn.Module):
    """The whole network. The point and track heads exist only where they are asked for."""

    def __init__(self, sizes: Architecture, *, has_points: bool = False, has_tracks: bool = False) -> None:
        super().__init__()
        self.sizes = sizes
        self.aggregator = Aggregator(sizes)
        self.camera_head = CameraHead(sizes)
        self.depth_head = DenseHead(sizes, 2)
        self.point_head = DenseHead(sizes, 4) if has_points else None
        self.track_head = TrackHead(sizes) if has_tracks else None

    def encode(self, images: Tensor) -> Tensor:
        """Patch tokens (n, rows * columns, width) of images (n, 3, 14 * rows, 14 * columns) in 0..1, each by itself."""
        channels = zip(images.unbind(1), _MEAN, _STD, strict=True)
        normalised = torch.stack([(values - mean) / std for values, mean, std in channels], dim=1)
        tokens: Tensor = self.aggregator.patch_embed(normalised)
        return tokens.to(self.aggregator.product_dtype)

    def aggregate(self, patches: Tensor, grid: tuple[int, int], also: Sequence[int] = (), every: int = 1) -> Features:
        """Features of the layers that heads read (and of `also`) of patch tokens (b, views, rows * columns, width).

        Args:
            every: 1 is the published network; more thins out what views look at in each other (see `thinning`).
        """
        layers = {*self.sizes.feature_layers, *also}
        features: Features = self.aggregator(patches, grid, layers, every)
        return features

    def cameras(self, features: Features) -> Tensor:
        """Pose encodings (iterations, b, views, 9), float32."""
        encodings: Tensor = self.camera_head(features.cameras)
        return encodings

    def depth(self, features: Features, grid: tuple[int, int], last: int, views_at_once: int = 8) -> Depth:
        """Depth of the `last` views of each window; the earlier ones cost nothing."""
        raw = self._dense(self.depth_head, features, grid, last, views_at_once)
        return Depth(raw[:, :, 0].exp(), 1 + raw[:, :, 1].exp())

    def points(self, features: Features, grid: tuple[int, int], last: int, views_at_once: int = 8) -> Points:
        """Points of the `last` views of each window.

        Raises:
            ValueError: the network was made without its point head.
        """
        if self.point_head is None:
            raise ValueError("this network has no point head: make it with has_points=True")
        raw = self._dense(self.point_head, features, grid, last, views_at_once)
        places = raw[:, :, :3]
        return Points((places.sign() * places.abs().expm1()).movedim(2, -1), 1 + raw[:, :, 3].exp())

    def tracks(self, features: Features, grid: tuple[int, int], points_px: Tensor, views_at_once: int = 8) -> Tracks:
        """Follow points (n, 2) of the first view through the one window.

        Raises:
            ValueError: the network was made without its track head, or there are several windows.
        """
        if self.track_head is None:
            raise ValueError("this network has no track head: make it with has_tracks=True")
        layers = [features.layers[layer] for layer in self.sizes.feature_layers]
        if len(layers[0]) != 1:
            raise ValueError("points are followed in one window at a time")
        tracks: Tracks = self.track_head([x[0] for x in layers], grid, points_px, views_at_once)
        return tracks

    def _dense(
        self, head: nn.Module, features: Features, grid: tuple[int, int], last: int, views_at_once: int
    ) -> Tensor:
        """Raw values (b, last, channels, height, width)."""
        layers = [features.layers[layer][:, -last:] for layer in self.sizes.feature_layers]
        raw: Tensor = head([x.flatten(0, 1) for x in layers], grid, views_at_once)
        return torch.unflatten(raw, 0, layers[0].shape[:2])
