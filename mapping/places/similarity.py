"""The similarity between two frames that explains best what cameras of each saw of the other's points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.transforms import F64, Sim3, exp_so3

_ITERATIONS = 12
_ROBUST_PX = 2.0
_BEHIND_COST = float(np.log1p(1e6 / _ROBUST_PX**2))


@dataclass(frozen=True, slots=True, eq=False)
class Sights:
    """n points of one frame, each as a camera saw it that is known in the other frame."""

    points: F64  # (n, 3) in the one frame
    camera_from_other: F64  # (n, 3, 4)
    xy: F64  # (n, 2) where the camera saw it, image plane at z = 1
    focal_px: F64  # (n,)

    def __len__(self) -> int:
        return len(self.points)

    def error_px(self, other_from_one: Sim3) -> F64:
        """(n,) distance in the image between where points should be and were seen; inf behind the camera."""
        local = self._local(other_from_one.apply(self.points))
        with np.errstate(invalid="ignore"):
            z = np.where(local[:, 2] > 1e-9, local[:, 2], np.nan)
        off = (local[:, :2] / z[:, None] - self.xy) * self.focal_px[:, None]
        return np.asarray(np.nan_to_num(np.linalg.norm(off, axis=1), nan=np.inf))

    def _local(self, points_other: F64) -> F64:
        turned = np.einsum("nij,nj->ni", self.camera_from_other[:, :, :3], points_other)
        return np.asarray(turned + self.camera_from_other[:, :, 3])


def joined(parts: list[Sights]) -> Sights:
    """All sights of several parts."""
    return Sights(
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.camera_from_other for p in parts]),
        np.concatenate([p.xy for p in parts]),
        np.concatenate([p.focal_px for p in parts]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """A similarity after refinement."""

    b_from_a: Sim3
    information: F64  # (7, 7) of (turn, shift, log scale) applied on the left, in frame b; per pixel^2 of noise


def refine(b_from_a: Sim3, forward: Sights, backward: Sights, depth_sigma: float = 0.0) -> Refined:
    """Minimise the robust distance in the images (Levenberg-Marquardt, Cauchy weights).

    Args:
        forward: points of a as cameras known in b saw them.
        backward: points of b as cameras known in a saw them.
        depth_sigma: how far points may be off (relative) along the line of sight from the origin of their own frame,
            where a camera is; what that does to where they are seen costs less.
    """
    damping, best = 1e-4, b_from_a
    cost, hessian, gradient = _normal_equations(best, forward, backward, depth_sigma)
    for _ in range(_ITERATIONS):
        step = -np.linalg.solve(hessian + damping * np.diag(np.diag(hessian) + 1e-9), gradient)
        trial = _moved(best, step)
        next_cost, next_hessian, next_gradient = _normal_equations(trial, forward, backward, depth_sigma)
        if next_cost < cost:
            gain = cost - next_cost
            best, cost, hessian, gradient = trial, next_cost, next_hessian, next_gradient
            damping *= 0.3
            if gain < 1e-6 * cost:
                break
        else:
            damping *= 10.0
            if damping > 1e6:
                break
    return Refined(best, hessian)


def _moved(b_from_a: Sim3, step: NDArray[np.floating]) -> Sim3:
    turn, shift = np.asarray(step[:3], np.float64), np.asarray(step[3:6], np.float64)
    return Sim3(float(np.exp(step[6])), exp_so3(turn), shift) @ b_from_a


def _normal_equations(b_from_a: Sim3, forward: Sights, backward: Sights, depth_sigma: float) -> tuple[float, F64, F64]:
    """Robust cost, its Gauss-Newton Hessian (7, 7) and gradient (7,) for a motion (turn, shift, log scale) of frame b.

    A point of a moves with it; seen from a, a point of b moves the opposite way.
    """
    hessian, gradient = np.zeros((7, 7)), np.zeros(7)
    in_b, a_from_b = b_from_a.apply(forward.points), b_from_a.inverse()
    away = -a_from_b.scale * a_from_b.rotation
    in_a = a_from_b.apply(backward.points)
    directions = (
        (forward, in_b, in_b, np.eye(3), b_from_a.translation),
        (backward, backward.points, in_a, away, a_from_b.translation),
    )
    cost = 0.0
    for sights, points_b, seen, moving, origin in directions:
        cameras = np.ascontiguousarray(sights.camera_from_other)  # often one for all
        rays = depth_sigma * (seen - origin)
        cost += _add(hessian, gradient, points_b, seen, rays, moving, cameras, sights.xy, sights.focal_px)
    return cost, hessian, gradient


@kernel
def _add(
    hessian: F64, gradient: F64, points_b: F64, seen: F64, rays: F64, moving: F64, cameras: F64, xy: F64, focal_px: F64
) -> float:
    """Add the sights of one direction; returns their cost.

    Args:
        points_b: (n, 3) what is seen, in frame b.
        seen: (n, 3) the same in the frame of the cameras (n, 3, 4) that see it; there it moves by `moving` (3, 3) times
            its motion in frame b.
        rays: (n, 3) which way, and how far (1 sigma), a point may be off there: what lies along it in the image counts
            less, as if each point's depth were adjusted, too.
    """
    cost, row, step = 0.0, np.empty((2, 3)), np.empty((2, 7))
    for i in range(len(points_b)):
        camera, p, q = cameras[i], points_b[i], seen[i]
        x = camera[0, 0] * q[0] + camera[0, 1] * q[1] + camera[0, 2] * q[2] + camera[0, 3]
        y = camera[1, 0] * q[0] + camera[1, 1] * q[1] + camera[1, 2] * q[2] + camera[1, 3]
        z = camera[2, 0] * q[0] + camera[2, 1] * q[1] + camera[2, 2] * q[2] + camera[2, 3]
        if z <= 1e-6:
            cost += _BEHIND_COST
            continue
        off_x, off_y = (x / z - xy[i, 0]) * focal_px[i], (y / z - xy[i, 1]) * focal_px[i]
        for k in range(3):
            row[0, k] = focal_px[i] / z * (camera[0, k] - x / z * camera[2, k])
            row[1, k] = focal_px[i] / z * (camera[1, k] - y / z * camera[2, k])
        along_x = row[0, 0] * rays[i, 0] + row[0, 1] * rays[i, 1] + row[0, 2] * rays[i, 2]
        along_y = row[1, 0] * rays[i, 0] + row[1, 1] * rays[i, 1] + row[1, 2] * rays[i, 2]
        blur2 = along_x * along_x + along_y * along_y
        less = (1.0 - 1.0 / np.sqrt(1.0 + blur2)) / blur2 if blur2 > 1e-12 else 0.0
        off = less * (along_x * off_x + along_y * off_y)
        off_x, off_y = off_x - off * along_x, off_y - off * along_y
        for k in range(3):
            off = less * (along_x * row[0, k] + along_y * row[1, k])
            row[0, k], row[1, k] = row[0, k] - off * along_x, row[1, k] - off * along_y
        error2 = (off_x * off_x + off_y * off_y) / _ROBUST_PX**2
        weight = 1.0 / (1.0 + error2)
        cost += np.log1p(error2)
        for r in range(2):
            mx = row[r, 0] * moving[0, 0] + row[r, 1] * moving[1, 0] + row[r, 2] * moving[2, 0]
            my = row[r, 0] * moving[0, 1] + row[r, 1] * moving[1, 1] + row[r, 2] * moving[2, 1]
            mz = row[r, 0] * moving[0, 2] + row[r, 1] * moving[1, 2] + row[r, 2] * moving[2, 2]
            step[r, 0], step[r, 1], step[r, 2] = p[1] * mz - p[2] * my, p[2] * mx - p[0] * mz, p[0] * my - p[1] * mx
            step[r, 3], step[r, 4], step[r, 5] = mx, my, mz
            step[r, 6] = mx * p[0] + my * p[1] + mz * p[2]
        for j in range(7):
            gradient[j] += weight * (step[0, j] * off_x + step[1, j] * off_y)
            for k in range(7):
                hessian[j, k] += weight * (step[0, j] * step[0, k] + step[1, j] * step[1, k])
    return cost


def warm_up() -> None:
    """Compile the kernel."""
    camera = np.broadcast_to(np.eye(3, 4), (3, 3, 4))
    some = Sights(np.eye(3) + 1.0, camera, np.zeros((3, 2)), np.ones(3))
    _normal_equations(Sim3.identity(), some, some, 0.0)
