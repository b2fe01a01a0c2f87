"""The point tracker: where points of the first view lie in all others (after CoTracker, Karaev et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mapping.engines.vggt.model.architecture import PATCH_PX, Architecture, Tracking
from mapping.engines.vggt.model.correlation import Correlation, sample
from mapping.engines.vggt.model.dense_head import DensePyramid
from mapping.engines.vggt.model.embeddings import flow_embedding, grid_embedding
from mapping.engines.vggt.model.layers import Perceptron
from mapping.engines.vggt.model.update_former import UpdateFormer

_MAP_STEP_PX = 2
"""Feature maps have half the image's resolution."""
_CELL = 2
"""Tracks are refined in units of this many feature-map cells, as the weights were trained."""
_MAX_FLOW = 518.0


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Where points went."""

    points_px: Tensor  # (iterations, views, n, 2) x then y; the last iteration counts
    visible: Tensor  # (views, n) 0..1
    confidence: Tensor  # (views, n) 0..1


class Tracker(nn.Module):
    """Follows points through feature maps, refining all views together."""

    def __init__(self, sizes: Tracking) -> None:
        super().__init__()
        width = sizes.width
        self.sizes = sizes
        state = 3 * width + 4  # motion (width + 4), correlation, feature
        places = sizes.levels * (2 * sizes.radius + 1) ** 2
        self.query_ref_token = nn.Parameter(torch.zeros(1, 2, state))  # for the first view, for any other
        self.corr_mlp = Perceptron(places, sizes.hidden, width)
        self.updateformer = UpdateFormer(sizes, state)
        self.fmap_norm = nn.LayerNorm(width)
        self.ffeat_norm = nn.GroupNorm(1, width)
        self.ffeat_updater = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.vis_predictor = nn.Sequential(nn.Linear(width, 1))
        self.conf_predictor = nn.Sequential(nn.Linear(width, 1))

    def forward(self, maps: Tensor, points_px: Tensor) -> Tracks:
        """Follow points (n, 2) of the first view through maps (views, width, h, w)."""
        views, width = maps.shape[:2]
        maps = self.fmap_norm(maps.movedim(1, -1)).movedim(-1, 1)
        start = points_px / _CELL
        points = start[:, None].expand(-1, views, -1)  # all that follows is (n, views, ...)
        # One view's vectors lie together in memory, as the published ones do: products are rounded by layout.
        vectors = _at(maps[:1], start).repeat(views, 1, 1).transpose(0, 1)
        correlation = Correlation(maps, self.sizes.levels, self.sizes.radius)
        state = self.query_ref_token.shape[-1]
        place = _at(grid_embedding(state, maps.shape[2], maps.shape[3], maps.device).to(maps.dtype), start)[:, None]
        role = torch.cat([self.query_ref_token[:, :1], self.query_ref_token[:, 1:].expand(-1, views - 1, -1)], dim=1)
        rounds = []
        for _ in range(self.sizes.iterations):
            flow = points - points[:, :1]
            motion = [flow_embedding(flow, width), flow / _MAX_FLOW, flow / _MAX_FLOW]
            x = torch.cat([*motion, self.corr_mlp(correlation(vectors, points)), vectors], dim=-1)
            change = self.updateformer(x + place + role)
            vectors = self.ffeat_updater(self.ffeat_norm(change[..., 2:].reshape(-1, width))).view_as(vectors) + vectors
            points = torch.cat([start[:, None], (points + change[..., :2])[:, 1:]], dim=1)  # the query stays
            rounds.append(points * _CELL)
        vectors = vectors.transpose(0, 1)
        visible, confidence = self.vis_predictor(vectors)[..., 0], self.conf_predictor(vectors)[..., 0]
        return Tracks(torch.stack(rounds).transpose(1, 2), visible.sigmoid(), confidence.sigmoid())


def _at(maps: Tensor, points: Tensor) -> Tensor:
    """(n, channels) values of maps (1, channels, h, w) at points (n, 2)."""
    return sample(maps, points[None, :, None], "border")[0, :, :, 0].T


class TrackHead(nn.Module):
    """Features of a window and points of its first view to tracks."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        width = sizes.tracking.width
        self.feature_extractor = DensePyramid(sizes, width, width, None, knows_place=False)
        self.tracker = Tracker(sizes.tracking)

    def forward(
        self, features: Sequence[Tensor], grid: tuple[int, int], points_px: Tensor, views_at_once: int
    ) -> Tracks:
        """Follow points (n, 2) through the views of features (views, tokens, 2 * width)."""
        size = (PATCH_PX * grid[0] // _MAP_STEP_PX, PATCH_PX * grid[1] // _MAP_STEP_PX)
        maps = [
            self.feature_extractor.feature_map(group, grid, size)
            for group in zip(*(torch.split(x, views_at_once) for x in features), strict=True)
        ]
        tracks: Tracks = self.tracker(torch.cat(maps), points_px)
        return tracks
