"""A camera that brings its own poses: they are used as given; added is which frames are nodes and what they see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapping.tracking.flow import F32, follow, fresh_corners
from mapping.tracking.pose import project
from mapping.tracking.triangulation import ray_angles, triangulate
from mapping.tracking.view import View
from mapping.transforms import F64, angle_between, invert
from streams.frame import DepthMap

_SAMPLES = 24  # a depth map is read on a grid of about this many columns


@dataclass(frozen=True, slots=True, eq=False)
class PosedStep:
    """What a posed frame adds to its pose."""

    is_node: bool
    overlap: float
    parallax_rad: float
    landmarks: F64  # (n, 3) in the source's world; empty while nothing is known


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    """The last node: its corners are followed until the next one."""

    view: View
    camera_from_world: F64  # (3, 4)
    corners: F64  # (n, 2) ideal pixels of what is still followed
    landmarks: F64  # (n', 3) what it sees, by its own depth


class PosedFollower:
    """Nodes and landmarks of one posed component."""

    def __init__(self, *, num_features: int, baseline: float, angle_rad: float, overlap: float) -> None:
        """A frame becomes a node `baseline` median depths or `angle_rad` from the last, or below `overlap` with it."""
        self._num_features = num_features
        self._baseline, self._angle_rad, self._overlap = baseline, float(angle_rad), overlap
        self._reference: _Reference | None = None
        self._before: View | None = None
        self._pixels: F32 = np.empty((0, 2), np.float32)
        self._depth = 2.0  # metres; what to assume of a room until something was measured
        self._gives_depth = False

    def step(self, view: View, world_from_camera: F64, depth: DepthMap | None) -> PosedStep:
        """Take the next frame; `depth` is the source's own, if it has any for this frame."""
        self._gives_depth |= depth is not None
        camera_from_world = invert(world_from_camera)[:3]
        landmarks = _sampled(depth, world_from_camera) if depth is not None else np.empty((0, 3))
        self._follow(view)
        reference = self._reference
        if reference is not None and not len(landmarks):
            landmarks = self._triangulated(reference, view, camera_from_world)
        if len(landmarks):
            self._depth = float(np.median(project(camera_from_world, landmarks, 1.0)[:, 2]))
        overlap, parallax = 0.0, 0.0
        if reference is not None:
            overlap, parallax = self._change(reference, view, camera_from_world, landmarks)
        is_node = (depth is not None or not self._gives_depth) and self._moved_on(camera_from_world, overlap)
        if is_node:
            self._pixels = fresh_corners(view.image.gray, self._pixels[:0], self._num_features)
            self._reference = _Reference(view, camera_from_world, view.lens.ideal(self._pixels), landmarks)
        self._before = view
        return PosedStep(is_node, overlap, parallax, landmarks)

    def _follow(self, view: View) -> None:
        """Carry the reference's corners on; a corner that is lost stays lost until the next node."""
        if self._before is None or self._reference is None or not len(self._pixels):
            return
        if self._before.image.gray.shape != view.image.gray.shape:
            good = np.zeros(len(self._pixels), np.bool_)
        else:
            self._pixels, good = follow(self._before.image, view.image, self._pixels, self._pixels)
        r = self._reference
        self._pixels = self._pixels[good]
        self._reference = _Reference(r.view, r.camera_from_world, r.corners[good], r.landmarks)

    def _triangulated(self, reference: _Reference, view: View, camera_from_world: F64) -> F64:
        """Landmarks from the given poses and the followed corners, where the rays meet well."""
        focal, here = view.lens.focal_px, view.lens.ideal(self._pixels)
        points = triangulate(reference.camera_from_world, camera_from_world, reference.corners, here, focal)
        points = points[np.isfinite(points[:, 0])]
        angles = ray_angles(points, reference.camera_from_world, camera_from_world)
        return np.asarray(points[angles > np.radians(1.0)])

    def _change(self, reference: _Reference, view: View, camera_from_world: F64, landmarks: F64) -> tuple[float, float]:
        """Share of what the reference saw that is still in view, and the median angle between the rays to it."""
        seen = reference.landmarks if len(reference.landmarks) else landmarks
        if not len(seen):
            return len(self._pixels) / max(1, self._num_features), 0.0
        k = view.lens.intrinsics
        here = project(camera_from_world, seen, view.lens.focal_px)
        half = 0.5 * view.lens.focal_px * np.array([k.width / k.fx, k.height / k.fy])
        inside = (here[:, 2] > 0) & (np.abs(here[:, :2]) < half).all(axis=1)
        return float(inside.mean()), float(np.median(ray_angles(seen, reference.camera_from_world, camera_from_world)))

    def _moved_on(self, camera_from_world: F64, overlap: float) -> bool:
        if self._reference is None:
            return True
        before = self._reference.camera_from_world
        step = camera_from_world[:, :3].T @ camera_from_world[:, 3] - before[:, :3].T @ before[:, 3]
        turned = angle_between(camera_from_world[:, :3], before[:, :3])
        moved = float(np.linalg.norm(step)) > self._baseline * self._depth
        return (
            moved or turned > self._angle_rad or (overlap < self._overlap and (moved or turned > 0.2 * self._angle_rad))
        )


def _sampled(depth: DepthMap, world_from_camera: F64) -> F64:
    """World points (n, 3) of a grid of known depths."""
    step = max(1, depth.z_m.shape[1] // _SAMPLES)
    rows, columns = (np.arange(step // 2, n, step) for n in depth.z_m.shape)
    z = depth.z_m[np.ix_(rows, columns)].astype(np.float64)
    k = depth.intrinsics
    x = (columns[None, :] + 0.5 - k.cx) / k.fx * z
    y = (rows[:, None] + 0.5 - k.cy) / k.fy * z
    points = np.stack([x, y, z], axis=-1)[np.isfinite(z) & (z > 0)]
    return np.asarray(points @ world_from_camera[:3, :3].T + world_from_camera[:3, 3])
