"""How much arithmetic each part of a window costs, counted operator by operator without doing any of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from mapping.engines.vggt.model.aggregator import Features
from mapping.engines.vggt.model.architecture import PATCH_PX, Architecture
from mapping.engines.vggt.model.vggt import Vggt


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations of one window, and bytes of the features that its heads read."""

    encode_view: int
    """Patch tokens of ONE view."""
    aggregate: int
    cameras: int
    depth_view: int
    """Depth of ONE view."""
    feature_bytes_view: int
    """Of one view, in two-byte numbers, as this network keeps them."""
    all_layers_bytes_view: int
    """Likewise, if every layer were kept."""

    def window(self, encoded: int, depths: int) -> int:
        """One window in which `encoded` views are new and `depths` of them get depth."""
        return encoded * self.encode_view + self.aggregate + self.cameras + depths * self.depth_view


def count(sizes: Architecture, views: int, height: int, width: int) -> Work:
    """Count a window of images (height, width), multiples of 14, on a network that has no memory to fill."""
    grid = (height // PATCH_PX, width // PATCH_PX)
    with torch.device("meta"):
        network = Vggt(sizes).eval().requires_grad_(False)
        image = torch.empty(1, 3, height, width)
        patches = torch.empty(1, views, grid[0] * grid[1], sizes.width)
        feature = torch.empty(1, views, grid[0] * grid[1] + 5, sizes.feature_width)
        features = Features(dict.fromkeys(sizes.feature_layers, feature), feature[:, :, 0])
        work = Work(
            encode_view=_flops(lambda: network.encode(image)),
            aggregate=_flops(lambda: network.aggregate(patches, grid)),
            cameras=_flops(lambda: network.cameras(features)),
            depth_view=_flops(lambda: network.depth(features, grid, last=1)),
            feature_bytes_view=len(features.layers) * 2 * feature[0, 0].numel(),
            all_layers_bytes_view=sizes.depth * 2 * feature[0, 0].numel(),
        )
    return work


def _flops(run: Callable[[], object]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
