"""How far a length between two clicked points of the map may be off, by what keyframes say that see them.

Whoever clicks takes a point of the surface, and that is as uncertain as the depth it was made from. Each keyframe that
sees the point has its own opinion of how far away it is; how far they lie from the click, along the line that is
measured, is what the click may be off. What all of them have in common (depth that is too far everywhere) they cannot
tell: see `scale.DEPTH_SIGMA`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mapping.kept import Kept
from mapping.metric.scale import DEPTH_SIGMA
from mapping.transforms import F64, Sim3

_MIN_VIEWS = 3
"""Fewer opinions say nothing about how they scatter."""
_SIGMA_PER_MAD = 1.4826


def length_sigma_m(a_world: F64, b_world: F64, views: Sequence[tuple[Kept, Sim3]]) -> float:
    """Standard error in world metres of the distance between two points (3,).

    Args:
        views: keyframes that lie in the world, each with world_from_component around it.
    """
    way = b_world - a_world
    along = way / max(float(np.linalg.norm(way)), 1e-9)
    return float(np.hypot(_sigma_m(a_world, along, views), _sigma_m(b_world, along, views)))


def _sigma_m(point_world: F64, along: F64, views: Sequence[tuple[Kept, Sim3]]) -> float:
    """Of one point along a direction; where hardly anybody sees it, a share of the way to the nearest camera."""
    opinions = [
        world.apply(seen)
        for kept, world in views
        if (seen := kept.surface_behind(world.inverse().apply(point_world))) is not None
    ]
    if len(opinions) >= _MIN_VIEWS:
        return _SIGMA_PER_MAD * float(np.median(np.abs((np.array(opinions) - point_world) @ along)))
    ways_m = [np.linalg.norm(point_world - world.apply(kept.component_from_camera[:3, 3])) for kept, world in views]
    return DEPTH_SIGMA * float(min(ways_m, default=0.0))
