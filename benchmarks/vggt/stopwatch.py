"""How long each part of a window takes on this machine, and how much memory of the device it needs at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.vggt.timing import once_s
from mapping.engines.vggt.checkpoints.ready import ready
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.model.architecture import PATCH_PX


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds, the median of the repeats."""

    views: int
    encode_view_s: float
    """Patch tokens of ONE view."""
    aggregate_s: float
    cameras_s: float
    depth_view_s: float
    """Depth of ONE view."""
    peak_bytes: int | None
    """Of the device, weights included; None on the CPU, where nobody counts."""


def measure(config: Config, views: list[int], height: int, width: int, repeats: int = 3) -> list[Times]:
    """Time windows of so many images (height, width), multiples of 14; weights have no influence on it."""
    network, _ = ready(config)
    weight = next(network.parameters())
    grid = (height // PATCH_PX, width // PATCH_PX)
    image = torch.rand(1, 3, height, width, device=weight.device)
    took_s = partial(_median_s, repeats=repeats, device=weight.device)
    times = []
    with torch.inference_mode():
        for count in views:
            if weight.is_cuda:
                torch.cuda.reset_peak_memory_stats()
            patches = network.encode(image)[None].repeat(1, count, 1, 1)
            features = network.aggregate(patches, grid)
            encode_s = took_s(partial(network.encode, image))
            aggregate_s = took_s(partial(network.aggregate, patches, grid))
            cameras_s = took_s(partial(network.cameras, features))
            depth_s = took_s(partial(network.depth, features, grid, last=1))
            peak = torch.cuda.max_memory_allocated() if weight.is_cuda else None
            times.append(Times(count, encode_s, aggregate_s, cameras_s, depth_s, peak))
    return times


def _median_s(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    return sorted(once_s(run, device) for _ in range(repeats))[repeats // 2]
