"""Up from whole level planes: floor, tables and shelves are parallel, and each is as thin as the noise of its points.

The normals of single pixels lean together where stereo bends a surface; the points of a plane some metres wide tell its
slope many times better. Planes at different heights share one normal, so a room of small tables helps as a floor does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64

_ROUNDS = ((12.0, 0.06), (10.0, 0.04), (8.0, 0.03), (8.0, 0.03))
"""Degrees by which normals may lean, and thickness of a plane in sizes of the scene: wide first, for a poor start."""
_MAX_PLANES = 4
_MIN_POINTS = 200
_MIN_SHARE = 0.08
"""A plane holds at least this share of the level points."""
_MIN_FLATNESS = 10.0
"""Planes this many times wider than thick, in both directions, have a slope worth knowing."""


def sharpen(points: F64, normals: F64, up: F64) -> F64 | None:
    """A better up than one that is a few degrees off; None where no level plane is large enough to tell.

    Args:
        points: (n, 3) on surfaces, evenly sampled.
        normals: (n, 3) unit, of the same surfaces.
        up: (3,) unit.
    """
    if len(points) < _MIN_POINTS:
        return None
    size = float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1)))
    for lean_deg, thickness in _ROUNDS:
        level = points[np.abs(normals @ up) > np.cos(np.radians(lean_deg))]
        planes = list(_planes(level, up, thickness * size))
        num_used = sum(len(plane) for plane in planes)
        if num_used < _MIN_POINTS:
            return None
        spread, axes = np.linalg.eigh(sum((_scatter(plane) for plane in planes), np.zeros((3, 3))))
        up = axes[:, 0] * np.sign(axes[:, 0] @ up)
    return up if spread[1] > _MIN_FLATNESS**2 * spread[0] else None


def _planes(points: F64, up: F64, thickness: float) -> Iterator[F64]:
    """The fullest layers of points (n, 3), the fullest first, well apart from each other."""
    enough = max(_MIN_POINTS // 2, round(_MIN_SHARE * len(points)))
    for _ in range(_MAX_PLANES):
        if len(points) < enough:
            return
        heights = points @ up
        bottom = _fullest(heights, thickness)
        inside = (heights >= bottom) & (heights <= bottom + thickness)
        if np.count_nonzero(inside) < enough:
            return
        yield points[inside]
        points = points[(heights < bottom - thickness) | (heights > bottom + 2.0 * thickness)]


def _fullest(heights: NDArray[np.float64], thickness: float) -> float:
    """Where the slice begins that holds most of the heights, of which there are some."""
    ordered = np.sort(heights)
    counts = np.searchsorted(ordered, ordered + thickness, side="right") - np.arange(len(ordered))
    return float(ordered[np.argmax(counts)])


def _scatter(plane: F64) -> F64:
    offset = plane - plane.mean(axis=0)
    return np.asarray(offset.T @ offset)
