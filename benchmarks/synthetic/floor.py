"""Where an agent can stand on the flat's floor: the truth a NavMesh is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic.flat import Flat
from benchmarks.synthetic.plan import ROOMS


@dataclass(frozen=True, slots=True, eq=False)
class FloorGrid:
    """Squares of the floor: the middle of `free[i, j]` is `origin_m + (i + .5, j + .5) * cell_m` in x and z."""

    origin_m: tuple[float, float]
    cell_m: float
    free: NDArray[np.bool_]  # (nx, nz)

    @property
    def area_m2(self) -> float:
        return float(self.free.sum()) * self.cell_m**2

    def centers_m(self) -> NDArray[np.float64]:
        """(nx, nz, 2) x and z of every middle."""
        nx, nz = self.free.shape
        x = self.origin_m[0] + (np.arange(nx) + 0.5) * self.cell_m
        z = self.origin_m[1] + (np.arange(nz) + 0.5) * self.cell_m
        return np.stack(np.meshgrid(x, z, indexing="ij"), axis=-1)

    def contains(self, points_xz: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) whether points (n, 2) lie on a free square."""
        index = np.floor((points_xz - self.origin_m) / self.cell_m).astype(np.int64)
        inside = np.all((index >= 0) & (index < self.free.shape), axis=1)
        out = np.zeros(len(index), bool)
        out[inside] = self.free[index[inside, 0], index[inside, 1]]
        return out


def walkable(
    flat: Flat, *, radius_m: float = 0.3, height_m: float = 1.8, climb_m: float = 0.3, cell_m: float = 0.025
) -> FloorGrid:
    """Floor on which the middle of an upright cylinder may stand without touching anything higher than a step.

    What hangs above `height_m` or ends below `climb_m` does not block; tops of furniture are not floor.
    """
    x0, z0 = (min(room[i] for room in ROOMS.values()) for i in (0, 1))
    x1, z1 = (max(room[i] for room in ROOMS.values()) for i in (2, 3))
    shape = (round((x1 - x0) / cell_m), round((z1 - z0) / cell_m))
    grid = FloorGrid((x0, z0), cell_m, np.ones(shape, bool))
    centers = grid.centers_m()
    blocks = flat.boxes[(flat.boxes[:, 1] < height_m) & (flat.boxes[:, 4] > climb_m)]
    for lo_x, _, lo_z, hi_x, _, hi_z in blocks:
        dx = np.maximum(np.maximum(lo_x - centers[:, :, 0], centers[:, :, 0] - hi_x), 0.0)
        dz = np.maximum(np.maximum(lo_z - centers[:, :, 1], centers[:, :, 1] - hi_z), 0.0)
        np.logical_and(grid.free, dx * dx + dz * dz > radius_m * radius_m, out=grid.free)
    return grid
