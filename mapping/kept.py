"""Keyframes kept with their depth, so that the volume can be built anew when poses, up or scale are known better."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId, seq_of
from mapping.sampling import evenly
from mapping.transforms import F64, Sim3, angle_between, invert, unproject
from mapping.volume.depth import local_planes
from streams.frame import DepthMap, Intrinsics, StreamId

ComponentKey = tuple[StreamId, int]
"""(stream, component): one connected map of one tracker, with its own frame and unit."""

SURE = 0.5
"""Confidence from which on a depth counts."""
STILL_M, STILL_RAD = 0.005, float(np.radians(0.1))
"""A pose that differs by no more is the same to whoever looks."""
_MAX_STRETCH = 0.005
_ONE_SURFACE = 1.3
"""A point that is that many times nearer or farther than the depth at its pixel lies on another surface."""


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """What went into the volume from where: what has to be taken back before something better goes in."""

    world_from_camera: F64  # (4, 4)
    metres_per_unit: float
    depth: NDArray[np.float16]  # as of `Kept`
    confidence: NDArray[np.uint8]

    def is_apart(self, other: Fused, max_m: float, max_rad: float) -> bool:
        """Whether the other stands noticeably elsewhere, or has other depth."""
        a, b = self.world_from_camera, other.world_from_camera
        stretch = abs(self.metres_per_unit / other.metres_per_unit - 1.0)
        return (
            self.depth is not other.depth
            or float(np.linalg.norm(a[:3, 3] - b[:3, 3])) > max_m
            or angle_between(a[:3, :3], b[:3, :3]) > max_rad
            or stretch > _MAX_STRETCH
        )


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Confident depth pixels of one keyframe, in ITS camera's axes, so that they move with its pose."""

    points_camera_m: NDArray[np.float32]  # (n, 3) metres
    rgb: NDArray[np.uint8]  # (n, 3)


@dataclass(slots=True, eq=False)
class Kept:
    """One placed keyframe. Half floats hold depth to 0.05 %, in the component's own unit: scale comes later."""

    id: KeyframeId
    component: ComponentKey
    component_from_camera: F64  # (4, 4), as the tracker has it by now
    intrinsics: Intrinsics  # of the depth map's size
    depth: NDArray[np.float16]  # (h, w) component units, 0 = unknown
    confidence: NDArray[np.uint8]  # (h, w) 255 = sure
    rgb: NDArray[np.uint8]  # (h, w, 3)
    fused_as: Fused | None = None
    """How it stands in the volume; None = it does not."""

    @property
    def seq(self) -> int:
        """Number of its frame."""
        return seq_of(self.id)

    def look_again(self, depth: DepthMap) -> None:
        """Take over better depth, in component units.

        Raises:
            ValueError: it is not of the size of the one before.
        """
        if depth.z_m.shape != self.depth.shape:
            raise ValueError(f"{self.id}: depth of {depth.z_m.shape} cannot replace one of {self.depth.shape}")
        self.depth, self.confidence = packed(depth)

    def fused_in(self, world_from_component: Sim3) -> Fused:
        """How it would stand in the volume as it is now."""
        pose = world_from_component.apply_pose(self.component_from_camera)
        return Fused(pose, world_from_component.scale, self.depth, self.confidence)

    def depth_m(self, fused: Fused) -> DepthMap:
        """What goes into the volume, or went: metres."""
        z_m = fused.depth.astype(np.float32) * np.float32(fused.metres_per_unit)
        return DepthMap(z_m, self.intrinsics, fused.confidence.astype(np.float32) * np.float32(1 / 255))

    def points_camera(self, min_confidence: float, max_points: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Points (n, 3) in camera axes and component units, and their colours (n, 3): an even sample of sure pixels."""
        z = self.depth.astype(np.float32)
        sure = np.flatnonzero((z > 0) & (self.confidence >= 255 * min_confidence))
        picked = sure[evenly(len(sure), max_points)]
        return unproject(z, self.intrinsics).reshape(-1, 3)[picked], self.rgb.reshape(-1, 3)[picked]

    def surfels_component(self, min_confidence: float, max_points: int) -> tuple[F64, F64]:
        """Points and unit normals (n, 3) in the component's frame: evenly sampled sure pixels on planes."""
        z = self.depth.astype(np.float32)
        planes = local_planes(z, self.intrinsics)
        normals = planes.normals_camera.reshape(-1, 3)
        sure = (self.confidence >= 255 * min_confidence) & ~planes.is_edge
        usable = np.flatnonzero(sure.ravel() & np.any(normals != 0.0, axis=1))
        picked = usable[evenly(len(usable), max_points)]
        rotation, position = self.component_from_camera[:3, :3], self.component_from_camera[:3, 3]
        points = unproject(z, self.intrinsics).reshape(-1, 3)[picked]
        return points @ rotation.T + position, normals[picked] @ rotation.T

    def surface_behind(self, point_component: F64) -> F64 | None:
        """Where (3,), in the component's frame, this keyframe has the surface that a point lies on: farther or nearer
        on its own line of sight. None where it does not show the point or is not sure of its depth there."""
        x, y, z = invert(self.component_from_camera)[:3] @ np.append(point_component, 1.0)
        if z <= 0.0:
            return None
        k = self.intrinsics
        column, row = math.floor(k.fx * x / z + k.cx), math.floor(k.fy * y / z + k.cy)
        if not (0 <= column < k.width and 0 <= row < k.height) or self.confidence[row, column] < 255 * SURE:
            return None
        stretch = float(self.depth[row, column]) / z
        if not 1.0 / _ONE_SURFACE < stretch < _ONE_SURFACE:
            return None
        eye = self.component_from_camera[:3, 3]
        return np.asarray(eye + stretch * (point_component - eye))


def packed(depth: DepthMap) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Depth and confidence as they are kept."""
    known = np.isfinite(depth.z_m) & (depth.z_m > 0)
    confidence = np.ones_like(depth.z_m) if depth.confidence is None else np.clip(depth.confidence, 0.0, 1.0)
    return (
        np.where(known, depth.z_m, 0.0).astype(np.float16),
        (np.where(known, confidence, 0.0) * 255).astype(np.uint8),
    )


_RECENT = 10


class KeptKeyframes:
    """A bounded set, in the order of placing. When it is full, the keyframe that moved least against the one before
    it goes, never one of the last ten: a phone that rests does not push out the rest of the house."""

    def __init__(self, max_keyframes: int) -> None:
        self._max = max_keyframes
        self._by_id: dict[KeyframeId, Kept] = {}
        self._novelty: dict[KeyframeId, float] = {}
        self._last: dict[ComponentKey, Kept] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._by_id.values())

    def get(self, keyframe: KeyframeId) -> Kept | None:
        return self._by_id.get(keyframe)

    def of(self, component: ComponentKey) -> list[Kept]:
        return [kept for kept in self if kept.component == component]

    def add(self, kept: Kept) -> Kept | None:
        """Keep one more; returns the one that had to go for it."""
        self._novelty[kept.id] = _novelty(self._last.get(kept.component), kept)
        self._by_id[kept.id] = self._last[kept.component] = kept
        if len(self._by_id) <= self._max:
            return None
        candidates = list(self._by_id)[: -min(_RECENT, self._max)]
        return self.drop(min(candidates, key=self._novelty.__getitem__))

    def drop(self, keyframe: KeyframeId) -> Kept:
        del self._novelty[keyframe]
        return self._by_id.pop(keyframe)

    def forget(self, stream: StreamId) -> list[Kept]:
        """Drop every keyframe of a stream; returns them."""
        gone = [self.drop(kept.id) for kept in list(self) if kept.component[0] == stream]
        self._last = {key: kept for key, kept in self._last.items() if key[0] != stream}
        return gone


def _novelty(before: Kept | None, kept: Kept) -> float:
    """How different the view is from the one before: metres per metre of depth, plus radians."""
    if before is None:
        return float("inf")
    known = kept.depth[kept.depth > 0]
    depth = float(np.median(known)) if len(known) else 1.0
    step = float(np.linalg.norm(kept.component_from_camera[:3, 3] - before.component_from_camera[:3, 3]))
    turn = angle_between(before.component_from_camera[:3, :3], kept.component_from_camera[:3, :3])
    return step / max(depth, 1e-6) + turn
