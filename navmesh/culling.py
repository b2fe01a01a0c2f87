"""Triangles for deciding what need not be drawn: all of them inside the solids, so what they hide is hidden for sure.

The surface is extracted `inset_m` deep in the solid and simplified by half of that; what still comes near the true
surface, or leads through the unknown, is left out. Thin things are missing: for compositing there is `occlusion`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.changes import VoxelWindow
from mapping.kernels import kernel
from mapping.volume.surface import extract
from navmesh.occlusion import empty_tile, few_triangles
from navmesh.tiles import SurfaceTile, TileKey
from navmesh.triangles import F32, U32, in_strips

_MARGIN_M = 0.001
"""What rounding on the wire may eat up."""


class Config(BaseModel):
    """Whether there are culling tiles, and how deep they lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_built: bool = False
    """They cost as much as occluders; most scenes need none."""
    inset_m: Annotated[float, Field(gt=0)] = 0.02
    """How deep in the solid; things thinner than twice this are missing."""
    cube_voxels: Annotated[int, Field(ge=1)] = 4
    """As of `occlusion.Config`."""
    period_s: Annotated[float, Field(ge=0)] = 1.0
    """A tile is built at most this often."""


def build_culling_tile(window: VoxelWindow, key: TileKey, voxel_size_m: float, config: Config) -> SurfaceTile:
    """Triangles of which no point lies outside the surface of the window."""
    inset = replace(window, tsdf_m=window.tsdf_m + np.float32(config.inset_m))
    surface = extract(inset, voxel_size_m)
    if len(surface.indices) == 0:
        return empty_tile(key)
    vertices_m, indices = few_triangles(surface, voxel_size_m, config.cube_voxels, config.inset_m / 2)
    origin = np.array(window.origin_voxel, np.int64)
    is_inside = _are_inside(window.tsdf_m, window.weight, origin, voxel_size_m, vertices_m, indices)
    return SurfaceTile(key, *in_strips(vertices_m, indices[is_inside]))


@kernel
def _are_inside(
    tsdf_m: F32, weight: F32, origin: NDArray[np.int64], voxel_size_m: float, vertices_m: F32, indices: U32
) -> NDArray[np.bool_]:
    """Which triangles lie in known solid everywhere, sampled at every voxel."""
    out = np.ones(len(indices), np.bool_)
    point = np.empty(3)
    for t in range(len(indices)):
        a, b, c = vertices_m[indices[t, 0]], vertices_m[indices[t, 1]], vertices_m[indices[t, 2]]
        longest = 0.0
        for axis in range(3):
            longest = max(longest, abs(b[axis] - a[axis]), abs(c[axis] - a[axis]), abs(c[axis] - b[axis]))
        steps = int(np.ceil(longest / voxel_size_m)) + 1
        for i in range(steps + 1):
            for j in range(steps + 1 - i):
                u, v = i / steps, j / steps
                for axis in range(3):
                    point[axis] = a[axis] + u * (b[axis] - a[axis]) + v * (c[axis] - a[axis])
                if not _is_solid(tsdf_m, weight, origin, voxel_size_m, point):
                    out[t] = False
                    break
            if not out[t]:
                break
    return out


@kernel
def _is_solid(
    tsdf_m: F32, weight: F32, origin: NDArray[np.int64], voxel_size_m: float, point: NDArray[np.float64]
) -> bool:
    x, y, z = point[0] / voxel_size_m - 0.5, point[1] / voxel_size_m - 0.5, point[2] / voxel_size_m - 0.5
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - i, y - j, z - k
    i, j, k = i - origin[0], j - origin[1], k - origin[2]
    nx, ny, nz = tsdf_m.shape
    if i < 0 or j < 0 or k < 0 or i + 1 >= nx or j + 1 >= ny or k + 1 >= nz:
        return False
    total = 0.0
    for corner in range(8):
        a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
        if not weight[i + a, j + b, k + c] > 0.0:
            return False
        share = (fx if a else 1.0 - fx) * (fy if b else 1.0 - fy) * (fz if c else 1.0 - fz)
        total += share * tsdf_m[i + a, j + b, k + c]
    return total <= -_MARGIN_M
