"""How a local map begins: from a believed start to nodes, landmarks and the poses of the frames that waited for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapping.tracking.finding import reobserve
from mapping.tracking.growing import GrowConfig, node_of, top_up
from mapping.tracking.local_bundle import adjust_around
from mapping.tracking.local_map import I64, LocalMap
from mapping.tracking.pose import fit_pose
from mapping.tracking.starter import FirstMap, StartView
from mapping.tracking.tracks import Tracks
from mapping.tracking.view import View
from mapping.transforms import F64

_MIN_INLIERS = 30  # a waiting frame that sees fewer landmarks stays unposed
_MIN_SHARE = 0.6
_MIN_ALIKE = 0.5  # of the landmarks in view: true starts have 0.7 to 1, noise has none


@dataclass(frozen=True, slots=True, eq=False)
class Waited:
    """A frame from before the map that the map could pose."""

    seq: int
    capture_ns: int
    camera_from_map: F64  # (3, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A map of a few nodes."""

    view: View
    """The newest node's."""
    parallax_rad: float
    """Median angle between the rays of the first and the last node."""
    map: LocalMap
    tracks: Tracks
    waited: tuple[Waited, ...]
    """Earlier frames, nodes or not, that could not be posed when they came; oldest first."""


def begin(first: FirstMap, config: GrowConfig) -> Begun | None:
    """Make nodes of the start's views and landmarks of all tracks that the newest view shares with an earlier one.

    None when the landmarks do not look in the newest view as they did at first: flow can follow noise, geometry can
    fit it, but it never looks the same twice.
    """
    local_map = LocalMap(first.focal_px, config.max_nodes)
    chosen = [first.views[k] for k in first.chosen]
    newest = chosen[-1]
    wanted = np.setdiff1d(newest.ids, first.shared[~first.start.good])
    landmark_of = np.full(1 + max(int(view.ids.max(initial=0)) for view in first.views), -1)
    for k, (view, pose) in enumerate(zip(chosen, first.start.camera_from_map, strict=True)):
        new = np.isin(view.ids, wanted) & (landmark_of[view.ids] < 0)
        landmark_of[view.ids[new]] = local_map.add_landmarks(k, view.view.image, view.view.lens, view.pixels[new])
        local_map.add_node(node_of(view.view, _tracks(view, landmark_of)), pose)
    ids = landmark_of[first.shared[first.start.good]]
    local_map.points[ids] = first.start.points[first.start.good]
    local_map.placed[ids] = True
    last = len(chosen) - 1
    tracks = _tracks(newest, landmark_of)
    loose = tracks.only(~local_map.placed[tracks.ids])
    pixels, min_angle_rad = newest.view.lens.ideal(loose.pixels), float(np.radians(config.place_angle_deg))
    local_map.place_new(loose.ids, pixels, local_map.poses[last], min_angle_rad, config.place_error_px)
    adjust_around(local_map, last, window=config.window, anchors=config.anchors, iterations=config.iterations)
    if not _look_the_same(local_map, newest.view, local_map.poses[last]):
        return None
    waited = _waited(local_map, first, landmark_of)
    tracks = tracks.only(np.isin(tracks.ids, local_map.nodes[last].landmarks))
    tracks = top_up(local_map, last, newest.view, tracks, config)
    return Begun(newest.view, first.start.parallax_rad, local_map, tracks, waited)


def _look_the_same(local_map: LocalMap, view: View, pose: F64) -> bool:
    visible, _, _ = local_map.visible(pose, view.lens, np.zeros(local_map.capacity, np.bool_))
    found = reobserve(local_map, view, pose, Tracks.none(), most=len(visible), turn=0)
    return len(found) > _MIN_ALIKE * len(visible)


def _tracks(view: StartView, landmark_of: I64) -> Tracks:
    """What a view saw of the landmarks."""
    landmarks = landmark_of[view.ids]
    return Tracks(landmarks, view.pixels).only(landmarks >= 0)


def _waited(local_map: LocalMap, first: FirstMap, landmark_of: I64) -> tuple[Waited, ...]:
    """Pose the remembered frames, each from the pose of the next one."""
    posed = {first.views[k].view.seq: local_map.poses[node].copy() for node, k in enumerate(first.chosen)}
    guess = local_map.poses[0]
    for view in reversed(first.views[:-1]):
        guess = posed.get(view.view.seq, guess)
        if view.view.seq in posed:
            continue
        tracks = _tracks(view, landmark_of)
        tracks = tracks.only(local_map.placed[tracks.ids])
        ideal = view.view.lens.ideal(tracks.pixels)
        fit = fit_pose(guess, local_map.points[tracks.ids], ideal, local_map.focal_px)
        if fit.inliers >= max(_MIN_INLIERS, _MIN_SHARE * len(tracks)):
            guess = posed[view.view.seq] = fit.camera_from_map
    views = [view.view for view in first.views[:-1] if view.view.seq in posed]
    return tuple(Waited(view.seq, view.capture_ns, posed[view.seq]) for view in views)
