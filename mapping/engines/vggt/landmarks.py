"""What the tracker's sparse points say about the network's depth: its unit, and how far to trust it."""

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


def confidence(
    certainty: NDArray[np.float32], comparison: Comparison, scale: float, tolerance: float
) -> NDArray[np.float32]:
    """Confidence 0..1 of depth (h, w): one half where its relative error is expected to be `tolerance`.

    The network was trained to say about 1 / error, up to a factor. Where landmarks were compared they tell that factor;
    without them, the network's least certainty means 0 and there is no other measure.
    """
    if not comparison.is_enough:
        return np.asarray(1 - 1 / certainty, np.float32)
    errors = np.abs(scale / comparison.ratio - 1)
    factor = float(np.median(errors * comparison.certainty))
    expected = factor / certainty
    return np.asarray(1 / (1 + np.square(expected / tolerance)), np.float32)
