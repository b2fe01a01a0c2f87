"""Shapes that stand askew to the voxel grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.sdf_world import F32, Point, Shape


@dataclass(frozen=True, slots=True)
class Turned:
    """A shape turned about the vertical axis through (centre, 0, centre), which is its own origin."""

    shape: Shape
    angle_deg: float
    centre_m: float

    def distance(self, x: F32, y: F32, z: F32) -> F32:
        u, v = self.along(x, z)
        return self.shape.distance(u, y, v)

    def along(self, x: F32, z: F32) -> tuple[F32, F32]:
        """Coordinates in the shape's own axes."""
        cos, sin = (np.float32(f(np.radians(self.angle_deg))) for f in (np.cos, np.sin))
        x, z = x - np.float32(self.centre_m), z - np.float32(self.centre_m)
        return cos * x + sin * z, cos * z - sin * x

    def place(self, u: float, height_m: float, v: float) -> Point:
        """World position of a point in the shape's own axes."""
        cos, sin = (float(f(np.radians(self.angle_deg))) for f in (np.cos, np.sin))
        return (self.centre_m + cos * u - sin * v, height_m, self.centre_m + sin * u + cos * v)

    @property
    def bounds(self) -> tuple[Point, Point]:
        low, high = self.shape.bounds
        corners = np.array([self.place(u, 0.0, v) for u in (low[0], high[0]) for v in (low[2], high[2])])
        (ax, _, az), (bx, _, bz) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return (ax, low[1], az), (bx, high[1], bz)
