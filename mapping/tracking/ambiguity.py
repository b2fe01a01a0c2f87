"""How well two views fix the direction of travel: the epipolar cost of every direction on a hemisphere.

A short baseline leaves a long valley in which turning and travelling trade places; a solver lands somewhere in it and
cannot tell. Here each direction gets its own best rotation (three unknowns, no points), so the valley is seen at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapping.kernels import kernel
from mapping.tracking.bundle_kernels import move_pose
from mapping.tracking.cholesky import cholesky_solve
from mapping.transforms import F64

_DIRECTIONS = 96


@dataclass(frozen=True, slots=True, eq=False)
class Valley:
    """The cost of travelling each way."""

    directions: F64  # (d, 3) unit vectors: the second camera's translation, up to sign
    rotations: F64  # (d, 3, 3) second_from_first that suits each direction best
    costs: F64  # (d,) mean robust squared distance to the epipolar lines, px^2

    def spread_rad(self, ratio: float, floor_px2: float = 0.02) -> float:
        """Largest angle between the best direction and any other that costs at most `ratio` times as much."""
        best = int(np.argmin(self.costs))
        near = self.costs <= ratio * (self.costs[best] + floor_px2)
        cosine = np.abs(self.directions[near] @ self.directions[best])
        return float(np.arccos(np.clip(cosine.min(), 0.0, 1.0)))

    def minima(self, count: int) -> list[int]:
        """Up to `count` directions that are cheaper than every other within 25 degrees, cheapest first."""
        cosine = np.abs(self.directions @ self.directions.T)
        near = np.where(cosine > np.cos(np.radians(25)), self.costs[None], np.inf)
        lowest = np.flatnonzero(self.costs <= near.min(axis=1))
        return [int(k) for k in lowest[np.argsort(self.costs[lowest], kind="stable")][:count]]


def scan(first: F64, last: F64, focal_px: float, turn: F64, *, robust_px: float = 2.0) -> Valley:
    """Try directions of travel between two views of ideal pixels (n, 2), each starting at rotation `turn` (3, 3)."""
    directions = _hemisphere(_DIRECTIONS)
    rotations = np.tile(turn, (len(directions), 1, 1))
    costs = np.empty(len(directions))
    a = np.column_stack([first / focal_px, np.ones(len(first))])
    b = np.column_stack([last / focal_px, np.ones(len(last))])
    _scan(a, b, focal_px, directions, rotations, costs, robust_px)
    return Valley(directions, rotations, costs)


def _hemisphere(count: int) -> F64:
    """Directions (count, 3) spread evenly over a hemisphere (Fibonacci spiral)."""
    z = (np.arange(count) + 0.5) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - z * z)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), z])


@kernel
def _scan(a: F64, b: F64, focal: float, directions: F64, rotations: F64, costs: F64, robust: float) -> None:
    h, g, step = np.empty((3, 3)), np.empty(3), np.zeros(6)
    pose, jac = np.zeros((3, 4)), np.empty(3)
    for d in range(len(directions)):
        t = directions[d]
        pose[:, :3] = rotations[d]
        cost = 0.0
        for iteration in range(9):
            wide = robust * max(1.0, 4.0 * 0.5**iteration)
            h[:, :] = 0.0
            g[:] = 0.0
            cost = 0.0
            for i in range(len(a)):
                # q = R a is where the ray points now; the epipolar line of the second view is t x q.
                qx = pose[0, 0] * a[i, 0] + pose[0, 1] * a[i, 1] + pose[0, 2] * a[i, 2]
                qy = pose[1, 0] * a[i, 0] + pose[1, 1] * a[i, 1] + pose[1, 2] * a[i, 2]
                qz = pose[2, 0] * a[i, 0] + pose[2, 1] * a[i, 1] + pose[2, 2] * a[i, 2]
                lx, ly, lz = t[1] * qz - t[2] * qy, t[2] * qx - t[0] * qz, t[0] * qy - t[1] * qx
                mx, my = t[1] * b[i, 2] - t[2] * b[i, 1], t[2] * b[i, 0] - t[0] * b[i, 2]
                norm2 = lx * lx + ly * ly + mx * mx + my * my + 1e-12
                scale = focal / np.sqrt(norm2)
                r = scale * (lx * b[i, 0] + ly * b[i, 1] + lz * b[i, 2])
                e2 = r * r
                cost += e2 * robust * robust / (robust * robust + e2)
                w = wide * wide / (wide * wide + e2)
                w *= w
                # dr/dw for q -> q + w x q:  r = b . (t x q), so dr = (b x t) . (w x q) = w . (q x (b x t)).
                nx = b[i, 1] * t[2] - b[i, 2] * t[1]
                ny = b[i, 2] * t[0] - b[i, 0] * t[2]
                nz = b[i, 0] * t[1] - b[i, 1] * t[0]
                jac[0] = scale * (qy * nz - qz * ny)
                jac[1] = scale * (qz * nx - qx * nz)
                jac[2] = scale * (qx * ny - qy * nx)
                for k in range(3):
                    g[k] -= w * jac[k] * r
                    for m in range(k, 3):
                        h[k, m] += w * jac[k] * jac[m]
            if iteration == 8:
                break
            for k in range(3):
                h[k, k] += 1e-9 + 1e-6 * h[k, k]
            if not cholesky_solve(h, g):
                break
            step[3:] = g
            move_pose(pose, step, pose)
        rotations[d] = pose[:, :3]
        costs[d] = cost / len(a)


def warm_up() -> None:
    """Compile the kernels."""
    scan(np.zeros((3, 2)), np.zeros((3, 2)), 500.0, np.eye(3))
