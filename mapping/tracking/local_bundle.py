"""Bundle adjustment of a local map: around its newest node, or all of it together with the focal length."""

from __future__ import annotations

import numpy as np

from mapping.tracking.bundle import Bundle, adjust
from mapping.tracking.local_map import I64, LocalMap

_FEW = 10  # landmarks in common below which two nodes do not hold each other
_FAR_PX = 3.0  # observations further off than this after adjustment are forgotten


def adjust_around(local_map: LocalMap, newest: int, *, window: int, anchors: int, iterations: int) -> I64:
    """Adjust `window` nodes around the newest one, held by up to `anchors` others; returns those that were free."""
    free, fixed = _neighbourhood(local_map, newest, window, anchors)
    if len(free):
        _adjust(local_map, free, fixed, iterations, 0.0)
    return free


def calibrate(local_map: LocalMap, *, iterations: int, focal_sigma: float, trust_sigma: float) -> bool:
    """Adjust every node together with the focal length, whose prior is what it is now, give or take `focal_sigma`.

    Returns:
        Whether the tracks fixed the focal length to better than `trust_sigma` (relative); if not, nothing changed.
    """
    before = local_map.poses.copy(), local_map.points.copy(), local_map.placed.copy(), local_map.focal_px
    observations = [(node.landmarks, node.pixels) for node in local_map.nodes]
    free, fixed = np.arange(1, len(local_map.nodes)), np.zeros(1, np.int64)
    sigma = _adjust(local_map, free, fixed, iterations, focal_sigma) / local_map.focal_px
    if sigma < trust_sigma:
        local_map.focal_sigma = sigma
        return True
    local_map.poses, local_map.points, local_map.placed, local_map.focal_px = before
    for node, (landmarks, pixels) in zip(local_map.nodes, observations, strict=True):
        node.landmarks, node.pixels = landmarks, pixels
    return False


def _neighbourhood(local_map: LocalMap, newest: int, window: int, anchors: int) -> tuple[I64, I64]:
    """Nodes to move (the recent path, then those that share most with the newest) and nodes to hold still."""
    shared = local_map.covisible(local_map.placed_of(newest))
    shared[max(0, newest - window // 2) : newest + 1] += 10**6
    ranked = np.argsort(-shared, kind="stable")[:window]
    free = ranked[shared[ranked] > _FEW]
    seen = local_map.covisible(_placed_by(local_map, free))
    seen[free] = -1
    rest = np.argsort(-seen, kind="stable")[:anchors]
    fixed = rest[seen[rest] > _FEW]
    if not len(fixed):  # the whole map moves: its oldest node holds the gauge
        fixed = np.array([free.min()])
        free = free[free != fixed[0]]
    return free, fixed


def _adjust(local_map: LocalMap, free: I64, fixed: I64, iterations: int, focal_sigma: float) -> float:
    """Run the adjustment and write it back; returns the standard deviation of the focal length in pixels."""
    ids = _placed_by(local_map, free)
    chosen = np.concatenate([free, fixed])
    slot = np.full(local_map.capacity, -1, np.int64)
    slot[ids] = np.arange(len(ids))
    rows = [np.flatnonzero(slot[local_map.nodes[k].landmarks] >= 0) for k in chosen.tolist()]
    nodes = [local_map.nodes[k] for k in chosen.tolist()]
    bundle = Bundle(
        local_map.poses[chosen],
        local_map.points[ids],
        np.repeat(np.arange(len(chosen)), [len(r) for r in rows]),
        np.concatenate([slot[n.landmarks[r]] for n, r in zip(nodes, rows, strict=True)]),
        np.concatenate([n.pixels[r] for n, r in zip(nodes, rows, strict=True)]),
        local_map.focal_px,
    )
    is_free = np.arange(len(chosen)) < len(free)
    result = adjust(bundle, is_free, iterations=iterations, focal_prior_sigma=focal_sigma)
    local_map.poses[chosen] = result.camera_from_map
    local_map.points[ids] = result.points
    local_map.focal_px = result.focal_px
    far = np.split(result.squared_error_px2 > _FAR_PX**2, np.cumsum([len(r) for r in rows])[:-1])
    for node, row, bad in zip(nodes, rows, far, strict=True):
        if bad.any():
            node.landmarks, node.pixels = np.delete(node.landmarks, row[bad]), np.delete(node.pixels, row[bad], axis=0)
    local_map.placed[ids[local_map.support()[ids] < 2]] = False
    return result.focal_sigma_px


def _placed_by(local_map: LocalMap, nodes: I64) -> I64:
    """Ids, ascending, of the placed landmarks that any of these nodes sees."""
    seen = np.zeros(local_map.capacity, np.bool_)
    for k in nodes.tolist():
        seen[local_map.nodes[k].landmarks] = True
    return np.flatnonzero(seen & local_map.placed)
