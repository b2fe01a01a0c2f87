"""Between pixels of the tracking image and ideal ones: the tracker's only file that knows K, k1 and the half pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64
from streams.frame import Intrinsics


@dataclass(frozen=True, slots=True)
class Lens:
    """A camera at the tracking image's size; its ideal pixels are scaled to `focal_px`."""

    intrinsics: Intrinsics
    focal_px: float
    """Of ideal pixels; constant for the life of a map, whatever size the frames come in."""

    def ideal(self, pixels: NDArray[np.floating]) -> F64:
        """Undistorted, centred, square pixels (n, 2) of OpenCV pixels (n, 2)."""
        k = self.intrinsics
        distorted = (np.asarray(pixels, np.float64) + 0.5 - [k.cx, k.cy]) / [k.fx, k.fy]
        xy = distorted
        if k.k1:
            for _ in range(4):  # fixed point; |k1 r^2| is small, so each round gains a digit or more
                xy = distorted / np.maximum(1 + k.k1 * np.sum(xy * xy, axis=1, keepdims=True), 0.2)
        return np.asarray(xy * self.focal_px)

    def pixels(self, ideal: F64) -> NDArray[np.float32]:
        """OpenCV pixels (n, 2) of ideal pixels (n, 2)."""
        k = self.intrinsics
        xy = ideal / self.focal_px
        if k.k1:
            xy = xy * (1 + k.k1 * np.sum(xy * xy, axis=1, keepdims=True))
        return (xy * [k.fx, k.fy] + [k.cx - 0.5, k.cy - 0.5]).astype(np.float32)
