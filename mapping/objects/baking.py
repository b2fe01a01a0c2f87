"""The picture on a mesh, baked from posed views: each texel is the mean of the views that see it well.

A view counts by the fourth power of the cosine at which it looks at the texel, and by its nearness; whether it sees the
texel at all is asked of the mesh's own depth in that view. What no view saw takes the colours around it, carried over
the surface (not over the picture, where neighbours may be strangers), or keeps those that it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.objects.cleaning import neighbour_means
from mapping.objects.mesh import F32, U8, Mesh, MeshError, vertex_normals, welded
from mapping.objects.raster import Drawn, colours, draw, fill, interpolated
from mapping.objects.view import View
from mapping.transforms import invert
from streams.frame import Intrinsics

HIDDEN_M = 0.01
"""A texel this far behind what the mesh shows at its pixel is hidden."""
_SPREAD_ROUNDS = 400
WHITE = (255, 255, 255)


def baked(mesh: Mesh, views: Sequence[View], texture_px: int, *, keeps_look: bool = False) -> Mesh:
    """The mesh, which must have uv, with a square picture from the views.

    Args:
        keeps_look: what no view saw looks as it did, rather than as what is around it.

    Raises:
        MeshError: it has no uv.
    """
    normals = vertex_normals(mesh)
    flat = texels(mesh, texture_px)
    inside = flat.face >= 0
    places = interpolated(flat, mesh.faces, mesh.vertices_m)[inside]
    facing = interpolated(flat, mesh.faces, normals)[inside]
    total, weight = _seen(mesh, views, places, facing)

    if keeps_look:
        unseen = colours(flat, mesh)[inside]
    else:
        unseen = interpolated(flat, mesh.faces, _vertex_colours(mesh, normals, views))[inside]
    sure = np.minimum(weight / _SURE, 1.0)[:, None]
    texture = np.zeros((texture_px, texture_px, 3), np.float32)
    texture[inside] = sure * total / np.maximum(weight, 1e-12)[:, None] + (1 - sure) * unseen
    white = replace(mesh.material, rgb=WHITE)
    return replace(mesh, texture=with_gutters(texture, inside), rgb=None, material=white)


def texels(mesh: Mesh, texture_px: int) -> Drawn:
    """Which triangle each texel of a square picture belongs to, and where on it.

    Raises:
        MeshError: the mesh has no uv.
    """
    if mesh.uv is None:
        raise MeshError("baking needs uv: unwrap the mesh first")
    flat = np.column_stack([mesh.uv * texture_px, np.ones(len(mesh.uv))]).astype(np.float64)
    return fill(flat, mesh.faces, Intrinsics(1.0, 1.0, 0.0, 0.0, texture_px, texture_px))


_SURE = 0.02
"""Weight from which a texel is its views' mean alone; below, the surroundings have a say."""


def _seen(mesh: Mesh, views: Sequence[View], places: F32, facing: F32) -> tuple[F32, F32]:
    """Weighted sum (k, 3) of the colours at points (k, 3) with normals (k, 3) over all views; sum (k,) of weights."""
    total, weight = np.zeros((len(places), 3), np.float32), np.zeros(len(places), np.float32)
    for view in views:
        k = view.intrinsics
        depth_m = draw(mesh, view.world_from_camera, k).depth_m
        usable = np.ones(depth_m.shape, np.uint8) if view.mask is None else view.mask.astype(np.uint8)
        # Pixels at the rim mix in what is behind.
        inner_px = cv2.distanceTransform(np.pad(usable, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        pinhole = np.array([k.fx, k.fy, k.cx, k.cy])
        rgb = np.ascontiguousarray(view.rgb)
        _add(places, facing, rgb, depth_m, inner_px, invert(view.world_from_camera), pinhole, HIDDEN_M, total, weight)
    return total, weight


def _vertex_colours(mesh: Mesh, normals: F32, views: Sequence[View]) -> F32:
    """(n, 3) colours of all vertices: what was seen, spread over the surface to what was not."""
    total, weight = _seen(mesh, views, mesh.vertices_m, normals)
    places, index = np.unique(mesh.vertices_m + np.float32(0.0), axis=0, return_inverse=True)
    index = index.reshape(-1)
    sums = np.stack([np.bincount(index, total[:, c], len(places)) for c in range(3)], axis=1)
    weights = np.bincount(index, weight, len(places))[:, None]
    seen = weights[:, 0] > 1e-4
    if not seen.any():
        return np.full((len(mesh.vertices_m), 3), 128.0, np.float32)
    found = np.where(seen[:, None], sums / np.maximum(weights, 1e-12), (sums.sum(0) / weights.sum())[None])
    if not seen.all():
        around = neighbour_means(welded(mesh))
        for _ in range(_SPREAD_ROUNDS):
            found = np.where(seen[:, None], found, around @ found)
    return found[index].astype(np.float32)


def with_gutters(texture: F32, inside: NDArray[np.bool_]) -> U8:
    """Every texel outside the charts takes the nearest one's colour inside."""
    _, nearest = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros((int(nearest.max()) + 1, 3), np.float32)
    of_label[nearest[inside]] = texture[inside]
    return np.asarray(np.clip(of_label[nearest] + 0.5, 0, 255), np.uint8)


@kernel
def _add(
    places: NDArray[np.float32],
    facing: NDArray[np.float32],
    rgb: NDArray[np.uint8],
    depth_m: NDArray[np.float32],
    inner_px: NDArray[np.float32],
    camera_from_world: NDArray[np.float64],
    pinhole: NDArray[np.float64],
    hidden_m: float,
    total: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> None:
    height, width = depth_m.shape
    r = camera_from_world
    for i in range(len(places)):
        px, py, pz = places[i, 0], places[i, 1], places[i, 2]
        x = r[0, 0] * px + r[0, 1] * py + r[0, 2] * pz + r[0, 3]
        y = r[1, 0] * px + r[1, 1] * py + r[1, 2] * pz + r[1, 3]
        z = r[2, 0] * px + r[2, 1] * py + r[2, 2] * pz + r[2, 3]
        if z <= 0.01:
            continue
        u, v = pinhole[0] * x / z + pinhole[2] - 0.5, pinhole[1] * y / z + pinhole[3] - 0.5
        u0, v0 = int(np.floor(u)), int(np.floor(v))
        if u0 < 0 or v0 < 0 or u0 + 1 >= width or v0 + 1 >= height:
            continue
        seen = depth_m[int(v + 0.5), int(u + 0.5)]
        if seen > 0.0 and z > seen + hidden_m:
            continue
        nx = r[0, 0] * facing[i, 0] + r[0, 1] * facing[i, 1] + r[0, 2] * facing[i, 2]
        ny = r[1, 0] * facing[i, 0] + r[1, 1] * facing[i, 1] + r[1, 2] * facing[i, 2]
        nz = r[2, 0] * facing[i, 0] + r[2, 1] * facing[i, 1] + r[2, 2] * facing[i, 2]
        cosine = -(nx * x + ny * y + nz * z) / np.sqrt(x * x + y * y + z * z)
        if cosine <= 0.05:
            continue
        gain = cosine**4 / (z * z) * min(1.0, max(0.0, 0.5 * (inner_px[int(v + 0.5), int(u + 0.5)] - 1.0)))
        if gain <= 0.0:
            continue
        a, b = u - u0, v - v0
        for c in range(3):
            total[i, c] += gain * (
                (1 - b) * ((1 - a) * rgb[v0, u0, c] + a * rgb[v0, u0 + 1, c])
                + b * ((1 - a) * rgb[v0 + 1, u0, c] + a * rgb[v0 + 1, u0 + 1, c])
            )
        weight[i] += gain
