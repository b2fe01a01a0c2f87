"""The normal equations of bundle adjustment: built point by point, points taken out (Schur complement) and put back.

What a loop over six unknowns reads is held in tuples: those stay in registers, while of two arrays the compiler has to
fear that they overlap. Systems are symmetric; only the upper triangle is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.transforms import F64

Six = tuple[float, float, float, float, float, float]


@kernel
def _linearise(
    camera: F64, point: F64, pixel: F64, focal: float, huber: float
) -> tuple[Six, Six, float, float, float, float]:
    """Derivatives of u and of v by the pose (translation, rotation), both residuals, and their derivatives by focal.

    All times the square root of the Huber weight; zero behind the camera.
    """
    x = camera[0, 0] * point[0] + camera[0, 1] * point[1] + camera[0, 2] * point[2] + camera[0, 3]
    y = camera[1, 0] * point[0] + camera[1, 1] * point[1] + camera[1, 2] * point[2] + camera[1, 3]
    z = camera[2, 0] * point[0] + camera[2, 1] * point[1] + camera[2, 2] * point[2] + camera[2, 3]
    if z <= 1e-9:
        none = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        return none, none, 0.0, 0.0, 0.0, 0.0
    iz = 1.0 / z
    xn, yn = x * iz, y * iz
    ru, rv = focal * xn - pixel[0], focal * yn - pixel[1]
    e = np.sqrt(ru * ru + rv * rv)
    w = 1.0 if e <= huber else np.sqrt(huber / e)
    fw = focal * w
    ju = (fw * iz, 0.0, -fw * xn * iz, -fw * xn * yn, fw * (1 + xn * xn), -fw * yn)
    jv = (0.0, fw * iz, -fw * yn * iz, -fw * (1 + yn * yn), fw * xn * yn, fw * xn)
    return ju, jv, w * ru, w * rv, w * xn, w * yn


@kernel
def accumulate(
    cameras: F64,
    points: F64,
    focal: float,
    slots: NDArray[np.int64],
    camera_index: NDArray[np.int64],
    starts: NDArray[np.int64],
    pixels: F64,
    huber: float,
    with_focal: bool,
    hessian: F64,
    gradient: F64,
    v: F64,
    gradient_p: F64,
    cross: F64,
    cross_f: F64,
) -> None:
    """Fill the system of poses and, last, the focal length (`hessian`, `gradient`), and that of each point (`v`).

    `cross` (o, 3, 6) takes each observation's coupling of point and pose, `cross_f` (p, 3) each point's to the focal
    length; `v` is (p, 3, 3), `gradient_p` (p, 3).
    """
    last = len(gradient) - 1
    hessian[:, :] = 0.0
    gradient[:] = 0.0
    for p in range(len(points)):
        g0, g1, g2, f0, f1, f2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        v00, v01, v02, v11, v12, v22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for o in range(starts[p], starts[p + 1]):
            c, slot = cameras[camera_index[o]], slots[camera_index[o]]
            ju, jv, ru, rv, fu, fv = _linearise(c, points[p], pixels[o], focal, huber)
            a0, b0 = ju[0] * c[0, 0] + ju[2] * c[2, 0], jv[1] * c[1, 0] + jv[2] * c[2, 0]
            a1, b1 = ju[0] * c[0, 1] + ju[2] * c[2, 1], jv[1] * c[1, 1] + jv[2] * c[2, 1]
            a2, b2 = ju[0] * c[0, 2] + ju[2] * c[2, 2], jv[1] * c[1, 2] + jv[2] * c[2, 2]
            g0, g1, g2 = g0 + a0 * ru + b0 * rv, g1 + a1 * ru + b1 * rv, g2 + a2 * ru + b2 * rv
            v00, v01, v02 = v00 + a0 * a0 + b0 * b0, v01 + a0 * a1 + b0 * b1, v02 + a0 * a2 + b0 * b2
            v11, v12, v22 = v11 + a1 * a1 + b1 * b1, v12 + a1 * a2 + b1 * b2, v22 + a2 * a2 + b2 * b2
            if with_focal:
                f0, f1, f2 = f0 + a0 * fu + b0 * fv, f1 + a1 * fu + b1 * fv, f2 + a2 * fu + b2 * fv
                gradient[last] += fu * ru + fv * rv
                hessian[last, last] += fu * fu + fv * fv
            if slot < 0:
                continue
            block, part, w = hessian[6 * slot : 6 * slot + 6], gradient[6 * slot : 6 * slot + 6], cross[o]
            own = block[:, 6 * slot : 6 * slot + 6]
            for i in range(6):
                w[0, i], w[1, i], w[2, i] = a0 * ju[i] + b0 * jv[i], a1 * ju[i] + b1 * jv[i], a2 * ju[i] + b2 * jv[i]
            for i in range(6):
                part[i] += ju[i] * ru + jv[i] * rv
                for j in range(6):
                    own[i, j] += ju[i] * ju[j] + jv[i] * jv[j]
            if with_focal:
                for i in range(6):
                    block[i, last] += ju[i] * fu + jv[i] * fv
        gradient_p[p, 0], gradient_p[p, 1], gradient_p[p, 2] = g0, g1, g2
        cross_f[p, 0], cross_f[p, 1], cross_f[p, 2] = f0, f1, f2
        v[p, 0, 0], v[p, 0, 1], v[p, 0, 2] = v00, v01, v02
        v[p, 1, 0], v[p, 1, 1], v[p, 1, 2] = v01, v11, v12
        v[p, 2, 0], v[p, 2, 1], v[p, 2, 2] = v02, v12, v22


@kernel
def damp_and_invert(v: F64, damping: float) -> None:
    """Points' own systems (p, 3, 3), in place; zero where there is no inverse, which holds the point."""
    inverse = np.empty((3, 3))
    for p in range(len(v)):
        for i in range(3):
            v[p, i, i] += damping * v[p, i, i] + 1e-9
        if _invert_3x3(v[p], inverse):
            v[p] = inverse
        else:
            v[p] = 0.0


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
def eliminate(
    slots: NDArray[np.int64],
    camera_index: NDArray[np.int64],
    starts: NDArray[np.int64],
    with_focal: bool,
    inverse_v: F64,
    gradient_p: F64,
    cross: F64,
    cross_f: F64,
    hessian: F64,
    gradient: F64,
) -> None:
    """Take the points out of the normal equations (Schur complement), in place."""
    n = len(gradient)
    y, yf = np.empty((3, 6)), np.empty(3)
    for p in range(len(inverse_v)):
        iv, gp = inverse_v[p], gradient_p[p]
        if with_focal:
            f = cross_f[p]
            for j in range(3):
                yf[j] = f[0] * iv[0, j] + f[1] * iv[1, j] + f[2] * iv[2, j]
            gradient[n - 1] -= yf[0] * gp[0] + yf[1] * gp[1] + yf[2] * gp[2]
            hessian[n - 1, n - 1] -= yf[0] * f[0] + yf[1] * f[1] + yf[2] * f[2]
        for a in range(starts[p], starts[p + 1]):
            slot_a = slots[camera_index[a]]
            if slot_a < 0:
                continue
            wa = cross[a]
            for j in range(3):
                for i in range(6):
                    y[j, i] = iv[j, 0] * wa[0, i] + iv[j, 1] * wa[1, i] + iv[j, 2] * wa[2, i]
            for i in range(6):
                row = 6 * slot_a + i
                gradient[row] -= y[0, i] * gp[0] + y[1, i] * gp[1] + y[2, i] * gp[2]
                if with_focal:
                    hessian[row, n - 1] -= yf[0] * wa[0, i] + yf[1] * wa[1, i] + yf[2] * wa[2, i]
            for b in range(starts[p], starts[p + 1]):
                slot_b = slots[camera_index[b]]
                if slot_b < slot_a:
                    continue
                _subtract_product(hessian[6 * slot_a : 6 * slot_a + 6, 6 * slot_b : 6 * slot_b + 6], y, cross[b])


@kernel
def _subtract_product(block: F64, y: F64, w: F64) -> None:
    """block -= y^T w for (6, 6), (3, 6), (3, 6)."""
    w0, w1, w2 = _six(w[0]), _six(w[1]), _six(w[2])
    for i in range(6):
        y0, y1, y2, row = y[0, i], y[1, i], y[2, i], block[i]
        for j in range(6):
            row[j] -= y0 * w0[j] + y1 * w1[j] + y2 * w2[j]


@kernel
def _six(row: F64) -> Six:
    return row[0], row[1], row[2], row[3], row[4], row[5]


@kernel
def move_points(
    points: F64,
    step: F64,
    focal_step: float,
    slots: NDArray[np.int64],
    camera_index: NDArray[np.int64],
    starts: NDArray[np.int64],
    inverse_v: F64,
    gradient_p: F64,
    cross: F64,
    cross_f: F64,
    out: F64,
) -> None:
    """Where the points (p, 3) go once the cameras' step is known."""
    back = np.empty(3)
    for p in range(len(points)):
        for j in range(3):
            back[j] = gradient_p[p, j] + cross_f[p, j] * focal_step
        for o in range(starts[p], starts[p + 1]):
            slot = slots[camera_index[o]]
            if slot < 0:
                continue
            for j in range(3):
                w = cross[o, j]
                for i in range(6):
                    back[j] += w[i] * step[6 * slot + i]
        iv = inverse_v[p]
        for i in range(3):
            out[p, i] = points[p, i] - (iv[i, 0] * back[0] + iv[i, 1] * back[1] + iv[i, 2] * back[2])
