"""Where in the whole map a single picture was taken, whoever mapped that part: matched with several places at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import poselib

from mapping.places.features import Features
from mapping.places.matching import I64, match, match_near
from mapping.places.place import Place
from mapping.places.verification import Config
from mapping.transforms import F64, Sim3, invert, rigid

_MAX_HAMMING = 56
_MIN_SHARE = 0.2
"""Of the points that should be in the picture: one picture alone has to say more than each of several pairs."""

PlaceInWorld = Callable[[Place], Sim3 | None]
"""world_from_camera of a place, its scale that of the place's depths; None = it does not lie in the world."""


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """A picture found again."""

    world_from_camera: F64  # (4, 4)
    num_inliers: int


def locate(
    features: Features,
    candidates: Iterable[Place],
    in_world: PlaceInWorld,
    config: Config = Config(),  # noqa: B008
) -> Located | None:
    """Pose a camera by what several places know of the world (P3P in LO-RANSAC, poselib; then looked closer).

    None where fewer than `config.min_inliers` points agree.
    """
    placed = [(place, world) for place in candidates if (world := in_world(place)) is not None]
    first = [_matched(features, place, world, config) for place, world in placed]
    camera_from_world = _pose(features, first, config.first_inliers, config)
    for reach in (2.0, 1.0):
        if camera_from_world is None:
            return None
        closer = [_looked_for(features, place, world, camera_from_world, reach, config) for place, world in placed]
        camera_from_world = _pose(features, closer, config.min_inliers, config)
        num, expected = len(np.unique(np.concatenate([m.rows for m in closer]))), sum(m.num_expected for m in closer)
        if sum(len(m.rows) for m in closer) < _MIN_SHARE * expected:
            return None
    return None if camera_from_world is None else Located(invert(camera_from_world), num)


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """Features of the picture with where in the world they are."""

    rows: I64  # (n,)
    points: F64  # (n, 3)
    num_expected: int
    """Known points that should be in the picture."""


def _matched(features: Features, place: Place, world_from_camera: Sim3, config: Config) -> _Matched:
    rows, others = match(features.descriptors, place.features.descriptors, config.max_ratio, config.max_hamming)
    known = place.features.depth[others] > 0
    points = world_from_camera.apply(place.features.points_camera[others[known]])
    return _Matched(rows[known], points, len(points))


def _looked_for(
    features: Features, place: Place, world_from_camera: Sim3, camera_from_world: F64, reach: float, config: Config
) -> _Matched:
    known = np.flatnonzero(place.features.depth > 0)
    points = world_from_camera.apply(place.features.points_camera[known])
    local = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    in_front = local[:, 2] > 1e-9
    known, points, local = known[in_front], points[in_front], local[in_front]
    xy = local[:, :2] / local[:, 2:]
    search = reach * config.search_px / features.focal_px
    expected = np.all((xy >= features.xy.min(axis=0)) & (xy <= features.xy.max(axis=0)), axis=1)
    descriptors = place.features.descriptors[known]
    found, rows = match_near(xy, descriptors, features.xy, features.descriptors, search, _MAX_HAMMING)
    near = np.linalg.norm(xy[found] - features.xy[rows], axis=1) < reach * config.inlier_px / features.focal_px
    return _Matched(rows[near], points[found[near]], int(np.count_nonzero(expected)))


def _pose(features: Features, matched: list[_Matched], least: int, config: Config) -> F64 | None:
    """camera_from_world (4, 4) that enough matches agree on."""
    if sum(len(m.rows) for m in matched) < least:
        return None
    rows, points = np.concatenate([m.rows for m in matched]), np.concatenate([m.points for m in matched])
    pixels = features.xy[rows].astype(np.float64) * features.focal_px
    camera = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [features.focal_px, 0.0, 0.0]}
    ransac = {"max_reproj_error": config.inlier_px, "min_iterations": 100, "max_iterations": 1000, "seed": 0}
    found, info = poselib.estimate_absolute_pose(pixels, points, camera, ransac, {"loss_type": "CAUCHY"})
    if info["num_inliers"] < least or not np.isfinite(found.t).all():
        return None
    return rigid(found.R, found.t)
