"""Pose of one camera from known points: robust Gauss-Newton, its uncertainty, and projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.tracking.bundle_kernels import move_pose
from mapping.tracking.cholesky import cholesky_solve
from mapping.transforms import F64


@dataclass(frozen=True, slots=True, eq=False)
class PoseFit:
    """A camera fitted to points."""

    camera_from_map: F64  # (3, 4)
    inlier: NDArray[np.bool_]  # (n,)
    covariance: F64  # (6, 6) of (translation, rotation) in the camera, for one pixel of noise

    @property
    def inliers(self) -> int:
        return int(np.count_nonzero(self.inlier))


def fit_pose(guess: F64, points: F64, pixels: F64, focal_px: float, *, inlier_px: float = 3.0) -> PoseFit:
    """Refine `guess` (3, 4) on points (n, 3) seen at ideal pixels (n, 2).

    Geman-McClure weights, wide at first so that a poor guess still converges, then down to `inlier_px`.
    """
    pose = guess.copy()
    information = np.zeros((6, 6))
    inlier = np.zeros(len(points), np.bool_)
    _gauss_newton(pose, points, pixels, focal_px, inlier_px, information, inlier)
    try:
        covariance = np.asarray(np.linalg.inv(information), np.float64)
    except np.linalg.LinAlgError:
        covariance = np.full((6, 6), np.inf)
    return PoseFit(pose, inlier, covariance)


@kernel
def _gauss_newton(
    pose: F64, points: F64, pixels: F64, focal: float, inlier_px: float, information: F64, inlier: NDArray[np.bool_]
) -> None:
    h, g = np.empty((6, 6)), np.empty(6)
    jx, jy = np.zeros(6), np.zeros(6)
    for iteration in range(12):
        width = inlier_px * max(1.0, 6.0 * 0.5**iteration)
        h[:, :] = 0.0
        g[:] = 0.0
        for i in range(len(points)):
            p = points[i]
            z = pose[2, 0] * p[0] + pose[2, 1] * p[1] + pose[2, 2] * p[2] + pose[2, 3]
            inlier[i] = False
            if z <= 1e-6:
                continue
            iz = 1.0 / z
            x = (pose[0, 0] * p[0] + pose[0, 1] * p[1] + pose[0, 2] * p[2] + pose[0, 3]) * iz
            y = (pose[1, 0] * p[0] + pose[1, 1] * p[1] + pose[1, 2] * p[2] + pose[1, 3]) * iz
            rx, ry = focal * x - pixels[i, 0], focal * y - pixels[i, 1]
            e2 = rx * rx + ry * ry
            inlier[i] = e2 < inlier_px * inlier_px
            w = width * width / (width * width + e2)
            w *= w * focal
            jx[0], jx[2], jx[3], jx[4], jx[5] = iz, -x * iz, -x * y, 1 + x * x, -y
            jy[1], jy[2], jy[3], jy[4], jy[5] = iz, -y * iz, -(1 + y * y), x * y, x
            for a in range(6):
                g[a] -= w * (jx[a] * rx + jy[a] * ry)
                for b in range(a, 6):
                    h[a, b] += w * focal * (jx[a] * jx[b] + jy[a] * jy[b])
        for a in range(6):
            h[a, a] += 1e-9 + 1e-9 * h[a, a]
            for b in range(a, 6):
                information[a, b] = information[b, a] = h[a, b]
        if not cholesky_solve(h, g):
            inlier[:] = False
            return
        move_pose(pose, g, pose)
        if iteration > 3 and np.abs(g).max() < 1e-7:
            break


@kernel
def project(pose: F64, points: F64, focal: float) -> F64:
    """Ideal pixels and depth (n, 3) = u, v, z of points (n, 3); z <= 0 where the point is not in front."""
    out = np.empty((len(points), 3))
    for i in range(len(points)):
        p = points[i]
        z = pose[2, 0] * p[0] + pose[2, 1] * p[1] + pose[2, 2] * p[2] + pose[2, 3]
        out[i, 2] = z
        if z <= 1e-6:
            out[i, 0] = out[i, 1] = 0.0
            continue
        out[i, 0] = focal * (pose[0, 0] * p[0] + pose[0, 1] * p[1] + pose[0, 2] * p[2] + pose[0, 3]) / z
        out[i, 1] = focal * (pose[1, 0] * p[0] + pose[1, 1] * p[1] + pose[1, 2] * p[2] + pose[1, 3]) / z
    return out


def warm_up() -> None:
    """Compile the kernels."""
    points = np.array([[0.0, 0.0, 2.0], [0.3, 0.1, 2.5], [-0.3, 0.2, 3.0], [0.2, -0.3, 2.2]])
    pixels = project(np.eye(3, 4), points, 500.0)[:, :2].copy()
    fit_pose(np.eye(3, 4), points, pixels, 500.0)
