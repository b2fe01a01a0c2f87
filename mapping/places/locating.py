"""Where in the whole map a single picture was taken, whoever mapped that part: matched with several places at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

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
_ZOOMS = (0.61, 0.72, 0.85, 1.0, 1.18, 1.39, 1.64)
"""Focal lengths to try, over the given one: from an ultra-wide lens to a slight telephoto."""
_ZOOM_ROUNDS = ((0.08, 0.04, 0.0, -0.04, -0.08), (0.02, 0.01, 0.0, -0.01, -0.02))
_LENS_ERROR = 0.04
"""A stated focal length is let stand where neither one so much longer nor shorter fits better: maps bend, too."""
_MORE_INLIERS = 1.05
"""Another lens has to explain so much more of the picture before a stated one is not believed."""

Unlocated = Literal["nothing_mapped", "too_plain", "not_recognised"]
"""Why a picture was not found: no place near it lies in the world, it shows hardly anything, or no place agrees."""
PlaceInWorld = Callable[[Place], Sim3 | None]
"""world_from_camera of a place, its scale that of the place's depths; None = it does not lie in the world."""


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """A picture found again."""

    world_from_camera: F64  # (4, 4)
    num_inliers: int
    """Points of the map that the picture shows where they should be."""
    share: float
    """Of those points of the matched places that it should show, 0..1."""
    zoom: float
    """Focal length over the given one; 1 where that is right."""
    newest_ns: int
    """When the newest of the places that it was found by was filmed."""
    is_lens_refuted: bool = False
    """The stated focal length cannot be right: `zoom` is what the picture says."""


def locate(
    features: Features,
    candidates: Iterable[Place],
    in_world: PlaceInWorld,
    config: Config = Config(),  # noqa: B008
    *,
    is_focal_guess: bool = False,
) -> Located | None:
    """Pose a camera by what several places know of the world (P3P in LO-RANSAC, poselib; then looked closer).

    None where fewer than `config.min_inliers` points agree. A guessed focal length is looked for as well, within a
    factor of 1.7; so is a stated one that the picture contradicts, for with a wrong lens the camera would be found
    nearer or farther than it is.
    """
    placed = [(place, world) for place in candidates if (world := in_world(place)) is not None]
    first = [_matched(features, place, world, config) for place, world in placed]
    if is_focal_guess:
        return _with_any_lens(features, placed, first, config)
    found = _look_closer(features, placed, first, config)
    if found is not None:
        beside = ((_LENS_ERROR, 0.0, -_LENS_ERROR),)
        if _best_zoom(features, placed, found, 1.0, config, beside) == 1.0:
            return found
    other = _with_any_lens(features, placed, first, config)
    if other is None or (found is not None and other.num_inliers < _MORE_INLIERS * found.num_inliers):
        return found
    return replace(other, is_lens_refuted=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """Features of the picture with where in the world they are."""

    rows: I64  # (n,)
    points: F64  # (n, 3)
    num_expected: int
    """Known points that should be in the picture."""


def _with_any_lens(
    features: Features, placed: list[tuple[Place, Sim3]], first: list[_Matched], config: Config
) -> Located | None:
    """The lens under which most clear matches agree, refined by all that is found with it."""
    agreeing = [_num_agreeing(_zoomed(features, zoom), first, config) for zoom in _ZOOMS]
    zoom = _ZOOMS[int(np.argmax(agreeing))]
    rough = _look_closer(_zoomed(features, zoom), placed, first, config)
    if rough is None:
        return None
    zoom = _best_zoom(features, placed, rough, zoom, config)
    found = _look_closer(_zoomed(features, zoom), placed, first, config)
    return None if found is None else replace(found, zoom=zoom)


def _look_closer(
    features: Features, placed: list[tuple[Place, Sim3]], first: list[_Matched], config: Config
) -> Located | None:
    """From a rough pose by clear matches to one by all that can be found from there."""
    camera_from_world = _pose(features, first, config.first_inliers, config)
    for reach in (2.0, 1.0):
        if camera_from_world is None:
            return None
        closer = [_looked_for(features, place, world, camera_from_world, reach, config) for place, world in placed]
        camera_from_world = _pose(features, closer, config.min_inliers, config)
        found, expected = sum(len(m.rows) for m in closer), sum(m.num_expected for m in closer)
        if found < _MIN_SHARE * expected:
            return None
    if camera_from_world is None:
        return None
    num = len(np.unique(np.concatenate([m.rows for m in closer])))
    newest_ns = max(place.capture_ns for (place, _), m in zip(placed, closer, strict=True) if len(m.rows))
    return Located(invert(camera_from_world), num, found / max(1, expected), 1.0, newest_ns)


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
    found, num_inliers = _ransac(features, matched, config)
    return rigid(found.R, found.t) if num_inliers >= least and np.isfinite(found.t).all() else None


def _num_agreeing(features: Features, matched: list[_Matched], config: Config) -> int:
    """How many matches agree on the pose that most agree on."""
    return _ransac(features, matched, config)[1] if sum(len(m.rows) for m in matched) >= config.first_inliers else 0


def _ransac(features: Features, matched: list[_Matched], config: Config) -> tuple[poselib.CameraPose, int]:
    rows, points = np.concatenate([m.rows for m in matched]), np.concatenate([m.points for m in matched])
    pixels = features.xy[rows].astype(np.float64) * features.focal_px
    camera = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [features.focal_px, 0.0, 0.0]}
    ransac = {"max_reproj_error": config.inlier_px, "min_iterations": 100, "max_iterations": 1000, "seed": 0}
    found, info = poselib.estimate_absolute_pose(pixels, points, camera, ransac, {"loss_type": "CAUCHY"})
    return found, int(info["num_inliers"])


def _zoomed(features: Features, zoom: float) -> Features:
    """The same pixels through a lens of another focal length."""
    return replace(features, xy=features.xy / np.float32(zoom), focal_px=features.focal_px * zoom)


def _best_zoom(
    features: Features,
    placed: list[tuple[Place, Sim3]],
    rough: Located,
    zoom: float,
    config: Config,
    rounds: tuple[tuple[float, ...], ...] = _ZOOM_ROUNDS,
) -> float:
    """The zoom near a rough one under which what the picture shows lies nearest to where it should."""
    camera_from_world = invert(rough.world_from_camera)
    wide = _zoomed(features, zoom)
    seen = [_looked_for(wide, place, world, camera_from_world, 2.0, config) for place, world in placed]
    rows, points = np.concatenate([m.rows for m in seen]), np.concatenate([m.points for m in seen])
    pixels = features.xy[rows].astype(np.float64) * features.focal_px
    pose = poselib.CameraPose()
    pose.R, pose.t = camera_from_world[:3, :3], camera_from_world[:3, 3]
    for steps in rounds:
        focals = [features.focal_px * zoom * (1.0 + step) for step in steps]
        fits = [_cost_px2(pixels, points, focal, pose, config.inlier_px) for focal in focals]
        best = int(np.argmin(fits))
        zoom *= 1.0 + steps[best]
    return zoom


def _cost_px2(pixels: F64, points: F64, focal_px: float, pose: poselib.CameraPose, inlier_px: float) -> float:
    """How far points (n, 3) lie from where they were seen (n, 2), from the best place for that focal length."""
    camera = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal_px, 0.0, 0.0]}
    fit, _ = poselib.refine_absolute_pose(pixels, points, pose, camera, {"loss_type": "CAUCHY"})
    local = points @ fit.R.T + fit.t
    error2 = np.sum((focal_px * local[:, :2] / np.maximum(local[:, 2:], 1e-9) - pixels) ** 2, axis=1)
    return float(np.minimum(error2, inlier_px**2).mean())
