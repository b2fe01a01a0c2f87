"""The first metric-less geometry from tracks alone: two views make the hypotheses, the views between them decide.

Two views of a plane, or of a far scene, fit several motions; a camera that only turned fits every depth. So hypotheses
come from the essential matrix (Nister 2004, by poselib), the homography (Malis & Vargas 2007) and a scan of every
direction; each is bundle-adjusted over ALL views, and the start is refused unless one motion explains the tracks
clearly better than the others and than none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import poselib
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mapping.tracking.ambiguity import Valley, scan
from mapping.tracking.bundle import Bundle, adjust, centres
from mapping.tracking.triangulation import ray_angles, triangulate
from mapping.transforms import F64, angle_between, exp_so3, log_so3

_VALLEY_RATIO = 1.3  # directions that cost at most this much more than the best are as good as it


class StartConfig(BaseModel):
    """When to believe a first map."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_points: int = 50
    min_inlier_share: float = 0.6
    min_parallax_deg: float = 0.5
    """Median angle between the rays of the first and the last view."""
    min_turning_px: float = 2.0
    """Median distance by which a camera that only turned fails to explain the tracks."""
    sure_turning_px: float = 6.0
    """Below this much, the direction of travel must also be pinned down to `max_valley_deg`."""
    max_valley_deg: float = 45.0
    min_gain: float = 6.0
    """How many times better (in squared error) a moving camera must explain the tracks than a turning one."""
    max_rival: float = 0.8
    """Largest ratio of the best motion's cost to that of a truly different one."""
    inlier_px: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A first map; its origin is the first camera and its scale makes the median depth there 1."""

    camera_from_map: F64  # (v, 3, 4)
    points: F64  # (n, 3)
    good: NDArray[np.bool_]  # (n,) well triangulated and seen consistently
    parallax_rad: float

    def seen_from(self, turn: F64) -> Start:
        """The same map in the frame of a camera at the same place; `turn` (3, 3) is origin_from_that_camera."""
        cameras = np.concatenate([self.camera_from_map[:, :, :3] @ turn, self.camera_from_map[:, :, 3:]], axis=2)
        return replace(self, camera_from_map=cameras, points=self.points @ turn)


@dataclass(frozen=True, slots=True, eq=False)
class _Hypothesis:
    cameras: F64  # (v, 3, 4)
    points: F64  # (n, 3)
    error2: F64  # (n,) worst squared error over the views
    cost: float
    """Mean truncated squared error in px^2."""


def start_map(pixels: F64, focal_px: float, config: StartConfig = StartConfig()) -> Start | None:  # noqa: B008
    """Find structure and motion from the tracks of n points through v >= 2 views, or None while nothing is certain.

    Args:
        pixels: (v, n, 2) ideal pixels, oldest view first; every point is seen in every view.
    """
    first, last = pixels[0], pixels[-1]
    if len(first) < config.min_points:
        return None
    turn = fit_rotation(first, last, focal_px)
    turning_cost = float(np.median(rotation_error2(turn, first, last, focal_px)))
    if turning_cost < config.min_turning_px**2:  # cheapest refusal first
        return None
    valley = scan(first, last, focal_px, turn)
    is_open = valley.spread_rad(_VALLEY_RATIO) > np.radians(config.max_valley_deg)
    if is_open and turning_cost < config.sure_turning_px**2:
        return None
    motions = _motions(first, last, focal_px, valley, config)
    hypotheses = _explanations(pixels, focal_px, motions, config)
    if not hypotheses:
        return None
    best = hypotheses[0]
    if any(_differs(best, rival) and best.cost > config.max_rival * rival.cost for rival in hypotheses[1:]):
        return None
    return _accept(best, turning_cost, config)


def stands(pixels: F64, focal_px: float, cameras: F64, config: StartConfig = StartConfig()) -> bool:  # noqa: B008
    """Whether the motion (v, 3, 4) that a map believes in still explains v views of n points (v, n, 2) best.

    A start on a short baseline can be wrong in a way that no local adjustment leaves; a longer baseline shows it.
    """
    first, last = pixels[0], pixels[-1]
    camera_from_first = _relative(cameras)
    length = float(np.linalg.norm(camera_from_first[-1, :, 3]))
    if length < 1e-9:
        return True
    turn = fit_rotation(first, last, focal_px)
    believed = _explain(pixels, focal_px, camera_from_first / _unit_scale(length), config)
    rivals = _explanations(
        pixels, focal_px, _motions(first, last, focal_px, scan(first, last, focal_px, turn), config), config
    )
    if believed is None:
        return not rivals
    return not any(_differs(believed, rival) and rival.cost < config.max_rival * believed.cost for rival in rivals)


def _relative(cameras: F64) -> F64:
    """Poses (v, 3, 4) expressed against the first of them."""
    first_rotation, first_translation = cameras[0, :, :3], cameras[0, :, 3]
    rotations = cameras[:, :, :3] @ first_rotation.T
    return np.concatenate([rotations, (cameras[:, :, 3] - rotations @ first_translation)[:, :, None]], axis=2)


def _unit_scale(length: float) -> F64:
    return np.array([1.0, 1.0, 1.0, length])


def _explanations(pixels: F64, focal_px: float, motions: list[F64], config: StartConfig) -> list[_Hypothesis]:
    """Adjusted hypotheses, cheapest first; motions that start out alike are tried once."""
    distinct: list[F64] = []
    for motion in motions:
        if all(abs(motion[:, 3] @ m[:, 3]) < np.cos(np.radians(8)) for m in distinct):
            distinct.append(motion)
    found = [_explain(pixels, focal_px, _spread_out(m, len(pixels)), config) for m in distinct]
    return sorted((h for h in found if h is not None), key=lambda h: h.cost)


def _spread_out(motion: F64, views: int) -> F64:
    """Poses (v, 3, 4) evenly along a motion (3, 4) from the first camera to the last."""
    turn = log_so3(motion[:, :3])
    return np.stack([np.column_stack([exp_so3(turn * s), motion[:, 3] * s]) for s in np.linspace(0.0, 1.0, views)])


def _accept(best: _Hypothesis, turning_cost: float, config: StartConfig) -> Start | None:
    angles = ray_angles(best.points, best.cameras[0], best.cameras[-1])
    depth = best.points[:, 2]
    good = (
        (best.error2 < (1.5 * config.inlier_px) ** 2) & (depth > 0) & (angles > np.radians(config.min_parallax_deg) / 3)
    )
    if np.count_nonzero(good) < max(config.min_points, config.min_inlier_share * len(good)):
        return None
    parallax = float(np.median(angles[good]))
    moving_cost = max(float(np.median(best.error2[good])), 0.1)
    if parallax < np.radians(config.min_parallax_deg) or turning_cost < config.min_gain * moving_cost:
        return None
    scale = 1.0 / float(np.median(depth[good]))
    cameras = best.cameras.copy()
    cameras[:, :, 3] *= scale
    return Start(cameras, best.points * scale, good, parallax)


def fit_rotation(first: F64, last: F64, focal_px: float) -> F64:
    """The rotation (3, 3) last_from_first that best explains pixels (n, 2) seen by a camera that only turns.

    Kabsch on rays, reweighted a few times so that points with parallax do not drag it.
    """
    a, b = rays(first, focal_px), rays(last, focal_px)
    weight = np.ones(len(a))
    rotation = np.eye(3)
    for _ in range(6):
        u, _, vt = np.linalg.svd((b * weight[:, None]).T @ a)
        rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        error = focal_px * np.linalg.norm(b - a @ rotation.T, axis=1)
        weight = 1.0 / (1.0 + (error / max(float(np.median(error)), 0.3)) ** 2)
    return np.asarray(rotation)


def rays(pixels: F64, focal_px: float) -> F64:
    """Unit directions (n, 3) of ideal pixels (n, 2)."""
    directions = np.column_stack([pixels / focal_px, np.ones(len(pixels))])
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def rotation_error2(rotation: F64, first: F64, last: F64, focal_px: float) -> F64:
    """Squared error (n,) in px^2 of pixels (n, 2) seen again by a camera that only turned by `rotation` (3, 3)."""
    turned = np.column_stack([first / focal_px, np.ones(len(first))]) @ rotation.T
    return np.asarray(np.sum((focal_px * turned[:, :2] / turned[:, 2:] - last) ** 2, axis=1))


def _motions(first: F64, last: F64, focal_px: float, valley: Valley, config: StartConfig) -> list[F64]:
    """Candidate last_from_first poses (3, 4) with unit baseline."""
    size = int(max(np.abs(first).max(), np.abs(last).max())) * 2
    camera = {"model": "SIMPLE_PINHOLE", "width": size, "height": size, "params": [focal_px, 0.0, 0.0]}
    ransac = {"max_epipolar_error": config.inlier_px, "min_iterations": 200, "max_iterations": 2000, "seed": 0}
    pose, essential = poselib.estimate_relative_pose(first, last, camera, camera, ransac, {})
    motions = [np.column_stack([pose.R, pose.t])]
    homography, plane = poselib.estimate_homography(
        first / focal_px, last / focal_px, {**ransac, "max_reproj_error": config.inlier_px / focal_px}, {}
    )
    if plane["num_inliers"] > 0.6 * essential["num_inliers"]:
        poses, _ = poselib.motion_from_homography(homography)
        motions += [np.column_stack([p.R, p.t]) for p in poses]
    for k in valley.minima(3):
        motions.append(np.column_stack([valley.rotations[k], valley.directions[k]]))
    unit = []
    for motion in motions:
        length = float(np.linalg.norm(motion[:, 3]))
        if np.isfinite(motion).all() and length > 1e-9:
            unit.append(np.column_stack([motion[:, :3], motion[:, 3] / length]))
    return unit


def _explain(pixels: F64, focal_px: float, cameras: F64, config: StartConfig) -> _Hypothesis | None:
    """Adjust poses (v, 3, 4) and places under one motion; None when too few points lie in front of the cameras."""
    views, n = pixels.shape[:2]
    flipped = cameras * np.array([1.0, 1.0, 1.0, -1.0])  # epipolar geometry leaves the sign of the baseline open
    points, others = (triangulate(c[0], c[-1], pixels[0], pixels[-1], focal_px) for c in (cameras, flipped))
    if np.isfinite(others[:, 0]).sum() > np.isfinite(points[:, 0]).sum():
        cameras, points = flipped, others
    known = np.isfinite(points[:, 0])
    if np.count_nonzero(known) < config.min_inlier_share * n:
        return None
    index = np.flatnonzero(known)
    bundle = Bundle(
        cameras,
        points[index],
        np.repeat(np.arange(views), len(index)),
        np.tile(np.arange(len(index)), views),
        np.ascontiguousarray(pixels[:, index].reshape(-1, 2)),
        focal_px,
    )
    free = np.ones(views, np.bool_)
    free[0] = False
    adjusted = adjust(bundle, free, iterations=25, robust_px=1.0)
    error2 = np.full(n, np.inf)
    error2[index] = adjusted.squared_error_px2.reshape(views, -1).max(axis=0)
    cost = float(np.minimum(error2, (3 * config.inlier_px) ** 2).mean())
    placed = np.zeros((n, 3))
    placed[index] = adjusted.points
    return _Hypothesis(adjusted.camera_from_map, placed, error2, cost)


def _differs(a: _Hypothesis, b: _Hypothesis) -> bool:
    """Whether two hypotheses are different motions, not two roads to one optimum."""
    baseline_a, baseline_b = centres(a.cameras)[-1], centres(b.cameras)[-1]
    cosine = baseline_a @ baseline_b / max(float(np.linalg.norm(baseline_a) * np.linalg.norm(baseline_b)), 1e-12)
    return bool(
        cosine < np.cos(np.radians(15)) or angle_between(a.cameras[-1, :, :3], b.cameras[-1, :, :3]) > np.radians(3)
    )
