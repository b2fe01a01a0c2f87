"""Marks for the fused surface: its vertices (one per 5 cm cell) against the depth sensor's points, both ways.

The map is aligned to the truth by its keyframes' poses (Sim(3)), never by the surface itself. `within_10cm` is the
headline: the share of the fused surface that lies within 10 cm of the truth, because an avatar stands on what is shown.
`complete_10cm`, the share of the true points that have fused surface within 10 cm, guards against showing little.
Surface that no depth frame of the truth looks at cannot be judged and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.evaluation.poses import truth_from_world
from benchmarks.evaluation.session import Session
from mapping.changes import BLOCK_VOXELS, VoxelSource
from mapping.sampling import evenly
from mapping.transforms import F64, invert, project, unproject
from mapping.volume import surface
from streams.frame import DepthMap

WITHIN_M = 0.1
_GRID_M = 0.03
_MAX_DEPTH_M = 6.0
"""As far as the map fuses by default."""
_MAX_VIEWS = 80
_CHUNK_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class SurfaceMarks:
    """How near the fused surface is to the true one."""

    within_10cm: float
    """Of the fused surface."""
    complete_10cm: float
    """Of the true points."""
    median_m: float
    """Of the distance from the fused surface to the truth."""
    judged: float
    """Share of the fused surface that the truth's depth frames look at."""


def mark_surface(session: Session) -> SurfaceMarks | None:
    """Compare the map's surface; None where there is no map, no depth, or no truth."""
    align = truth_from_world(session)
    views = list(_true_views(session))
    found = vertices(session.map.voxels)
    if align is None or not views or not len(found):
        return None
    mine = align.apply(found.astype(np.float64))
    true = true_points(session)
    seen = np.zeros(len(mine), bool)
    for depth, pose in views:
        seen |= _looks_at(depth, pose, mine)
    if not seen.any():
        return None
    to_truth, _ = cKDTree(true).query(mine[seen], distance_upper_bound=1.0)
    to_map, _ = cKDTree(mine).query(true, distance_upper_bound=1.0)
    return SurfaceMarks(
        round(float(np.mean(to_truth <= WITHIN_M)), 4),
        round(float(np.mean(to_map <= WITHIN_M)), 4),
        round(float(np.median(np.minimum(to_truth, 1.0))), 4),
        round(float(seen.mean()), 4),
    )


def true_points(session: Session) -> F64:
    """What the sensor saw of the clips that were played, (n, 3) in the truth's world, one point per 3 cm cell."""
    return _thinned(np.concatenate([np.empty((0, 3)), *(_points(depth, pose) for depth, pose in _true_views(session))]))


def vertices(voxels: VoxelSource) -> NDArray[np.float32]:
    """The map's surface as vertices (n, 3) in its world, chunk by chunk."""
    keys = voxels.block_keys()
    side = _CHUNK_BLOCKS * BLOCK_VOXELS
    found = [np.empty((0, 3), np.float32)]
    for x, y, z in np.unique(keys // _CHUNK_BLOCKS, axis=0).tolist():
        window = voxels.window((x * side, y * side, z * side), (side + 1,) * 3)
        found.append(surface.extract(window, voxels.voxel_size_m).vertices_m)
    return np.concatenate(found)


def _true_views(session: Session) -> Iterator[tuple[DepthMap, F64]]:
    """Depth frames with their true poses, of every clip that was played, evenly picked."""
    for clip in {p.phone.clip.folder: p.phone.clip for p in session.played}.values():
        numbers = [i for i in range(len(clip.images)) if clip.has_depth(i) and i in clip.truth]
        for i in numbers[evenly(len(numbers), _MAX_VIEWS)]:
            depth = clip.depth(i)
            assert depth is not None
            yield depth, clip.truth[i]


def _points(depth: DepthMap, pose: F64) -> F64:
    z = depth.z_m[::2, ::2]
    points = unproject(depth.z_m, depth.intrinsics)[::2, ::2][(z > 0) & (z < _MAX_DEPTH_M)]
    return np.asarray(_thinned(points @ pose[:3, :3].T + pose[:3, 3]))


def _thinned(points: F64) -> F64:
    """One point per 3 cm cell."""
    _, first = np.unique(np.floor(points / _GRID_M).astype(np.int64), axis=0, return_index=True)
    return points[first]


def _looks_at(depth: DepthMap, pose: F64, points: F64) -> NDArray[np.bool_]:
    """Whether a depth frame measured something along the ray to each point (n, 3)."""
    camera_from_world = invert(pose)
    inside = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    uv = np.floor(np.nan_to_num(project(inside, depth.intrinsics), nan=-1.0))
    h, w = depth.z_m.shape
    ok = (inside[:, 2] > 0.1) & (uv[:, 0] >= 0) & (uv[:, 0] < w) & (uv[:, 1] >= 0) & (uv[:, 1] < h)
    measured = np.zeros(len(points), bool)
    measured[ok] = depth.z_m[uv[ok, 1].astype(np.int64), uv[ok, 0].astype(np.int64)] > 0
    return measured
