"""A volume where its world comes to lie: the same surfaces turned, shifted and so many times larger or smaller.

For worlds that move when the depth that made them is gone. Each new voxel takes what lies around the place that it was
at: trilinear, from known voxels only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.changes import BLOCK_VOXELS
from mapping.transforms import Sim3
from mapping.volume.tsdf import Blocks, Tsdf, joined

_MARGIN = 1e-6
_AT_ONCE = 4096
"""Blocks: of those that a volume may reach when it grows, few are kept."""


def moved(volume: Tsdf, new_from_old: Sim3) -> Blocks:
    """The blocks of a volume in the new world; distances grow with it and are truncated as before.

    Like those that depth makes, they are near a surface: of what was free, or grew too far from one, nothing is kept.
    """
    keys, old_from_new = _touched(volume, new_from_old), new_from_old.inverse()
    parts = []
    for first in range(0, max(1, len(keys)), _AT_ONCE):
        made = volume.resampled(keys[first : first + _AT_ONCE], old_from_new)
        is_near = (made.weight > 0.0) & (np.abs(made.tsdf_m) < volume.truncation_m)
        parts.append(made.only(np.flatnonzero(is_near.any(axis=(1, 2, 3)))))
    return joined(parts)


def _touched(volume: Tsdf, new_from_old: Sim3) -> NDArray[np.int32]:
    """(n, 3) blocks whose box may meet one of the old blocks where it comes to lie."""
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(8, 1, 3)
    block_m = volume.voxel_size_m * BLOCK_VOXELS
    at = new_from_old.apply((volume.block_keys() + corners) * block_m) / block_m  # (8, n, 3)
    low = np.floor(at.min(axis=0) + _MARGIN).astype(np.int64)
    high = np.floor(at.max(axis=0) - _MARGIN).astype(np.int64)
    most = int((high - low).max(initial=0)) + 1
    steps = np.stack(np.meshgrid(*[np.arange(most)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    reached = low + steps
    return np.unique(reached[(reached <= high).all(axis=-1)], axis=0).astype(np.int32)
