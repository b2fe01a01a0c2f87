"""Triangles into depth and coverage on the CPU: which triangle each pixel sees, where on it, and how far away.

1/z is affine over the image of a triangle, and so is any attribute times 1/z: the kernel keeps the nearest triangle of
each pixel and its perspective-correct weights. Pixel centres are at +0.5. Triangles that reach behind `NEAR_M` are left
out: a thing is looked at from outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.objects.mesh import F32, F64, U8, U32, Mesh
from mapping.transforms import invert
from streams.frame import Intrinsics

NEAR_M = 0.01
NO_FACE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What one camera sees of a mesh."""

    depth_m: F32  # (h, w) along the optical axis, 0 = nothing there
    face: NDArray[np.int32]  # (h, w), NO_FACE where there is none
    weights: F32  # (h, w, 2) of the triangle's second and third corner; the first has the rest


def draw(mesh: Mesh, world_from_camera: F64, intrinsics: Intrinsics) -> Drawn:
    """Depth and triangles as seen from a pose (OpenCV axes); both sides of a triangle show. `k1` is not applied."""
    k = intrinsics
    camera_from_world = invert(world_from_camera)
    in_camera = mesh.vertices_m.astype(np.float64) @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    return fill(in_camera, mesh.faces, k)


def fill(vertices_camera: F64, faces: U32, intrinsics: Intrinsics) -> Drawn:
    """The same for vertices (n, 3) that are in camera axes already."""
    k = intrinsics
    z = np.maximum(vertices_camera[:, 2], 1e-9)
    screen = np.stack(
        [k.fx * vertices_camera[:, 0] / z + k.cx, k.fy * vertices_camera[:, 1] / z + k.cy, vertices_camera[:, 2]],
        axis=1,
    )
    depth_m = np.zeros((k.height, k.width), np.float32)
    face = np.full((k.height, k.width), NO_FACE, np.int32)
    weights = np.zeros((k.height, k.width, 2), np.float32)
    _fill(screen, np.ascontiguousarray(faces, np.uint32), depth_m, face, weights)
    return Drawn(depth_m, face, weights)


def interpolated(drawn: Drawn, faces: U32, of_vertices: NDArray[np.floating]) -> F32:
    """(h, w, c) what the vertices (n, c) carry, at each pixel; 0 where nothing is."""
    seen = drawn.face >= 0
    corner = of_vertices[faces[drawn.face[seen]]]
    second, third = drawn.weights[seen][:, :1], drawn.weights[seen][:, 1:]
    out = np.zeros((*drawn.face.shape, of_vertices.shape[1]), np.float32)
    out[seen] = (1 - second - third) * corner[:, 0] + second * corner[:, 1] + third * corner[:, 2]
    return out


def colours(drawn: Drawn, mesh: Mesh) -> F32:
    """(h, w, 3) the mesh's own sRGB colour 0..255 at each pixel, bilinear in its texture; 0 where nothing is."""
    out = np.zeros((*drawn.face.shape, 3), np.float32)
    seen = drawn.face >= 0
    if mesh.texture is not None and mesh.uv is not None:
        height, width = mesh.texture.shape[:2]
        uv = interpolated(drawn, mesh.faces, mesh.uv)
        columns, rows = uv[..., 0] * width - 0.5, uv[..., 1] * height - 0.5
        looked_up = cv2.remap(
            mesh.texture.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        out[seen] = looked_up[seen]
    elif mesh.rgb is not None:
        out = interpolated(drawn, mesh.faces, mesh.rgb.astype(np.float32))
    else:
        out[seen] = 255.0
    return np.asarray(out * (np.array(mesh.material.rgb, np.float32) / 255.0), np.float32)


def picture(mesh: Mesh, world_from_camera: F64, intrinsics: Intrinsics) -> tuple[U8, F32]:
    """RGB (h, w, 3) in its own colours without light, and depth (h, w); black where nothing is."""
    drawn = draw(mesh, world_from_camera, intrinsics)
    return np.clip(colours(drawn, mesh) + 0.5, 0, 255).astype(np.uint8), drawn.depth_m


@kernel
def _fill(
    screen: NDArray[np.float64],
    faces: NDArray[np.uint32],
    depth_m: NDArray[np.float32],
    face: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> None:
    height, width = depth_m.shape
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if screen[a, 2] < NEAR_M or screen[b, 2] < NEAR_M or screen[c, 2] < NEAR_M:
            continue
        ua, va, ub, vb, uc, vc = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (ub - ua) * (vc - va) - (uc - ua) * (vb - va)
        if abs(area) < 1e-12:
            continue
        first_row = max(0, int(np.ceil(min(va, vb, vc) - 0.5)))
        last_row = min(height - 1, int(np.floor(max(va, vb, vc) - 0.5)))
        first_column = max(0, int(np.ceil(min(ua, ub, uc) - 0.5)))
        last_column = min(width - 1, int(np.floor(max(ua, ub, uc) - 0.5)))
        ia, ib, ic = 1.0 / screen[a, 2], 1.0 / screen[b, 2], 1.0 / screen[c, 2]
        for row in range(first_row, last_row + 1):
            v = row + 0.5
            for column in range(first_column, last_column + 1):
                u = column + 0.5
                wb = ((u - ua) * (vc - va) - (uc - ua) * (v - va)) / area
                wc = ((ub - ua) * (v - va) - (u - ua) * (vb - va)) / area
                wa = 1.0 - wb - wc
                if wa < -1e-9 or wb < -1e-9 or wc < -1e-9:
                    continue
                z = 1.0 / (wa * ia + wb * ib + wc * ic)
                if face[row, column] >= 0 and depth_m[row, column] <= z:
                    continue
                depth_m[row, column] = z
                face[row, column] = f
                weights[row, column, 0] = wb * ib * z
                weights[row, column, 1] = wc * ic * z
