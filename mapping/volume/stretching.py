"""A volume in another unit: the same surfaces, so many times larger or smaller about the world's origin.

For maps that learn how long their unit is when the depth that made them is gone. Stretching maps axes onto themselves,
so each new block is one product of three small matrices with the voxels it comes from: trilinear, known ones only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.changes import BLOCK_VOXELS
from mapping.volume.tsdf import Blocks, Tsdf

_LEAST_KNOWN = 0.5
"""A voxel is known when so much of what it is interpolated from is."""
_MARGIN = 1e-6


def stretched(volume: Tsdf, factor: float) -> Blocks:
    """The blocks of a volume `factor` times as large; distances grow with it and are truncated as before."""
    keys = _touched(volume.block_keys(), factor)
    e = BLOCK_VOXELS
    made = Blocks(
        keys,
        np.zeros((len(keys), e, e, e), np.float32),
        np.zeros((len(keys), e, e, e), np.float32),
        np.zeros((len(keys), e, e, e, 3), np.uint8),
    )
    for row, key in enumerate(keys):
        _fill(volume, factor, key, made, row)
    return made.only(np.flatnonzero(made.weight.any(axis=(1, 2, 3))))


def _touched(keys: NDArray[np.int32], factor: float) -> NDArray[np.int32]:
    """(n, 3) blocks that stretched ones reach into."""
    low = np.floor(keys * factor + _MARGIN).astype(np.int64)
    high = np.floor((keys + 1) * factor - _MARGIN).astype(np.int64)
    most = int((high - low).max(initial=0)) + 1
    steps = np.stack(np.meshgrid(*[np.arange(most)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    reached = low + steps
    return np.unique(reached[(reached <= high).all(axis=-1)], axis=0).astype(np.int32)


def _fill(volume: Tsdf, factor: float, key: NDArray[np.int32], made: Blocks, row: int) -> None:
    at = (np.arange(BLOCK_VOXELS) + 0.5 + BLOCK_VOXELS * key[:, None].astype(np.float64)) / factor - 0.5  # (3, 8)
    first = np.floor(at.min(axis=1)).astype(int)
    size = np.floor(at.max(axis=1)).astype(int) + 2 - first
    x, y, z = (_shares(at[axis] - first[axis], int(size[axis])) for axis in range(3))
    window = volume.window((int(first[0]), int(first[1]), int(first[2])), (int(size[0]), int(size[1]), int(size[2])))
    is_known = (window.weight > 0).astype(np.float32)
    known = np.einsum("ai,bj,ck,ijk->abc", x, y, z, is_known, optimize=True)
    share = 1.0 / np.maximum(known, _MARGIN)
    distance = np.einsum("ai,bj,ck,ijk->abc", x, y, z, window.tsdf_m * is_known, optimize=True) * share
    weight = np.einsum("ai,bj,ck,ijk->abc", x, y, z, window.weight, optimize=True) * share
    nearest = np.ix_(*(np.rint(at[axis] - first[axis]).astype(int) for axis in range(3)))
    made.tsdf_m[row] = np.clip(distance * factor, -volume.truncation_m, volume.truncation_m)
    made.weight[row] = np.where(known >= _LEAST_KNOWN, weight, 0.0)
    made.rgb[row] = window.rgb[nearest]


def _shares(at: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """(8, size) of linear interpolation: what each voxel takes from which."""
    shares = np.zeros((len(at), size), np.float32)
    below, rows = np.floor(at).astype(int), np.arange(len(at))
    shares[rows, below] = 1.0 - (at - below)
    shares[rows, below + 1] += at - below
    return shares
