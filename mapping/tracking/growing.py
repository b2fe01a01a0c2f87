"""How a local map takes in a new node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from mapping.tracking.finding import reanchor, reobserve
from mapping.tracking.flow import fresh_corners
from mapping.tracking.local_bundle import adjust_around, calibrate
from mapping.tracking.local_map import I64, LocalMap, Node
from mapping.tracking.places import describe
from mapping.tracking.pose import fit_pose
from mapping.tracking.tracks import Tracks
from mapping.tracking.view import View
from mapping.transforms import F64


class GrowConfig(BaseModel):
    """Pixels are of the tracking image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_features: int = 450
    max_nodes: int = 200
    inlier_px: float = 3.0
    search: int = 180
    """Landmarks out of track that are looked for at a node."""
    place_angle_deg: float = 0.7
    """Smallest angle between rays that gives a landmark its place."""
    place_error_px: float = 2.0
    window: int = 40
    """Nodes that bundle adjustment moves."""
    anchors: int = 40
    """Nodes that hold it still."""
    iterations: int = 3
    calibrate_at: tuple[int, ...] = (5, 7, 10, 14, 19, 25)
    """Numbers of nodes at which a guessed focal length is refined."""
    focal_sigma: float = 0.1
    """Relative uncertainty of a guessed focal length."""
    focal_trust: float = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """A map after it took in a node."""

    node: int
    tracks: Tracks
    moved: dict[int, F64]
    """seq -> camera_from_map (3, 4) of earlier nodes that moved."""


def add_node(
    local_map: LocalMap, view: View, pose: F64, tracks: Tracks, config: GrowConfig, *, is_guess: bool
) -> Grown:
    """Re-anchor the tracks, remember what is seen from here, place what two nodes now see from well apart, adjust.

    `is_guess`: the focal length may still be refined.
    """
    tracks = reanchor(local_map, view, pose, tracks)
    tracks = reobserve(local_map, view, pose, tracks, most=config.search, turn=0)
    tracks, pose = _consistent(local_map, view, pose, tracks, config.inlier_px)
    loose = ~local_map.placed[tracks.ids]
    ideal = view.lens.ideal(tracks.pixels)
    min_angle_rad = float(np.radians(config.place_angle_deg))
    local_map.place_new(tracks.ids[loose], ideal[loose], pose, min_angle_rad, config.place_error_px)
    index = local_map.add_node(node_of(view, tracks), pose)
    before = local_map.poses.copy()
    free = _adjust(local_map, index, config, is_guess)
    moved = {
        local_map.nodes[k].seq: local_map.poses[k].copy()
        for k in free.tolist()
        if k != index and not np.array_equal(before[k], local_map.poses[k])
    }
    tracks = tracks.only(np.isin(tracks.ids, local_map.nodes[index].landmarks))
    tracks = tracks.only(local_map.forget(tracks.ids))
    index = len(local_map.nodes) - 1
    return Grown(index, top_up(local_map, index, view, tracks, config), moved)


def _consistent(local_map: LocalMap, view: View, pose: F64, tracks: Tracks, inlier_px: float) -> tuple[Tracks, F64]:
    """Drop tracks whose landmark is not where it should be, and settle the pose on the others."""
    placed = np.flatnonzero(local_map.placed[tracks.ids])
    points, ideal = local_map.points[tracks.ids[placed]], view.lens.ideal(tracks.pixels[placed])
    fit = fit_pose(pose, points, ideal, local_map.focal_px, inlier_px=inlier_px)
    return tracks.without(placed[~fit.inlier]), fit.camera_from_map


def _adjust(local_map: LocalMap, index: int, config: GrowConfig, is_guess: bool) -> I64:
    c = config
    if is_guess and index + 1 in c.calibrate_at:
        calibrate(local_map, iterations=15, focal_sigma=c.focal_sigma, trust_sigma=c.focal_trust)
        return np.arange(index)
    return adjust_around(local_map, index, window=c.window, anchors=c.anchors, iterations=c.iterations)


def top_up(local_map: LocalMap, node: int, view: View, tracks: Tracks, config: GrowConfig) -> Tracks:
    """Start tracks on fresh corners of a node's image."""
    fresh = fresh_corners(view.image.gray, tracks.pixels, config.num_features - len(tracks))
    ids = local_map.add_landmarks(node, view.image, view.lens, fresh)
    seen = local_map.nodes[node]
    seen.landmarks = np.concatenate([seen.landmarks, ids])
    seen.pixels = np.concatenate([seen.pixels, view.lens.ideal(fresh)])
    return tracks.plus(ids, fresh)


def node_of(view: View, tracks: Tracks) -> Node:
    """The node that a view becomes when it sees these tracks."""
    described = describe(view.image.gray, tracks.pixels)
    ideal = view.lens.ideal(tracks.pixels)
    return Node(view.seq, view.thumbnail, tracks.ids, ideal, described.descriptors, tracks.ids[described.corner])
