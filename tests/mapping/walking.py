"""A phone that walks through a known room: what its tracker and its engine would say, exactly or astray."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mapping.changes import KeyframeId, MapChange
from mapping.engines import ViewPrediction, WindowPrediction
from mapping.scene_map import SceneMap
from mapping.tracking.tracked import Tracked
from mapping.transforms import F64, Sim3, exp_so3, look_at
from streams.frame import DepthMap, Frame, GivenPose, Image, Intrinsics, Motion, StreamId
from tests.mapping.room import render

K = Intrinsics.from_fov(160, 120)
UP = np.array([0.0, 1.0, 0.0])


class Phone:
    """Walks through the room and says what its tracker would say, in a component of its own frame and unit."""

    def __init__(self, name: str, *, unit: float = 0.4, posed: bool = False, up: bool = True, seed: int = 0) -> None:
        self.stream, self.posed, self.up = StreamId(name), posed, up
        rng = np.random.default_rng(seed)
        turn = exp_so3(rng.normal(0, 1, 3))
        self.component_from_room = Sim3.identity() if posed else Sim3(1 / unit, turn, rng.normal(0, 2, 3))
        self.component = 0
        self.seq = 0

    def poses(self, num: int) -> list[F64]:
        """world_from_camera in the room's own frame: a walk along an arc, looking at the chest and the floor."""
        angles = 0.12 * np.arange(num)
        return [look_at([np.sin(a), 1.5, 0.3 + np.cos(a)], [0.4 * np.sin(3 * a), 0.2, -1.0]) for a in angles]

    def sees(
        self, room_from_camera: F64, gray: np.ndarray | None = None
    ) -> tuple[Tracked, Frame, WindowPrediction | None]:
        rgb, depth = render(room_from_camera, K)
        pose = self.component_from_room.apply_pose(room_from_camera)
        motion = Motion(up_camera=room_from_camera[:3, :3].T @ UP) if self.up and not self.posed else None
        landmarks = (np.array([0, 0, 1.0]) * depth[::15, ::20].reshape(-1, 1)) @ room_from_camera[:3, :3].T
        landmarks = self.component_from_room.apply(landmarks + room_from_camera[:3, 3])
        k = K
        if gray is not None:
            rgb, k = np.repeat(gray[..., None], 3, axis=2), K.scaled(gray.shape[1], gray.shape[0])
        frame = Frame(
            self.stream, self.seq, self.seq * 10**8, self.seq * 10**8, Image(rgb=rgb), k, motion=motion,
            pose=GivenPose(pose) if self.posed else None, depth=DepthMap(depth, K) if self.posed else None,
        )  # fmt: skip
        tracked = Tracked(
            self.stream, self.seq, frame.capture_ns, "tracked", self.component, pose, k, True,
            landmarks_component=landmarks.astype(np.float32),
        )  # fmt: skip
        self.seq += 1
        if self.posed:
            return tracked, frame, None
        scaled = depth * np.float32(self.component_from_room.scale)
        view = ViewPrediction(KeyframeId(f"{self.stream}/{frame.seq}"), pose, K, scaled, np.ones_like(depth))
        return tracked, frame, WindowPrediction((view,))


def feed(scene: SceneMap, phone: Phone, poses: Iterable[F64], fuse: bool = True) -> list[MapChange]:
    changes = []
    for pose in poses:
        tracked, frame, prediction = phone.sees(pose)
        scene.observe(tracked, frame)
        changes.append(scene.place(tracked, frame, prediction))
        if fuse:
            changes.append(scene.fuse())
    return changes


def off_room(scene: SceneMap, phone: Phone) -> Sim3:
    """world_from_room as this phone's alignment implies it."""
    world_from_component = scene.world_from_component(phone.stream, phone.component)
    assert world_from_component is not None
    return world_from_component @ phone.component_from_room


def surface_error_m(scene: SceneMap, world_from_room: Sim3) -> float:
    """Median distance of the map's surface to the room's, in room metres."""
    from mapping.volume.surface import extract

    keys = scene.voxels.block_keys()
    low, high = keys.min(axis=0) * 8, (keys.max(axis=0) + 1) * 8
    window = scene.voxels.window(tuple(low.tolist()), tuple((high - low).tolist()))
    p = world_from_room.inverse().apply(extract(window, scene.voxels.voxel_size_m).vertices_m.astype(np.float64))
    assert len(p) > 2000
    lower, upper = np.array([[-0.4, 0.0, -1.6], [0.4, 0.6, -1.0]])
    chest = np.linalg.norm(np.maximum(np.maximum(lower - p, p - upper), 0), axis=1)
    walls = np.abs(np.stack([p[:, 0] + 2, 2 - p[:, 0], p[:, 1], 2.5 - p[:, 1], p[:, 2] + 2, 2 - p[:, 2]])).min(axis=0)
    return float(np.median(np.minimum(chest, walls)))
