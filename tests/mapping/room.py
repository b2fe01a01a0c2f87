"""A room to look at: an empty box with boxes standing in it, noise on every face, exact depth by ray casting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64
from streams.frame import Intrinsics

Box = tuple[tuple[float, float, float], tuple[float, float, float]]

ROOM: Box = ((-2.0, 0.0, -2.0), (2.0, 2.5, 2.0))
CHEST: Box = ((-0.4, 0.0, -1.6), (0.4, 0.6, -1.0))


def render(
    world_from_camera: F64, k: Intrinsics, furniture: Sequence[Box] = (CHEST,), room: Box = ROOM, contrast: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Colours (h, w, 3) and depth (h, w) in metres of a camera that stands inside the room."""
    u, v = np.meshgrid(np.arange(k.width) + 0.5, np.arange(k.height) + 0.5)
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u)], axis=-1) @ world_from_camera[:3, :3].T
    eye = world_from_camera[:3, 3]
    with np.errstate(divide="ignore"):
        depth = np.max(_slabs(eye, rays, room), axis=0).min(axis=-1)
        for box in furniture:
            near, far = np.sort(_slabs(eye, rays, box), axis=0)
            enter, leave = near.max(axis=-1), far.min(axis=-1)
            depth = np.where((enter < leave) & (enter > 0) & (enter < depth), enter, depth)
    hits = eye + rays * depth[..., None]
    gray = 128 + contrast * (70 * (_noise(hits, 0.31) - 0.5) + 90 * (_noise(hits, 0.09) - 0.5))
    tint = np.stack([gray, gray * 0.9 + 12, gray * 0.8 + 25], axis=-1)
    return np.clip(tint, 0, 255).astype(np.uint8), depth.astype(np.float32)


def _slabs(eye: F64, rays: F64, box: Box) -> F64:
    """(2, h, w, 3): along each ray, where it meets the planes of the lower and upper corner."""
    lower, upper = np.array(box)
    return np.stack([(lower - eye) / rays, (upper - eye) / rays])


def _noise(points: F64, cell_m: float) -> F64:
    """Smooth value noise (h, w) in 0..1 on a lattice of that size."""
    scaled = points / cell_m + 1000.5
    corner = np.floor(scaled).astype(np.int64)
    t = scaled - corner
    t = t * t * (3 - 2 * t)
    total = np.zeros(points.shape[:-1])
    for n in range(8):
        offset = np.array([n >> 2, (n >> 1) & 1, n & 1])
        x, y, z = np.moveaxis(corner + offset, -1, 0)
        mixed = (x * 73856093) ^ (y * 19349663) ^ (z * 83492791)
        mixed = (mixed ^ (mixed >> 13)) * 1274126177
        value = ((mixed ^ (mixed >> 16)) & 0xFFFF) / 65535
        total += value * np.prod(np.where(offset, t, 1 - t), axis=-1)
    return total
