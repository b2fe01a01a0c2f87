"""The inner loops of bundle adjustment: errors, Jacobians, the Schur complement, small dense solves.

Poses (3, 4) are `camera_from_map`; pixels are ideal: `u = focal * x / z`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
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
def cholesky_solve(a: F64, b: F64) -> bool:
    """Solve a x = b in place (x lands in b, a is destroyed) for a symmetric positive (n, n); False when it is not."""
    n = len(b)
    for i in range(n):
        for j in range(i + 1):
            s = a[i, j]
            for k in range(j):
                s -= a[i, k] * a[j, k]
            if i == j:
                if s <= 0.0:
                    return False
                a[i, i] = np.sqrt(s)
            else:
                a[i, j] = s / a[j, j]
    for i in range(n):
        s = b[i]
        for k in range(i):
            s -= a[i, k] * b[k]
        b[i] = s / a[i, i]
    for i in range(n - 1, -1, -1):
        s = b[i]
        for k in range(i + 1, n):
            s -= a[k, i] * b[k]
        b[i] = s / a[i, i]
    return True


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
def _linearise(camera: F64, point: F64, pixel: F64, focal: float, huber: float, jc: F64, jp: F64, r: F64) -> bool:
    """Fill weighted Jacobians jc (2, 7: pose, focal), jp (2, 3) and residual r (2,); False behind the camera."""
    x = camera[0, 0] * point[0] + camera[0, 1] * point[1] + camera[0, 2] * point[2] + camera[0, 3]
    y = camera[1, 0] * point[0] + camera[1, 1] * point[1] + camera[1, 2] * point[2] + camera[1, 3]
    z = camera[2, 0] * point[0] + camera[2, 1] * point[1] + camera[2, 2] * point[2] + camera[2, 3]
    if z <= 1e-9:
        return False
    iz = 1.0 / z
    xn, yn = x * iz, y * iz
    r[0], r[1] = focal * xn - pixel[0], focal * yn - pixel[1]
    e = np.sqrt(r[0] * r[0] + r[1] * r[1])
    w = 1.0 if e <= huber else np.sqrt(huber / e)
    fw = focal * w
    jc[0, 0], jc[0, 1], jc[0, 2] = fw * iz, 0.0, -fw * xn * iz
    jc[1, 0], jc[1, 1], jc[1, 2] = 0.0, fw * iz, -fw * yn * iz
    jc[0, 3], jc[0, 4], jc[0, 5] = -fw * xn * yn, fw * (1 + xn * xn), -fw * yn
    jc[1, 3], jc[1, 4], jc[1, 5] = -fw * (1 + yn * yn), fw * xn * yn, fw * xn
    jc[0, 6], jc[1, 6] = w * xn, w * yn
    for j in range(3):
        jp[0, j] = jc[0, 0] * camera[0, j] + jc[0, 2] * camera[2, j]
        jp[1, j] = jc[1, 1] * camera[1, j] + jc[1, 2] * camera[2, j]
    r[0] *= w
    r[1] *= w
    return True


@kernel
def _invert_3x3(m: F64, out: F64) -> bool:
    c00 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    c01 = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c02 = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    det = m[0, 0] * c00 + m[0, 1] * c01 + m[0, 2] * c02
    if not det > 0.0:
        return False
    out[0, 0], out[0, 1], out[0, 2] = (
        c00 / det,
        (m[0, 2] * m[2, 1] - m[0, 1] * m[2, 2]) / det,
        (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]) / det,
    )
    out[1, 0], out[1, 1], out[1, 2] = (
        c01 / det,
        (m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0]) / det,
        (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) / det,
    )
    out[2, 0], out[2, 1], out[2, 2] = (
        c02 / det,
        (m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1]) / det,
        (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) / det,
    )
    return True


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
    """Adjust cameras and points in place; returns the focal length and its standard deviation."""
    num_slots = 0
    for c in range(len(slots)):
        num_slots = max(num_slots, slots[c] + 1)
    with_focal = focal_sigma > 0.0
    n = 6 * num_slots + (1 if with_focal else 0)
    width = 7 if with_focal else 6
    longest = 1
    for p in range(len(points)):
        longest = max(longest, starts[p + 1] - starts[p])

    prior_focal = focal
    sigma_out = np.inf
    damping = 1e-4
    cost = _robust_cost(cameras, points, focal, camera_index, starts, pixels, huber)
    if with_focal:
        cost += ((focal - prior_focal) / focal_sigma) ** 2
    hessian, gradient = np.empty((n, n)), np.empty(n)
    inverse_v = np.zeros((len(points), 3, 3))
    gradient_p = np.empty((len(points), 3))
    cross = np.empty((len(camera_index), 7, 3))  # W = Jc^T Jp of each observation
    seen = np.empty(len(camera_index), np.bool_)
    jc, jp, r = np.empty((2, 7)), np.empty((2, 3)), np.empty(2)
    y = np.empty((7, 3))
    new_cameras, new_points = np.empty_like(cameras), np.empty_like(points)
    v, step6, back = np.empty((3, 3)), np.empty(6), np.empty(3)

    for _ in range(iterations):
        hessian[:, :] = 0.0
        gradient[:] = 0.0
        for p in range(len(points)):
            v[:, :] = 0.0
            gradient_p[p, :] = 0.0
            for o in range(starts[p], starts[p + 1]):
                slot = slots[camera_index[o]]
                seen[o] = _linearise(cameras[camera_index[o]], points[p], pixels[o], focal, huber, jc, jp, r)
                if not seen[o]:
                    continue
                for i in range(3):
                    gradient_p[p, i] += jp[0, i] * r[0] + jp[1, i] * r[1]
                    for j in range(3):
                        v[i, j] += jp[0, i] * jp[0, j] + jp[1, i] * jp[1, j]
                for i in range(7):
                    for j in range(3):
                        cross[o, i, j] = jc[0, i] * jp[0, j] + jc[1, i] * jp[1, j]
                for i in range(width):
                    row = n - 1 if i == 6 else 6 * slot + i
                    if i < 6 and slot < 0:
                        continue
                    gradient[row] += jc[0, i] * r[0] + jc[1, i] * r[1]
                    for j in range(i + 1):
                        col = n - 1 if j == 6 else 6 * slot + j
                        if j < 6 and slot < 0:
                            continue
                        hessian[row, col] += jc[0, i] * jc[0, j] + jc[1, i] * jc[1, j]
            for i in range(3):
                v[i, i] += damping * v[i, i] + 1e-9
            if not _invert_3x3(v, inverse_v[p]):
                inverse_v[p, :, :] = 0.0
        for i in range(n):
            hessian[i, i] += damping * hessian[i, i] + 1e-9
        if with_focal:
            hessian[n - 1, n - 1] += 1.0 / focal_sigma**2
            gradient[n - 1] += (focal - prior_focal) / focal_sigma**2
        for p in range(len(points)):
            iv, gp = inverse_v[p], gradient_p[p]
            for a in range(starts[p], starts[p + 1]):
                slot_a = slots[camera_index[a]]
                if not seen[a] or (slot_a < 0 and not with_focal):
                    continue
                for i in range(width):
                    for j in range(3):
                        y[i, j] = cross[a, i, 0] * iv[0, j] + cross[a, i, 1] * iv[1, j] + cross[a, i, 2] * iv[2, j]
                for i in range(width):
                    if i < 6 and slot_a < 0:
                        continue
                    row = n - 1 if i == 6 else 6 * slot_a + i
                    gradient[row] -= y[i, 0] * gp[0] + y[i, 1] * gp[1] + y[i, 2] * gp[2]
                for b in range(starts[p], starts[p + 1]):
                    slot_b = slots[camera_index[b]]
                    if not seen[b] or (slot_b > slot_a and not with_focal):
                        continue
                    for i in range(width):
                        if i < 6 and slot_a < 0:
                            continue
                        row = n - 1 if i == 6 else 6 * slot_a + i
                        for j in range(width):
                            if j < 6 and slot_b < 0:
                                continue
                            col = n - 1 if j == 6 else 6 * slot_b + j
                            if col <= row:
                                w = cross[b, j]
                                hessian[row, col] -= y[i, 0] * w[0] + y[i, 1] * w[1] + y[i, 2] * w[2]
        if with_focal:
            sigma_out = _last_sigma(hessian)
        step = -gradient
        if not cholesky_solve(hessian, step):
            damping *= 10.0
            continue
        new_focal = focal + step[n - 1] if with_focal else focal
        for c in range(len(cameras)):
            if slots[c] < 0:
                new_cameras[c] = cameras[c]
            else:
                step6[:] = step[6 * slots[c] : 6 * slots[c] + 6]
                move_pose(cameras[c], step6, new_cameras[c])
        for p in range(len(points)):
            back[:] = gradient_p[p]
            for o in range(starts[p], starts[p + 1]):
                slot = slots[camera_index[o]]
                if not seen[o]:
                    continue
                for i in range(width):
                    if i < 6 and slot < 0:
                        continue
                    s = step[n - 1] if i == 6 else step[6 * slot + i]
                    for j in range(3):
                        back[j] += cross[o, i, j] * s
            for i in range(3):
                iv = inverse_v[p]
                new_points[p, i] = points[p, i] - (iv[i, 0] * back[0] + iv[i, 1] * back[1] + iv[i, 2] * back[2])
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


@kernel
def _last_sigma(hessian: F64) -> float:
    """Standard deviation of the last unknown of a system given by its lower triangle (Schur complement of the rest)."""
    n = len(hessian)
    factor = hessian.copy()
    probe = np.zeros(n)
    probe[n - 1] = 1.0
    if not cholesky_solve(factor, probe):
        return np.inf
    sigma: float = np.sqrt(max(probe[n - 1], 0.0))
    return sigma
