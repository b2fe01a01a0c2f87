"""Poses of a window from its pixels alone, for views that nobody has tracked: a small structure from motion.

SIFT tracks across the window, a first map from the pair that allows one, the other views by PnP, one bundle adjustment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import poselib
from numpy.typing import NDArray

from mapping.alignment import fit_cameras
from mapping.engines import View
from mapping.tracking.bundle import Bundle, adjust
from mapping.tracking.triangulation import triangulate
from mapping.tracking.two_view import StartConfig, start_map
from mapping.transforms import F64, invert, rigid
from streams.frame import Intrinsics

_FOCAL_PX = 500.0
"""All views are reduced to ideal cameras of this focal length, whatever their own is."""
_MAX_SIDE_PX = 640
_MAX_FEATURES = 1200
_RATIO = 0.8
_START = StartConfig(min_points=40)
_MIN_PNP = 20
_INLIER_PX = 3.0
_UNSEEN = -1


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """What structure from motion found; views that could not be tied in have None."""

    window_from_camera: tuple[F64 | None, ...]
    points_window: F64  # (p, 3)
    is_seen: NDArray[np.bool_]  # (views, p)


def pose_views(views: Sequence[View], intrinsics: Sequence[Intrinsics]) -> Posed:
    """Pose views from their pixels; in the frame and unit of the given priors where at least two views have one.

    Raises:
        ValueError: the window shows too little texture or too little parallax.
    """
    found = [_features(view, k) for view, k in zip(views, intrinsics, strict=True)]
    pixels = _tracks(found)
    cameras, points = _first_map(pixels)
    for _ in range(len(views)):
        newest = _next_view(pixels, cameras, points)
        if newest is None:
            break
        cameras[newest] = _absolute_pose(pixels[newest], points)
        _triangulate_missing(pixels, cameras, points)
    kept = _bundle(pixels, cameras, points)
    posed = [None if np.isnan(c[0, 0]) else invert(rigid(c[:, :3], c[:, 3])) for c in cameras]
    in_window = Posed(tuple(posed), points[kept], ~np.isnan(pixels[:, kept, 0]))
    return _to_priors(in_window, [view.prior_window_from_camera for view in views])


def _features(view: View, k: Intrinsics) -> tuple[F64, NDArray[np.float32]]:
    """Ideal pixels (n, 2) and SIFT descriptors (n, 128)."""
    height, width = view.rgb.shape[:2]
    shrink = min(1.0, _MAX_SIDE_PX / max(height, width))
    gray = cv2.resize(
        cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY), None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA
    )
    keypoints, descriptors = cv2.SIFT.create(_MAX_FEATURES).detectAndCompute(gray, None)
    if descriptors is None:
        return np.empty((0, 2)), np.empty((0, 128), np.float32)
    camera = k.scaled(gray.shape[1], gray.shape[0])
    seen = np.array([keypoint.pt for keypoint in keypoints]) + 0.5  # OpenCV counts pixel centres as whole numbers
    lens = np.array([camera.k1, 0.0, 0.0, 0.0])
    ideal = cv2.undistortPoints(seen[:, None], camera.matrix(), lens)[:, 0] * _FOCAL_PX
    return np.asarray(ideal, np.float64), np.asarray(descriptors, np.float32)


def _tracks(found: Sequence[tuple[F64, NDArray[np.float32]]]) -> F64:
    """Pixels (views, tracks, 2) of what was matched over two views or more; NaN where a view does not see it."""
    starts = np.cumsum([0, *(len(pixels) for pixels, _ in found)])
    parent = np.arange(starts[-1])

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = int(parent[n])
        return n

    for i, j in combinations(range(len(found)), 2):
        for a, b in _matches(found[i][1], found[j][1]):
            parent[root(int(starts[i] + a))] = root(int(starts[j] + b))
    roots = np.array([root(n) for n in range(len(parent))], np.int64)
    view_of = np.repeat(np.arange(len(found)), np.diff(starts))
    names, track_of = np.unique(roots, return_inverse=True)
    sightings = np.zeros((len(found), len(names)), np.int64)
    np.add.at(sightings, (view_of, track_of), 1)
    pixels = np.full((len(found), len(names), 2), np.nan)
    pixels[view_of, track_of] = np.concatenate([p for p, _ in found])
    usable = (sightings.max(axis=0) == 1) & (sightings.sum(axis=0) >= 2)  # twice in one view: a false chain
    return np.asarray(pixels[:, usable])


def _matches(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pairs (n, 2) of mutual nearest neighbours that clearly beat the second."""
    if len(a) < 2 or len(b) < 2:
        return np.empty((0, 2), np.int64)
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    back = {m.queryIdx: m.trainIdx for m in matcher.match(b, a)}
    pairs = [
        (best.queryIdx, best.trainIdx)
        for best, second in matcher.knnMatch(a, b, k=2)
        if best.distance < _RATIO * second.distance and back.get(best.trainIdx) == best.queryIdx
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _first_map(pixels: F64) -> tuple[F64, F64]:
    """Cameras (views, 3, 4) and points (tracks, 3), NaN but for the pair that started the map and what it sees."""
    seen = ~np.isnan(pixels[..., 0])
    pairs = sorted(combinations(range(len(pixels)), 2), key=lambda pair: -_promise(pixels, seen, *pair))
    for i, j in pairs[:6]:
        both = np.flatnonzero(seen[i] & seen[j])
        start = start_map(np.ascontiguousarray(pixels[[i, j]][:, both]), _FOCAL_PX, _START)
        if start is None:
            continue
        cameras, points = np.full((len(pixels), 3, 4), np.nan), np.full((pixels.shape[1], 3), np.nan)
        cameras[[i, j]] = start.camera_from_map
        points[both[start.good]] = start.points[start.good]
        return cameras, points
    raise ValueError("the window's views cannot be posed: too little texture, or the camera hardly moved")


def _promise(pixels: F64, seen: NDArray[np.bool_], i: int, j: int) -> float:
    """Common tracks times their median motion, up to a good one: many tracks on a fair baseline start a map best."""
    both = seen[i] & seen[j]
    if np.count_nonzero(both) < _START.min_points:
        return 0.0
    motion_px = float(np.median(np.linalg.norm(pixels[i, both] - pixels[j, both], axis=1)))
    return float(np.count_nonzero(both)) * min(1.0, motion_px / 40.0)


def _next_view(pixels: F64, cameras: F64, points: F64) -> int | None:
    """The view without a pose that sees most of the map."""
    known = np.isfinite(points[:, 0])
    counts = np.count_nonzero(np.isfinite(pixels[..., 0]) & known, axis=1)
    counts[np.isfinite(cameras[:, 0, 0])] = 0
    return int(np.argmax(counts)) if counts.max() >= _MIN_PNP else None


def _absolute_pose(pixels: F64, points: F64) -> F64:
    """camera_from_map (3, 4); `points` that it does not fit are forgotten. Zeros of inliers leave the pose NaN."""
    usable = np.flatnonzero(np.isfinite(pixels[:, 0]) & np.isfinite(points[:, 0]))
    camera = {"model": "SIMPLE_PINHOLE", "width": 2000, "height": 2000, "params": [_FOCAL_PX, 0.0, 0.0]}
    options = {"max_reproj_error": _INLIER_PX, "seed": 0, "min_iterations": 100}
    pose, report = poselib.estimate_absolute_pose(pixels[usable], points[usable], camera, options, {})
    if report["num_inliers"] < _MIN_PNP:
        pixels[usable] = np.nan  # not to be tried again
        return np.full((3, 4), np.nan)
    pixels[usable[~np.asarray(report["inliers"], bool)]] = np.nan
    return np.column_stack([pose.R, pose.t])


def _triangulate_missing(pixels: F64, cameras: F64, points: F64) -> None:
    """Give a place to tracks that two posed views see and that have none yet, from the pair furthest apart in time."""
    posed = np.flatnonzero(np.isfinite(cameras[:, 0, 0]))
    for i, j in sorted(combinations(posed.tolist(), 2), key=lambda pair: pair[0] - pair[1]):
        new = np.isnan(points[:, 0]) & np.isfinite(pixels[i, :, 0]) & np.isfinite(pixels[j, :, 0])
        if new.any():
            points[new] = triangulate(cameras[i], cameras[j], pixels[i, new], pixels[j, new], _FOCAL_PX)


def _bundle(pixels: F64, cameras: F64, points: F64) -> NDArray[np.int64]:
    """Adjust everything in place, twice, dropping what does not fit in between; returns the tracks that are left."""
    posed = np.flatnonzero(np.isfinite(cameras[:, 0, 0]))
    for _ in range(2):
        kept = np.flatnonzero(np.isfinite(points[:, 0]) & (np.isfinite(pixels[posed, :, 0]).sum(axis=0) >= 2))
        camera_index, point_index = np.nonzero(np.isfinite(pixels[posed][:, kept, 0]))
        seen = np.ascontiguousarray(pixels[posed][:, kept][camera_index, point_index])
        bundle = Bundle(cameras[posed].copy(), points[kept].copy(), camera_index, point_index, seen, _FOCAL_PX)
        adjusted = adjust(bundle, np.arange(len(posed)) > 0, iterations=10)
        cameras[posed], points[kept] = adjusted.camera_from_map, adjusted.points
        bad = ~(adjusted.squared_error_px2 < _INLIER_PX**2)
        pixels[posed[camera_index[bad]], kept[point_index[bad]]] = np.nan
    return kept


def _to_priors(found: Posed, priors: Sequence[F64 | None]) -> Posed:
    """Turn, move and scale into the priors' frame, if two views at different places tell where it is."""
    both = [
        (own, prior)
        for own, prior in zip(found.window_from_camera, priors, strict=True)
        if own is not None and prior is not None
    ]
    fit = fit_cameras(np.array([a for a, _ in both]), np.array([b for _, b in both]))
    if fit is None:
        return found
    place = fit.b_from_a
    turned = tuple(None if pose is None else place.apply_pose(pose) for pose in found.window_from_camera)
    return Posed(turned, place.apply(found.points_window), found.is_seen)
