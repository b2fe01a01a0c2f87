"""Small pictures of a mesh: one, and a strip all the way round, drawn on the CPU with a soft light from above."""

from __future__ import annotations

import cv2
import numpy as np

from mapping.objects.mesh import F64, U8, Mesh, vertex_normals
from mapping.objects.raster import colours, draw, interpolated
from mapping.transforms import look_at
from streams.frame import Intrinsics

TURNTABLE_FRAMES = 8
_SAMPLES = 2
FOV_DEG = 30.0
_ELEVATION_RAD = 0.45
_LIGHT = np.array([0.35, 0.85, 0.4]) / np.linalg.norm([0.35, 0.85, 0.4])
_AMBIENT = 0.55
_BACKGROUND = 255.0


def thumbnail(mesh: Mesh, side_px: int = 256, azimuth_rad: float = 0.5) -> U8:
    """(side, side, 3) RGB of the whole mesh from the front right and above; azimuth 0 looks at its +Z side.

    Raises:
        MeshError: it has no triangles.
    """
    side = side_px * _SAMPLES
    k = Intrinsics.from_fov(side, side, FOV_DEG)
    drawn = draw(mesh, camera_around(mesh.bounds_m(), azimuth_rad), k)
    normals = interpolated(drawn, mesh.faces, vertex_normals(mesh))
    lit = np.abs(normals @ _LIGHT.astype(np.float32))  # open surfaces show both sides
    shade = _AMBIENT + (1 - _AMBIENT) * np.clip(lit, 0, 1)
    image = np.where((drawn.face >= 0)[..., None], colours(drawn, mesh) * shade[..., None], _BACKGROUND)
    small = cv2.resize(image.astype(np.float32), (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(small + 0.5, 0, 255), np.uint8)


def turntable(mesh: Mesh, side_px: int = 128) -> U8:
    """(side, 8 side, 3): eight looks at it, an eighth of a turn apart, side by side."""
    turns = np.arange(TURNTABLE_FRAMES) * (2 * np.pi / TURNTABLE_FRAMES)
    return np.concatenate([thumbnail(mesh, side_px, float(turn)) for turn in turns], axis=1)


def camera_around(bounds_m: F64, azimuth_rad: float) -> F64:
    """Where a camera of `FOV_DEG` stands (OpenCV axes) that has all of a box (2, 3) in view, from above its front."""
    low, high = bounds_m
    centre, radius = (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 0.02)
    away = 1.05 * radius / np.sin(np.radians(FOV_DEG / 2))
    up, flat = np.sin(_ELEVATION_RAD), np.cos(_ELEVATION_RAD)
    direction = np.array([flat * np.sin(azimuth_rad), up, flat * np.cos(azimuth_rad)])
    return look_at(centre + away * direction, centre)
