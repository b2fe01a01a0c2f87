"""Whether two phones agree about their lenses, before their maps become one.

Whoever is wrong about his focal length bends his map: flat where it is deep, or the reverse. It still is recognised,
and what it adds to a shared map is wrong by as much. But each side's known points, in the other's pictures, tell the
focal length under which they would fit best; two maps that want another one by a third of it are not to be joined.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import poselib

from mapping.places.similarity import Sights
from mapping.places.verification import Pair
from mapping.sampling import evenly
from mapping.transforms import F64, Sim3

_STEP = 1.15
_STEPS = range(-4, 5)
_MAX_STEPS = 1
"""Guessed focal lengths are off by less than 15 %, and more of that is refined away."""
_MIN_GAIN = 1.15
"""How much better the other focal length has to fit: where all is far off or flat, none does."""
_MAX_PAIRS = 6
_INLIER_PX = 4.0


def lenses_agree(pairs: Sequence[Pair]) -> bool:
    """Whether the pictures of b, and those of a, fit the other one's points best under about the lens they claim."""
    some = pairs[evenly(len(pairs), _MAX_PAIRS)]
    costs = np.array([sum(_cost(pair, _STEP**step) for pair in some) for step in _STEPS])
    best, claimed = int(np.argmin(costs)), -_STEPS.start
    return abs(best - claimed) <= _MAX_STEPS or costs[claimed] < _MIN_GAIN * costs[best]


def _cost(pair: Pair, zoom: float) -> float:
    """Misfit if the focal length of b were `zoom` times what it says, by what either side sees of the other.

    A map made with a wrong focal length is deeper or flatter by that factor: to another camera, it looks zoomed by the
    reciprocal.
    """
    return _misfit(pair.forward, pair.b_from_a, zoom) + _misfit(pair.backward, pair.b_from_a.inverse(), 1.0 / zoom)


def _misfit(sights: Sights, camera_from_other: Sim3, zoom: float) -> float:
    """Sum of truncated squared errors, each camera placed anew as that focal length would have it."""
    if not len(sights):
        return 0.0
    points = camera_from_other.apply(sights.points)
    focal_px = float(sights.focal_px[0])
    pixels: F64 = sights.xy * focal_px
    camera = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal_px * zoom, 0.0, 0.0]}
    fit, _ = poselib.refine_absolute_pose(pixels, points, poselib.CameraPose(), camera, {"loss_type": "CAUCHY"})
    local = points @ fit.R.T + fit.t
    error2 = np.sum((focal_px * zoom * local[:, :2] / np.maximum(local[:, 2:], 1e-9) - pixels) ** 2, axis=1)
    return float(np.minimum(error2, _INLIER_PX**2).sum())
