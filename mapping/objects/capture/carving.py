"""Posed depth and silhouettes into one closed signed distance field, dense and fine, around one thing.

Depth is averaged as in any truncated field (Curless & Levoy 1996). Two facts close it, which the map's own volume must
not assume: what is hidden behind the thing itself is inside, and what a view looks through beside the silhouette is
outside (the visual hull). A pixel beside the silhouette whose depth is unknown, or ends before the voxel, proves
nothing: masks have gaps where depth has, and other things stand in the way. Where most views say no more than that,
there is nothing, nor is there anything outside of the convex hull of what was seen, set down on the floor. A voxel's
distance is the larger of what depth and outlines say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull

from mapping.changes import VoxelWindow
from mapping.kernels import kernel
from mapping.objects.capture.region import Floor, world_points
from mapping.objects.mesh import F32, F64, Mesh, from_arrays
from mapping.objects.view import View
from mapping.transforms import invert
from mapping.volume.surface import extract

TRUNCATION_VOXELS = 4.0
_KEPT_VOXELS = 1.4
"""Distances are cut to this before the surface is taken: its extraction leaves out steps of three voxels and more."""
_BLUR_VOXELS = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A box of voxels; voxel (i, j, k) has its centre at `origin_m + (i, j, k) * voxel_m`."""

    origin_m: F64  # (3,) world
    voxel_m: float
    distance_m: F32  # (nx, ny, nz) + outside


def carve(views: Sequence[View], low_m: F64, high_m: F64, voxel_m: float, floor: Floor) -> Field:
    """The field of what stands between two corners; below the floor nothing is inside.

    Every view needs depth and a mask.
    """
    margin_m = 3 * voxel_m
    origin_m = np.asarray(low_m, np.float64) - margin_m
    shape = tuple(int(n) for n in np.ceil((high_m - low_m + 2 * margin_m) / voxel_m) + 1)
    truncation_m = TRUNCATION_VOXELS * voxel_m
    total, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    outside_m = np.full(shape, -truncation_m, np.float32)
    hidden = np.zeros(shape, np.int16)
    for view in views:
        assert view.mask is not None
        assert view.depth_m is not None
        k = view.intrinsics
        rim_px = _signed_distance_px(view.mask)
        _integrate(
            view.depth_m, rim_px, invert(view.world_from_camera), np.array([k.fx, k.fy, k.cx, k.cy]),
            origin_m, voxel_m, truncation_m, total, weight, outside_m, hidden,
        )  # fmt: skip
    seen = weight > 0
    _empty_beyond(hidden, _hull(views, low_m, high_m, floor), origin_m, voxel_m)
    unseen_m = np.where(hidden > 0, -truncation_m, truncation_m)
    distance_m = np.where(seen, total / np.where(seen, weight, 1), unseen_m).astype(np.float32)
    distance_m = np.maximum(distance_m, outside_m)
    distance_m = gaussian_filter(distance_m, _BLUR_VOXELS, mode="nearest")
    x, y, z = (origin_m[c] + voxel_m * np.arange(shape[c]) for c in range(3))
    ground_m = floor.slope_x * x[:, None] + floor.slope_z * z[None, :] + floor.at_zero_m
    below_m = ground_m[:, None, :] - y[None, :, None]
    distance_m = np.maximum(distance_m, below_m.astype(np.float32))
    return Field(origin_m, voxel_m, distance_m)


def surface(field: Field) -> Mesh:
    """The field's zero as triangles in the world."""
    limit_m = _KEPT_VOXELS * field.voxel_m
    padded = np.pad(np.clip(field.distance_m, -limit_m, limit_m), 1, constant_values=limit_m)
    window = VoxelWindow((0, 0, 0), padded, np.ones_like(padded), np.zeros((*padded.shape, 3), np.uint8))
    found = extract(window, field.voxel_m)
    # The window's voxel (0, 0, 0) has its centre at half a voxel, and the padding added one more.
    return from_arrays(found.vertices_m + (field.origin_m - 1.5 * field.voxel_m), found.indices)


def _signed_distance_px(mask: NDArray[np.bool_]) -> F32:
    """(h, w) pixels to the mask's rim, + inside."""
    inside = mask.astype(np.uint8)
    return np.asarray(
        np.where(
            mask,
            cv2.distanceTransform(inside, cv2.DIST_L2, 5) - 0.5,
            0.5 - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5),
        ),
        np.float32,
    )


def _hull(views: Sequence[View], low_m: F64, high_m: F64, floor: Floor) -> F64:
    """(k, 4) half-spaces `n x + d <= 0` of the convex hull of what was seen, and of the floor below it."""
    seen = []
    for view in views:
        points = world_points(view)[::3, ::3]
        known = (view.depth_m > 0)[::3, ::3] & view.mask[::3, ::3]  # type: ignore[operator, index]
        seen.append(points[known])
    points = np.concatenate(seen)
    points = points[np.all((points >= low_m) & (points <= high_m), axis=1)]
    if len(points) < 4:
        return np.empty((0, 4))
    below = points * [1.0, 0.0, 1.0] + np.outer(floor.height_m(points), [0.0, 1.0, 0.0])
    return np.ascontiguousarray(ConvexHull(np.concatenate([points, below])).equations)


@kernel
def _empty_beyond(
    hidden: NDArray[np.int16], half_spaces: NDArray[np.float64], origin_m: NDArray[np.float64], voxel_m: float
) -> None:
    """Nothing is hidden outside of all half-spaces `n x + d <= 0`, half a voxel allowed."""
    nx, ny, nz = hidden.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if hidden[i, j, k] <= 0:
                    continue
                x, y, z = origin_m[0] + i * voxel_m, origin_m[1] + j * voxel_m, origin_m[2] + k * voxel_m
                for h in range(len(half_spaces)):
                    n = half_spaces[h]
                    if n[0] * x + n[1] * y + n[2] * z + n[3] > 0.5 * voxel_m:
                        hidden[i, j, k] = 0
                        break


@kernel
def _integrate(
    depth_m: NDArray[np.float32],
    rim_px: NDArray[np.float32],
    camera_from_world: NDArray[np.float64],
    pinhole: NDArray[np.float64],
    origin_m: NDArray[np.float64],
    voxel_m: float,
    truncation_m: float,
    total: NDArray[np.float32],
    weight: NDArray[np.float32],
    outside_m: NDArray[np.float32],
    hidden: NDArray[np.int16],
) -> None:
    h, w = depth_m.shape
    nx, ny, nz = total.shape
    r = camera_from_world
    for i in range(nx):
        px = origin_m[0] + i * voxel_m
        for j in range(ny):
            py = origin_m[1] + j * voxel_m
            for k in range(nz):
                pz = origin_m[2] + k * voxel_m
                z = r[2, 0] * px + r[2, 1] * py + r[2, 2] * pz + r[2, 3]
                if z < 0.02:
                    continue
                x = (r[0, 0] * px + r[0, 1] * py + r[0, 2] * pz + r[0, 3]) / z
                y = (r[1, 0] * px + r[1, 1] * py + r[1, 2] * pz + r[1, 3]) / z
                u, v = int(np.floor(pinhole[0] * x + pinhole[2])), int(np.floor(pinhole[1] * y + pinhole[3]))
                if u < 0 or v < 0 or u >= w or v >= h:
                    continue
                is_known = depth_m[v, u] > 0.0
                distance_m = depth_m[v, u] - z
                is_beside = rim_px[v, u] < 0.0
                if is_beside and not (is_known and distance_m > voxel_m):
                    hidden[i, j, k] -= 1
                    continue
                beside_m = -rim_px[v, u] * z / pinhole[0]
                outside_m[i, j, k] = max(outside_m[i, j, k], np.float32(min(beside_m, truncation_m)))
                if is_beside:
                    continue
                if not is_known or distance_m < 0.0:
                    hidden[i, j, k] += 1
                if not is_known:
                    continue
                if distance_m <= -truncation_m:
                    continue
                gain = 1.0
                if distance_m < -voxel_m:
                    gain = (truncation_m + distance_m) / (truncation_m - voxel_m)
                total[i, j, k] += gain * min(distance_m, truncation_m)
                weight[i, j, k] += gain
