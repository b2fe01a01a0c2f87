"""Judging a first map again: a start on a short baseline can be wrong in a way that only a longer one shows."""

from __future__ import annotations

import numpy as np

from mapping.tracking.local_map import I64, LocalMap
from mapping.tracking.triangulation import ray_angles
from mapping.tracking.two_view import stands

_ENOUGH_RAD = np.radians(12.0)  # a map that stands at this parallax is not asked again
_MIN_SHARED = 40
_VIEWS = 5


class Proof:
    """Asks at every doubling of the parallax."""

    def __init__(self, start_parallax_rad: float) -> None:
        self._next_rad = 2.0 * start_parallax_rad
        self.stood = False
        """The map was asked at least once and stood."""

    def refutes(self, local_map: LocalMap, tracked: I64) -> bool:
        """Whether some other motion explains the tracked landmarks' history clearly better than the map's."""
        if self._next_rad > _ENOUGH_RAD:
            return False
        newest = len(local_map.nodes) - 1
        oldest = self._oldest(local_map, tracked)
        if oldest is None:
            return False
        shared = np.intersect1d(local_map.nodes[oldest].landmarks, tracked)
        angles = ray_angles(local_map.points[shared], local_map.poses[oldest], local_map.poses[newest])
        parallax_rad = float(np.median(angles))
        if parallax_rad < self._next_rad:
            return False
        self._next_rad = 2.0 * parallax_rad
        chosen = sorted(set(np.linspace(oldest, newest, _VIEWS).astype(int).tolist()))
        for k in chosen:
            shared = np.intersect1d(shared, local_map.nodes[k].landmarks)
        if len(shared) < _MIN_SHARED:
            return False
        views = [local_map.nodes[k].pixels_of(shared) for k in chosen]
        self.stood = stands(np.stack(views), local_map.focal_px, local_map.poses[chosen])
        return not self.stood

    @staticmethod
    def _oldest(local_map: LocalMap, tracked: I64) -> int | None:
        """The oldest node that still shares enough with the newest."""
        for k in range(len(local_map.nodes) - 2):
            if np.isin(tracked, local_map.nodes[k].landmarks).sum() >= 1.5 * _MIN_SHARED:
                return k
        return None
