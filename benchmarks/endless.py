"""A corridor without end, filmed by somebody who walks along it: ground that nobody has seen before, minute by minute.

Wall, floor, ceiling and far wall are planes; their pattern is the sum of three textures whose widths have no common
multiple within hours of walking, so that no place looks like another. Contrast fades with distance, which stands for
mip maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from mapping.transforms import F64, rigid
from streams.frame import Frame, Image, Intrinsics, StreamId

CAMERA = Intrinsics.from_fov(640, 480, 66.0)
FPS = 15.0
NAME = StreamId("corridor")
_WALK_M_S = 0.5
_EYE_M, _HEIGHT_M, _WIDTH_M, _WALL_M = 1.5, 2.6, 4.0, 1.6
"""Eye and ceiling over the floor; from wall to wall; from the nearer wall, which is filmed, to the eye."""
_YAW_DEG, _SWAY_DEG, _PITCH_DEG = 60.0, 12.0, -18.0
_TEXELS_PER_M = (211.0, 97.3, 23.9)
_SIDE_PX = 1024
_SHARP_M = 2.5


def world_from_camera(at_s: float) -> F64:
    """(4, 4) after so many seconds; the corridor runs along +z, its floor at y = 0, the filmed wall at x = 0."""
    yaw = np.radians(-_YAW_DEG + _SWAY_DEG * np.sin(0.5 * at_s))
    pitch = np.radians(_PITCH_DEG + 3.0 * np.sin(0.31 * at_s))
    forward = np.array([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)])
    right = np.cross(forward, np.array([0.0, 1.0, 0.0]))
    right /= np.linalg.norm(right)
    eye = np.array([_WALL_M + 0.15 * np.sin(0.7 * at_s), _EYE_M + 0.05 * np.sin(1.9 * at_s), _WALK_M_S * at_s])
    return rigid(np.column_stack([right, np.cross(forward, right), forward]), eye)


def frames(start_ns: int, first: int = 0) -> Iterator[Frame]:
    """What the walker's phone delivers, for ever, from some frame on; frame 0 is captured at `start_ns` (Unix ns)."""
    textures = _textures()
    for seq in count(first):
        at_s = seq / FPS
        rgb = np.empty((CAMERA.height, CAMERA.width, 3), np.uint8)
        _render(world_from_camera(at_s), CAMERA.matrix(), textures, np.array(_TEXELS_PER_M), rgb)
        capture_ns = start_ns + round(at_s * 1e9)
        yield Frame(NAME, seq, capture_ns, capture_ns, Image(rgb=rgb), CAMERA)


def _textures() -> NDArray[np.float32]:
    """(3, side, side): blotches that repeat, each of its own fineness, in gray levels around 0."""
    random = np.random.default_rng(0)
    made = []
    for blur, contrast in ((1.5, 22.0), (2.0, 34.0), (3.0, 30.0)):
        noise = np.tile(random.normal(size=(_SIDE_PX, _SIDE_PX)).astype(np.float32), (2, 2))
        smooth = cv2.GaussianBlur(noise, (0, 0), blur)[_SIDE_PX // 2 : -_SIDE_PX // 2, _SIDE_PX // 2 : -_SIDE_PX // 2]
        made.append(contrast * np.tanh(2.0 * smooth / smooth.std()))
    return np.array(made, np.float32)


@njit(cache=True, nogil=True)
def _render(pose, k, textures, texels_per_m, rgb):  # type: ignore[no-untyped-def]
    """Fill rgb (h, w, 3): each pixel's ray ends at the nearest of four planes."""
    side = textures.shape[1]
    for row in range(rgb.shape[0]):
        y = (row + 0.5 - k[1, 2]) / k[1, 1]
        for column in range(rgb.shape[1]):
            x = (column + 0.5 - k[0, 2]) / k[0, 0]
            dx = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2]
            dy = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2]
            dz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2]
            to_wall = (_WIDTH_M - pose[0, 3]) / dx if dx > 0 else pose[0, 3] / max(-dx, 1e-9)
            to_level = (_HEIGHT_M - pose[1, 3]) / dy if dy > 0 else pose[1, 3] / max(-dy, 1e-9)
            is_wall = to_wall < to_level
            far = min(to_wall, to_level)
            along = pose[2, 3] + far * dz
            across = pose[1, 3] + far * dy if is_wall else pose[0, 3] + far * dx
            surface = (1 if dx > 0 else 0) if is_wall else (3 if dy > 0 else 2)
            gray = 0.0
            for layer in range(3):
                u = along * texels_per_m[layer] + 257.3 * surface
                v = across * texels_per_m[layer] + 411.7 * surface
                i, j = int(np.floor(u)), int(np.floor(v))
                a, b = u - i, v - j
                i0, i1, j0, j1 = i % side, (i + 1) % side, j % side, (j + 1) % side
                t = textures[layer]
                gray += (1 - b) * ((1 - a) * t[j0, i0] + a * t[j0, i1]) + b * ((1 - a) * t[j1, i0] + a * t[j1, i1])
            gray = 125.0 + 8.0 * surface + gray * min(1.0, _SHARP_M / far)
            shade = min(255.0, max(0.0, gray))
            rgb[row, column, 0] = np.uint8(shade)
            rgb[row, column, 1] = np.uint8(0.95 * shade)
            rgb[row, column, 2] = np.uint8(0.85 * shade)
