"""Gaussians that the tests of this folder share."""

from __future__ import annotations

import numpy as np

from mapping.objects.splats.cloud import Splats, of_rgb, unit


def cloud(count: int = 300, coefficients: int = 16, seed: int = 0) -> Splats:
    """Anything that a trainer may give."""
    rng = np.random.default_rng(seed)
    constant = rng.uniform(-1.5, 1.5, (count, 1, 3))
    rest = rng.uniform(-0.8, 0.8, (count, coefficients - 1, 3))
    return Splats(
        rng.normal(0, 0.3, (count, 3)).astype(np.float32),
        np.exp(rng.uniform(-7, -2, (count, 3))).astype(np.float32),
        unit(rng.normal(size=(count, 4)).astype(np.float32)),
        rng.uniform(0.02, 0.98, count).astype(np.float32),
        np.concatenate([constant, rest], axis=1).astype(np.float32),
    )


def pillar() -> Splats:
    """Standing on (1, 2, 3), half a metre high: red below, blue above."""
    heights = np.linspace(0, 0.5, 200, dtype=np.float32)
    turns = np.arange(200) * 2.4
    centres = np.stack([1 + 0.1 * np.cos(turns), 2 + heights, 3 + 0.1 * np.sin(turns)], axis=1)
    rgb = np.where(heights[:, None] < 0.25, [0.9, 0.1, 0.1], [0.1, 0.1, 0.9])
    still = np.tile(np.array([1, 0, 0, 0], np.float32), (200, 1))
    sizes = np.full((200, 3), 0.03, np.float32)
    return Splats(centres.astype(np.float32), sizes, still, np.full(200, 0.9, np.float32), of_rgb(rgb))
