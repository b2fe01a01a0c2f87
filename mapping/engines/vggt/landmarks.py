"""What the tracker's sparse points say about the network's depth: its unit, and how far it is off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64, invert, project
from streams.frame import Intrinsics

_MIN_POINTS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The same points in both units."""

    ratio: F64  # (n,) tracker's depth / network's depth
    certainty: F64  # (n,) what the network says about itself there, 1 or more

    @property
    def is_enough(self) -> bool:
        return len(self.ratio) >= _MIN_POINTS

    @property
    def scale(self) -> float | None:
        """Tracker units per network unit; None where too few points tell."""
        return float(np.median(self.ratio)) if self.is_enough else None

    @property
    def factor(self) -> float | None:
        """Median of relative error times the network's certainty; None where too few points tell."""
        if not self.is_enough:
            return None
        errors = np.abs(np.median(self.ratio) / self.ratio - 1)
        return float(np.median(errors * self.certainty))


def compare(
    landmarks_window: NDArray[np.float32] | None,
    window_from_camera: F64 | None,
    camera: Intrinsics,
    depth: NDArray[np.float32],
    certainty: NDArray[np.float32],
) -> Comparison:
    """Look landmarks (n, 3) up in a view's depth map (h, w), 0 = unknown, seen by `camera` of its size."""
    if landmarks_window is None or window_from_camera is None or not len(landmarks_window):
        return Comparison(np.empty(0), np.empty(0))
    camera_from_window = invert(window_from_camera)
    points = landmarks_window.astype(np.float64) @ camera_from_window[:3, :3].T + camera_from_window[:3, 3]
    pixels = project(points, camera)
    inside = np.all((pixels >= 0) & (pixels < [camera.width, camera.height]), axis=1)  # NaN, behind the camera, is not
    u, v = pixels[inside].astype(int).T
    z, seen = points[inside, 2], depth[v, u]
    known = seen > 0
    return Comparison(z[known] / seen[known], certainty[v, u][known].astype(np.float64))
