"""Phones that film a painted room without a tracker: exact poses and landmarks, each in a frame and unit of its own."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.places.agreement import Seen
from mapping.places.recogniser import Recogniser
from mapping.tracking.tracked import Tracked
from mapping.transforms import F64, Sim3, exp_so3, look_at, unproject
from streams.frame import Frame, Image, Intrinsics, StreamId
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.room import render

CAMERA = Intrinsics(260.0, 260.0, 160.0, 120.0, 320, 240)
_ROOM = ((-2.5, 0.0, -2.0), (2.5, 2.6, 2.0))
_TABLE = ((-0.6, 0.0, -0.5), (0.5, 0.75, 0.4))
_NUM_LANDMARKS = 250


class Phone:
    """One camera; `component_from_room` is what nobody else knows."""

    def __init__(self, name: str, room: PaintedRoom, *, unit_m: float = 1.0, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.stream, self.room, self.component, self.seq = StreamId(name), room, 0, 0
        self.component_from_room = Sim3(1 / unit_m, exp_so3(random.normal(0, 1, 3)), random.normal(0, 2, 3))

    def sees(self, room_from_camera: F64) -> tuple[Tracked, Frame]:
        """A keyframe at a pose in the room."""
        _, depth = render(room_from_camera, CAMERA, [_TABLE], _ROOM)
        return self.shows(self.room.render(room_from_camera, CAMERA), depth, room_from_camera)

    def shows(
        self, gray: NDArray[np.uint8], depth: NDArray[np.float32], room_from_camera: F64
    ) -> tuple[Tracked, Frame]:
        """A keyframe with these pixels (h, w), their depth (h, w) and this pose; landmarks lie on its corners."""
        corners = cv2.goodFeaturesToTrack(gray, _NUM_LANDMARKS, 0.005, 5)
        found = np.zeros((0, 2), int) if corners is None else corners.reshape(-1, 2).astype(int)
        points = unproject(depth, CAMERA)[found[:, 1], found[:, 0]].astype(np.float64)
        points = points @ room_from_camera[:3, :3].T + room_from_camera[:3, 3]
        pose = self.component_from_room.apply_pose(room_from_camera)
        now_ns = 10**18 + self.seq * 10**8
        frame = Frame(self.stream, self.seq, now_ns, now_ns, Image(rgb=np.repeat(gray[:, :, None], 3, axis=2)), CAMERA)
        tracked = Tracked(
            self.stream, self.seq, now_ns, "tracked", self.component, pose, CAMERA, keyframe=True,
            landmarks_component=self.component_from_room.apply(points).astype(np.float32),
        )  # fmt: skip
        self.seq += 1
        return tracked, frame


def walk(num: int, *, start: float = 0.0, step: float = 0.09) -> list[F64]:
    """room_from_camera along an arc before the table."""
    angles = start + step * np.arange(num)
    return [look_at([1.5 * np.sin(a), 1.4, -1.5 + 0.2 * np.cos(3 * a)], [0.5 * np.sin(a), 0.7, 0.3]) for a in angles]


def film(recogniser: Recogniser, phone: Phone, poses: Iterable[F64]) -> list[Seen]:
    """All that was recognised while a phone walked."""
    return [seen for pose in poses for seen in recogniser.see(*phone.sees(pose))]


def turned_about(a: Sim3, b: Sim3) -> tuple[float, float, float]:
    """How far two similarities are apart: shift, angle in degrees, relative scale."""
    off = a @ b.inverse()
    cosine = np.clip((np.trace(off.rotation) - 1) / 2, -1, 1)
    return float(np.linalg.norm(off.translation)), float(np.degrees(np.arccos(cosine))), abs(off.scale - 1)
