"""Draw textured rectangles into colour and exact depth on the CPU: a visibility pass, then one shading of each pixel.

Over a plane, 1/z is an affine function of the pixel, so a face costs one multiply-add and one compare a sample. Four
samples a pixel decide what is visible; a pixel whose samples agree is shaded once, an edge pixel once for each face in
it, so that edges do not crawl as the camera moves. Textures are mip-mapped and filtered trilinearly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mapping.transforms import invert
from streams.frame import Intrinsics

NEAR_M = 0.02
_HALVES = np.array([0.5**i for i in range(16)])
_LOG2_Z_15 = (1.5 * np.log2((np.arange(4096) + 0.5) / 256)).astype(np.float32)
"""1.5 log2(z) every 1/256 m: a table is three times as fast as the function."""
SAMPLES = 2
"""A side: four samples a pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Rectangles: `origin` is the top left corner as seen from the free side, `right` and `down` are unit vectors."""

    origin: NDArray[np.float64]  # (n, 3) world
    right: NDArray[np.float64]  # (n, 3)
    down: NDArray[np.float64]  # (n, 3)
    size_m: NDArray[np.float64]  # (n, 2) along right and down
    texture: NDArray[np.int32]  # (n,) index into the atlas
    texels_per_m: NDArray[np.float64]  # (n, 2)
    texel_offset: NDArray[np.float64]  # (n, 2)
    light_start: NDArray[np.int64]  # (n,) first texel of the face in `light`
    light_shape: NDArray[np.int32]  # (n, 2) rows, columns
    light: NDArray[np.float32]  # (k, 3) factor on the texture's colour


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """Every level of every texture, one after the other, each a square of a power of two that repeats."""

    texels: NDArray[np.int32]  # (k,) red + green << 8 + blue << 16: one load for three channels
    start: NDArray[np.int64]  # (textures, levels) first texel of a level
    log2_size: NDArray[np.int32]  # (textures,) of level 0

    @classmethod
    def pack(cls, textures: list[NDArray[np.uint8]]) -> Atlas:
        """Build the pyramids of (s, s, 3) textures, s a power of two.

        Raises:
            ValueError: a texture is not such a square.
        """
        parts, starts, sizes, offset = [], [], [], 0
        for texture in textures:
            side = texture.shape[0]
            if texture.shape != (side, side, 3) or side & (side - 1):
                raise ValueError(f"texture of {texture.shape}: want a square of a power of two")
            level, row = texture.astype(np.float32), []
            while True:
                whole = np.clip(level + 0.5, 0, 255).astype(np.int32).reshape(-1, 3)
                parts.append(whole @ np.array([1, 1 << 8, 1 << 16], np.int32))
                row.append(offset)
                offset += level.shape[0] ** 2
                if level.shape[0] == 1:
                    break
                level = 0.25 * (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2])
            sizes.append(len(row) - 1)
            starts.append(row)
        table = np.zeros((len(starts), max(map(len, starts))), np.int64)
        for i, row in enumerate(starts):
            table[i, : len(row)] = row
        return cls(np.concatenate(parts), table, np.array(sizes, np.int32))


def draw(
    faces: Faces, atlas: Atlas, world_from_camera: NDArray[np.float64], intrinsics: Intrinsics
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """RGB (h, w, 3) and depth (h, w) in metres along the optical axis, 0 where no face is; `k1` is not applied."""
    k, s = intrinsics, SAMPLES
    height, width = k.height, k.width
    camera_from_world = invert(world_from_camera)
    rotation = camera_from_world[:3, :3]
    planes = _Planes.seen_by(faces, rotation, camera_from_world[:3, 3])
    inv_z = np.zeros((height * s, width * s), np.float32)
    face_id = np.full((height * s, width * s), -1, np.int16)
    focal = np.array([k.fx * s, k.fy * s, k.cx * s, k.cy * s])
    _rasterize(planes.order, planes.corners, planes.inv_z, focal, inv_z, face_id)
    rgb = np.zeros((height, width, 3), np.uint8)
    depth = np.zeros((height, width), np.float32)
    # The footprint of a pixel in texels, between its short side and its foreshortened one, grows with z^1.5.
    footprint = 0.8 / k.fx * faces.texels_per_m.max(axis=1) * np.sqrt(np.linalg.norm(planes.inv_z, axis=1))
    paint = np.column_stack(
        [
            planes.inv_z,  # 0..2
            planes.right,  # 3..5
            np.einsum("ij,ij->i", planes.right, planes.origin),
            planes.down,  # 7..9
            np.einsum("ij,ij->i", planes.down, planes.origin),
            faces.size_m,  # 11, 12
            faces.texels_per_m,
            faces.texel_offset,  # 15, 16
            np.log2(np.maximum(footprint, 1e-9)),
            (faces.light_shape[:, ::-1] - 1) / faces.size_m,  # 18, 19
        ]
    )
    looks = np.column_stack([faces.texture, atlas.log2_size[faces.texture], faces.light_start, faces.light_shape])
    camera = np.array([k.fx, k.fy, k.cx, k.cy])
    _shade(face_id, inv_z, camera, paint, looks, faces.light, atlas.texels, atlas.start, rgb, depth)
    return rgb, depth


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """The faces in camera axes; `order` holds those that show their front, nearest first."""

    order: NDArray[np.int64]
    corners: NDArray[np.float64]  # (n, 4, 3)
    inv_z: NDArray[np.float64]  # (n, 3) 1/z = inv_z . (x/z, y/z, 1)
    origin: NDArray[np.float64]
    right: NDArray[np.float64]
    down: NDArray[np.float64]

    @classmethod
    def seen_by(cls, faces: Faces, rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> _Planes:
        origin = faces.origin @ rotation.T + translation
        right, down = faces.right @ rotation.T, faces.down @ rotation.T
        along, across = right * faces.size_m[:, :1], down * faces.size_m[:, 1:]
        corners = np.stack([origin, origin + along, origin + along + across, origin + across], axis=1)
        inwards = np.cross(right, down)
        distance = np.einsum("ij,ij->i", inwards, origin)
        front = (distance > 1e-6) & (corners[:, :, 2].max(axis=1) > NEAR_M)
        safe = np.where(front, distance, 1.0)
        # The nearest point of a face, roughly: its box in camera axes.
        nearest = np.linalg.norm(np.maximum(0, np.maximum(corners.min(axis=1), -corners.max(axis=1))), axis=1)
        order = np.flatnonzero(front)
        order = order[np.argsort(nearest[order], kind="stable")]
        return cls(order, corners, inwards / safe[:, None], origin, right, down)


@njit(cache=True, nogil=True, fastmath=True)
def _rasterize(order, corners, planes, focal, inv_z, face_id):  # type: ignore[no-untyped-def]
    """Keep at each sample the face with the largest 1/z."""
    height, width = inv_z.shape
    polygon = np.empty((8, 2))
    clipped = np.empty((8, 3))
    for index in order:
        count = 0
        for i in range(4):
            a, b = corners[index, i], corners[index, (i + 1) % 4]
            if a[2] >= NEAR_M:
                clipped[count] = a
                count += 1
            if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
                t = (NEAR_M - a[2]) / (b[2] - a[2])
                clipped[count] = a + t * (b - a)
                count += 1
        if count < 3:
            continue
        x_min, x_max, y_min, y_max = 1e18, -1e18, 1e18, -1e18
        for i in range(count):
            u = focal[0] * clipped[i, 0] / clipped[i, 2] + focal[2]
            v = focal[1] * clipped[i, 1] / clipped[i, 2] + focal[3]
            polygon[i, 0], polygon[i, 1] = u, v
            x_min, x_max, y_min, y_max = min(x_min, u), max(x_max, u), min(y_min, v), max(y_max, v)
        if x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
            continue
        step_u = planes[index, 0] / focal[0]
        step_v = planes[index, 1] / focal[1]
        constant = planes[index, 2] - step_u * focal[2] - step_v * focal[3]
        for row in range(max(0, int(np.ceil(y_min - 0.5))), min(height, int(np.floor(y_max - 0.5)) + 1)):
            v = row + 0.5
            left, right = 1e18, -1e18
            for i in range(count):
                j = (i + 1) % count
                va, vb = polygon[i, 1], polygon[j, 1]
                if (va <= v) != (vb <= v):
                    u = polygon[i, 0] + (v - va) / (vb - va) * (polygon[j, 0] - polygon[i, 0])
                    left, right = min(left, u), max(right, u)
            if left > right:
                continue
            first = max(0, int(np.ceil(max(left, 0.0) - 0.5)))
            last = min(width, int(np.floor(min(right, float(width)) - 0.5)) + 1)
            base = np.float32(constant + step_v * v + step_u * 0.5)
            slope = np.float32(step_u)
            for column in range(first, last):
                value = base + slope * np.float32(column)
                if value > inv_z[row, column]:
                    inv_z[row, column] = value
                    face_id[row, column] = index


@njit(cache=True, nogil=True, fastmath=True)
def _texel(texels, start, log2_size, s, t):  # type: ignore[no-untyped-def]
    """The bilinear sample (r, g, b) at (s, t), in texels of the level that begins at `start`."""
    side = 1 << log2_size
    mask = side - 1
    x, y = s - 0.5, t - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    xa, xb = x0 & mask, (x0 + 1) & mask
    ya, yb = start + (y0 & mask) * side, start + ((y0 + 1) & mask) * side
    one = np.float32(1.0)
    waa, wab, wba, wbb = (one - fy) * (one - fx), (one - fy) * fx, fy * (one - fx), fy * fx
    # Unsigned: numba would otherwise test every index for a negative one.
    aa, ab = texels[np.uint64(ya + xa)], texels[np.uint64(ya + xb)]
    ba, bb = texels[np.uint64(yb + xa)], texels[np.uint64(yb + xb)]
    r = waa * (aa & 255) + wab * (ab & 255) + wba * (ba & 255) + wbb * (bb & 255)
    g = waa * (aa >> 8 & 255) + wab * (ab >> 8 & 255) + wba * (ba >> 8 & 255) + wbb * (bb >> 8 & 255)
    b = waa * (aa >> 16) + wab * (ab >> 16) + wba * (ba >> 16) + wbb * (bb >> 16)
    return r, g, b


@njit(cache=True, nogil=True, fastmath=True)
def _colour(f, z, rx, ry, paint, looks, light, texels, starts):  # type: ignore[no-untyped-def]
    """Colour (r, g, b) of face f where the ray (rx, ry, 1) meets it at depth z; `paint` and `looks` as in `draw`."""
    along = z * (paint[f, 3] * rx + paint[f, 4] * ry + paint[f, 5]) - paint[f, 6]
    across = z * (paint[f, 7] * rx + paint[f, 8] * ry + paint[f, 9]) - paint[f, 10]
    along = min(max(along, 0.0), paint[f, 11])
    across = min(max(across, 0.0), paint[f, 12])

    log2_size = looks[f, 1]
    level = min(
        max(np.float32(paint[f, 17]) + _LOG2_Z_15[min(int(z * 256.0), 4095)], np.float32(0.0)), np.float32(log2_size)
    )
    low = min(int(level), log2_size - 1)
    blend = np.float32(level - low)
    scale = _HALVES[low]
    s, t = scale * (along * paint[f, 13] + paint[f, 15]), scale * (across * paint[f, 14] + paint[f, 16])
    r0, g0, b0 = _texel(texels, starts[looks[f, 0], low], log2_size - low, s, t)
    r1, g1, b1 = _texel(texels, starts[looks[f, 0], low + 1], log2_size - low - 1, 0.5 * s, 0.5 * t)
    keep = np.float32(1.0) - blend
    r, g, b = keep * r0 + blend * r1, keep * g0 + blend * g1, keep * b0 + blend * b1

    rows, columns = looks[f, 3], looks[f, 4]
    x, y = along * paint[f, 18], across * paint[f, 19]
    x0, y0 = min(int(x), columns - 2), min(int(y), rows - 2)
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    a, c = np.uint64(looks[f, 2] + y0 * columns + x0), np.uint64(looks[f, 2] + (y0 + 1) * columns + x0)
    a1, c1 = a + np.uint64(1), c + np.uint64(1)
    one = np.float32(1.0)
    waa, wab, wba, wbb = (one - fy) * (one - fx), (one - fy) * fx, fy * (one - fx), fy * fx
    r *= waa * light[a, 0] + wab * light[a1, 0] + wba * light[c, 0] + wbb * light[c1, 0]
    g *= waa * light[a, 1] + wab * light[a1, 1] + wba * light[c, 1] + wbb * light[c1, 1]
    b *= waa * light[a, 2] + wab * light[a1, 2] + wba * light[c, 2] + wbb * light[c1, 2]
    return r, g, b


@njit(cache=True, nogil=True, fastmath=True)
def _shade(face_id, inv_z, focal, paint, looks, light, texels, starts, rgb, depth):  # type: ignore[no-untyped-def]
    """Shade each pixel once for each face among its samples; its depth is that of the face most samples see."""
    height, width = depth.shape
    half, inv_fx = np.float32(0.5), 1.0 / focal[0]
    for row in range(height):
        ry = (row + 0.5 - focal[3]) / focal[1]
        for column in range(width):
            rx = (column + 0.5 - focal[2]) * inv_fx
            f = face_id[2 * row, 2 * column]
            same = (
                f == face_id[2 * row, 2 * column + 1]
                and f == face_id[2 * row + 1, 2 * column]
                and f == face_id[2 * row + 1, 2 * column + 1]
            )
            if same:
                if f < 0:
                    continue
                z = 1.0 / (paint[f, 0] * rx + paint[f, 1] * ry + paint[f, 2])
                r, g, b = _colour(f, z, rx, ry, paint, looks, light, texels, starts)
                depth[row, column] = z
            else:
                # The pixel's centre may lie off each of the faces: stay at the samples' own depths.
                r, g, b = np.float32(0.0), np.float32(0.0), np.float32(0.0)
                best_votes, best_near = 0, np.float32(0.0)
                for i in range(4):
                    f = face_id[2 * row + i // 2, 2 * column + i % 2]
                    near = inv_z[2 * row + i // 2, 2 * column + i % 2]
                    votes, first = 0, True
                    for j in range(4):
                        if face_id[2 * row + j // 2, 2 * column + j % 2] == f:
                            votes += 1
                            first = first and j >= i
                    if f < 0 or not first:
                        continue
                    z = 1.0 / near
                    r1, g1, b1 = _colour(f, z, rx, ry, paint, looks, light, texels, starts)
                    share = np.float32(0.25 * votes)
                    r, g, b = r + share * r1, g + share * g1, b + share * b1
                    if votes > best_votes or (votes == best_votes and near > best_near):
                        best_votes, best_near = votes, near
                        depth[row, column] = z
            rgb[row, column, 0] = np.uint8(min(r + half, np.float32(255.0)))
            rgb[row, column, 1] = np.uint8(min(g + half, np.float32(255.0)))
            rgb[row, column, 2] = np.uint8(min(b + half, np.float32(255.0)))
