"""A small painted room with a table in it, seen by a pinhole camera: enough texture and parallax to track."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.transforms import F64, look_at
from streams.frame import Frame, Image, Intrinsics, Motion, StreamId

CAMERA = Intrinsics(260.0, 260.0, 160.0, 120.0, 320, 240)
FRAME_NS = 33_333_333

_ROOM = np.array([[-2.5, 0.0, -2.0], [2.5, 2.6, 2.0]])
_TABLE = np.array([[-0.6, 0.0, -0.5], [0.5, 0.75, 0.4]])
_TEXELS_PER_M = 160


def _paint(seed: int) -> NDArray[np.uint8]:
    """A wall of blobs and boxes, smooth at the scale of a texel."""
    random = np.random.default_rng(seed)
    wall = np.full((1024, 1024), 128, np.uint8)
    for _ in range(700):
        u, v, size, shade = random.integers(0, [1024, 1024, 26, 256])
        if random.random() < 0.5:
            cv2.circle(wall, (int(u), int(v)), int(size) // 2 + 4, int(shade), -1)
        else:
            cv2.rectangle(wall, (int(u), int(v)), (int(u + size) + 5, int(v + size) + 4), int(shade), -1)
    return np.asarray(cv2.GaussianBlur(wall, (5, 5), 1.2), np.uint8)


class PaintedRoom:
    """Renders gray images by casting one ray a pixel."""

    def __init__(self, seed: int = 0) -> None:
        self._walls = np.stack([_paint(seed * 100 + i) for i in range(12)])

    def render(self, world_from_camera: F64, camera: Intrinsics = CAMERA) -> NDArray[np.uint8]:
        """Image (h, w) as seen from inside the room."""
        image = np.empty((camera.height, camera.width), np.uint8)
        _cast(self._walls, world_from_camera, camera.fx, camera.fy, camera.cx, camera.cy, image)
        return image

    def depth(self, world_from_camera: F64, camera: Intrinsics = CAMERA) -> NDArray[np.float32]:
        """True depth (h, w) along the optical axis in metres."""
        u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
        rays = rays @ world_from_camera[:3, :3].T + 1e-12
        eye = world_from_camera[:3, 3]
        room = np.sort((_ROOM[:, None, None] - eye) / rays, axis=0)[1].min(axis=-1)
        table = np.sort((_TABLE[:, None, None] - eye) / rays, axis=0)
        enter, leave = table[0].max(axis=-1), table[1].min(axis=-1)
        return np.where((enter > 0) & (enter < leave), enter, room).astype(np.float32)


@kernel
def _cast(
    walls: NDArray[np.uint8],
    world_from_camera: F64,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    image: NDArray[np.uint8],
) -> None:
    """Slabs: the room is left through its nearest far wall, the table entered through its furthest near wall."""
    ray = np.empty(3)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            x, y = (column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy
            room, room_axis = 1e9, 0
            enter, enter_axis, leave = -1e9, 0, 1e9
            for a in range(3):
                ray[a] = world_from_camera[a, 0] * x + world_from_camera[a, 1] * y + world_from_camera[a, 2]
                if abs(ray[a]) < 1e-9:
                    ray[a] = 1e-9
                origin = world_from_camera[a, 3]
                far = max((_ROOM[0, a] - origin) / ray[a], (_ROOM[1, a] - origin) / ray[a])
                if far < room:
                    room, room_axis = far, a
                first, second = (_TABLE[0, a] - origin) / ray[a], (_TABLE[1, a] - origin) / ray[a]
                leave = min(leave, max(first, second))
                if min(first, second) > enter:
                    enter, enter_axis = min(first, second), a
            on_table = 0.0 < enter < leave
            distance, axis = (enter, enter_axis) if on_table else (room, room_axis)
            wall = axis + (3 if ray[axis] > 0 else 0) + (6 if on_table else 0)
            across, up = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
            u = (world_from_camera[across, 3] + distance * ray[across]) * _TEXELS_PER_M + 512
            v = (world_from_camera[up, 3] + distance * ray[up]) * _TEXELS_PER_M + 512
            iu, iv = int(np.floor(u)), int(np.floor(v))
            fu, fv = u - iu, v - iv
            texture = walls[wall]
            u0, u1, v0, v1 = iu % 1024, (iu + 1) % 1024, iv % 1024, (iv + 1) % 1024
            top = texture[v0, u0] * (1 - fu) + texture[v0, u1] * fu
            bottom = texture[v1, u0] * (1 - fu) + texture[v1, u1] * fu
            image[row, column] = int(top * (1 - fv) + bottom * fv + 0.5)


def walk(num_frames: int, *, turn_deg: float = 60.0, radius_m: float = 0.6) -> list[F64]:
    """world_from_camera (4, 4) along an arc around the table, looking across the room; about 1 cm a frame."""
    poses = []
    for i in range(num_frames):
        s = i / 120.0
        angle = math.radians(turn_deg) * s
        eye = [1.6 * math.sin(angle), 1.4 + 0.15 * math.sin(3 * s), -1.2 - radius_m * 0.5 + radius_m * math.sin(2 * s)]
        poses.append(look_at(eye, [0.3 * math.sin(2 * s), 0.7, 0.5]))
    return poses


def frame(
    image: NDArray[np.uint8], seq: int, *, camera: Intrinsics | None = CAMERA, motion: Motion | None = None
) -> Frame:
    """Wrap a gray image as a frame at 30 fps."""
    now_ns = 10**18 + seq * FRAME_NS
    rgb = np.repeat(image[:, :, None], 3, axis=2)
    return Frame(StreamId("painted"), seq, now_ns, now_ns, Image(rgb=rgb), intrinsics=camera, motion=motion)
