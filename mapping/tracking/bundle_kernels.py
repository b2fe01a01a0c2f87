"""The loop of bundle adjustment: Levenberg-Marquardt over poses, points and, where wanted, the focal length.

Poses (3, 4) are `camera_from_map`; pixels are ideal: `u = focal * x / z`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.tracking.cholesky import cholesky_solve, last_sigma
from mapping.tracking.normal_equations import accumulate, damp_and_invert, eliminate, move_points
from mapping.transforms import F64

_BEHIND_COST = 1e4  # px^2; what an observation costs whose point lies behind its camera


@kernel
def squared_errors(
    cameras: F64,
    points: F64,
    camera_index: NDArray[np.int64],
    point_index: NDArray[np.int64],
    pixels: F64,
    focal: float,
) -> F64:
    """Squared reprojection error (o,) in px^2; infinite behind the camera."""
    out = np.empty(len(camera_index))
    for o in range(len(camera_index)):
        c, p = cameras[camera_index[o]], points[point_index[o]]
        x = c[0, 0] * p[0] + c[0, 1] * p[1] + c[0, 2] * p[2] + c[0, 3]
        y = c[1, 0] * p[0] + c[1, 1] * p[1] + c[1, 2] * p[2] + c[1, 3]
        z = c[2, 0] * p[0] + c[2, 1] * p[1] + c[2, 2] * p[2] + c[2, 3]
        if z <= 1e-9:
            out[o] = np.inf
        else:
            out[o] = (focal * x / z - pixels[o, 0]) ** 2 + (focal * y / z - pixels[o, 1]) ** 2
    return out


@kernel
def by_point(point_index: NDArray[np.int64], num_points: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order (o,) that sorts observations by point and keeps it otherwise, and where each point's begin (p + 1,)."""
    starts = np.zeros(num_points + 1, np.int64)
    for o in range(len(point_index)):
        starts[point_index[o] + 1] += 1
    for p in range(num_points):
        starts[p + 1] += starts[p]
    order, filled = np.empty(len(point_index), np.int64), starts.copy()
    for o in range(len(point_index)):
        order[filled[point_index[o]]] = o
        filled[point_index[o]] += 1
    return order, starts


@kernel
def move_pose(pose: F64, step: F64, out: F64) -> None:
    """out = exp(step) * pose for (3, 4) poses; step (6,) = translation, rotation vector. Stays orthonormal."""
    wx, wy, wz = step[3], step[4], step[5]
    angle = np.sqrt(wx * wx + wy * wy + wz * wz)
    half = 0.5 * angle
    s = 0.5 if angle < 1e-9 else np.sin(half) / angle
    qw, qx, qy, qz = np.cos(half), s * wx, s * wy, s * wz
    r = np.empty((3, 3))
    r[0, 0], r[0, 1], r[0, 2] = 1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy - qw * qz), 2 * (qx * qz + qw * qy)
    r[1, 0], r[1, 1], r[1, 2] = 2 * (qx * qy + qw * qz), 1 - 2 * (qx * qx + qz * qz), 2 * (qy * qz - qw * qx)
    r[2, 0], r[2, 1], r[2, 2] = 2 * (qx * qz - qw * qy), 2 * (qy * qz + qw * qx), 1 - 2 * (qx * qx + qy * qy)
    moved = np.empty((3, 4))
    for i in range(3):
        for j in range(4):
            moved[i, j] = r[i, 0] * pose[0, j] + r[i, 1] * pose[1, j] + r[i, 2] * pose[2, j]
        moved[i, 3] += step[i]
    # Gram-Schmidt: thousands of products would otherwise drift away from a rotation.
    n = np.sqrt(moved[0, 0] ** 2 + moved[0, 1] ** 2 + moved[0, 2] ** 2)
    for j in range(3):
        moved[0, j] /= n
    d = moved[0, 0] * moved[1, 0] + moved[0, 1] * moved[1, 1] + moved[0, 2] * moved[1, 2]
    for j in range(3):
        moved[1, j] -= d * moved[0, j]
    n = np.sqrt(moved[1, 0] ** 2 + moved[1, 1] ** 2 + moved[1, 2] ** 2)
    for j in range(3):
        moved[1, j] /= n
    moved[2, 0] = moved[0, 1] * moved[1, 2] - moved[0, 2] * moved[1, 1]
    moved[2, 1] = moved[0, 2] * moved[1, 0] - moved[0, 0] * moved[1, 2]
    moved[2, 2] = moved[0, 0] * moved[1, 1] - moved[0, 1] * moved[1, 0]
    out[:, :] = moved


@kernel
def _robust_cost(
    cameras: F64,
    points: F64,
    focal: float,
    camera_index: NDArray[np.int64],
    starts: NDArray[np.int64],
    pixels: F64,
    huber: float,
) -> float:
    cost = 0.0
    for p in range(len(points)):
        for o in range(starts[p], starts[p + 1]):
            c, q = cameras[camera_index[o]], points[p]
            z = c[2, 0] * q[0] + c[2, 1] * q[1] + c[2, 2] * q[2] + c[2, 3]
            if z <= 1e-9:
                cost += _BEHIND_COST
                continue
            x = c[0, 0] * q[0] + c[0, 1] * q[1] + c[0, 2] * q[2] + c[0, 3]
            y = c[1, 0] * q[0] + c[1, 1] * q[1] + c[1, 2] * q[2] + c[1, 3]
            e = np.sqrt((focal * x / z - pixels[o, 0]) ** 2 + (focal * y / z - pixels[o, 1]) ** 2)
            cost += e * e if e <= huber else huber * (2 * e - huber)
    return cost


@kernel
def levenberg_marquardt(
    cameras: F64,
    points: F64,
    focal: float,
    slots: NDArray[np.int64],
    camera_index: NDArray[np.int64],
    starts: NDArray[np.int64],
    pixels: F64,
    iterations: int,
    huber: float,
    focal_sigma: float,
) -> tuple[float, float]:
    """Adjust cameras and points in place; returns the focal length and its standard deviation.

    Args:
        slots: (c,) which unknown pose a camera is, -1 where it is held.
        starts: (p + 1,) where each point's observations begin; those are sorted by point.
        focal_sigma: pixels; 0 holds the focal length, else it is the last unknown.
    """
    with_focal = focal_sigma > 0.0
    n = 6 * (slots.max() + 1) + (1 if with_focal else 0)
    prior_focal, sigma_out, damping = focal, np.inf, 1e-4
    hessian, gradient = np.empty((n, n)), np.empty(n)
    inverse_v, gradient_p = np.empty((len(points), 3, 3)), np.empty((len(points), 3))
    cross, cross_f = np.empty((len(camera_index), 3, 6)), np.empty((len(points), 3))
    new_cameras, new_points = np.empty_like(cameras), np.empty_like(points)
    cost = _robust_cost(cameras, points, focal, camera_index, starts, pixels, huber)

    for _ in range(iterations):
        accumulate(
            cameras, points, focal, slots, camera_index, starts, pixels, huber, with_focal,
            hessian, gradient, inverse_v, gradient_p, cross, cross_f,
        )  # fmt: skip
        damp_and_invert(inverse_v, damping)
        for i in range(n):
            hessian[i, i] += damping * hessian[i, i] + 1e-9
        if with_focal:
            hessian[n - 1, n - 1] += 1.0 / focal_sigma**2
            gradient[n - 1] += (focal - prior_focal) / focal_sigma**2
        eliminate(slots, camera_index, starts, with_focal, inverse_v, gradient_p, cross, cross_f, hessian, gradient)
        if with_focal:
            sigma_out = last_sigma(hessian)
        step = -gradient
        if not cholesky_solve(hessian, step):
            damping *= 10.0
            continue
        new_focal = focal + step[n - 1] if with_focal else focal
        for c in range(len(cameras)):
            if slots[c] < 0:
                new_cameras[c] = cameras[c]
            else:
                move_pose(cameras[c], step[6 * slots[c] : 6 * slots[c] + 6], new_cameras[c])
        move_points(
            points,
            step,
            new_focal - focal,
            slots,
            camera_index,
            starts,
            inverse_v,
            gradient_p,
            cross,
            cross_f,
            new_points,
        )
        new_cost = _robust_cost(new_cameras, new_points, new_focal, camera_index, starts, pixels, huber)
        if with_focal:
            new_cost += ((new_focal - prior_focal) / focal_sigma) ** 2
        if new_cost < cost:
            gain = (cost - new_cost) / max(cost, 1e-12)
            cameras[:] = new_cameras
            points[:] = new_points
            focal, cost = new_focal, new_cost
            damping = max(damping * 0.2, 1e-8)
            if gain < 1e-4:
                break
        else:
            damping *= 10.0
            if damping > 1e6:
                break
    return focal, sigma_out
