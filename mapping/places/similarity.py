"""The similarity between two frames that explains best what cameras of each saw of the other's points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64, Sim3, exp_so3

_ITERATIONS = 12
_ROBUST_PX = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Sights:
    """n points of one frame, each as a camera saw it that is known in the other frame."""

    points: F64  # (n, 3) in the one frame
    camera_from_other: F64  # (n, 3, 4)
    xy: F64  # (n, 2) where the camera saw it, image plane at z = 1
    focal_px: F64  # (n,)

    def __len__(self) -> int:
        return len(self.points)

    def only(self, chosen: NDArray[np.bool_]) -> Sights:
        return Sights(self.points[chosen], self.camera_from_other[chosen], self.xy[chosen], self.focal_px[chosen])

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


def refine(b_from_a: Sim3, forward: Sights, backward: Sights) -> Refined:
    """Minimise the robust distance in the images (Levenberg-Marquardt, Cauchy weights).

    Args:
        forward: points of a as cameras known in b saw them.
        backward: points of b as cameras known in a saw them.
    """
    damping, best = 1e-4, b_from_a
    cost, hessian, gradient = _normal_equations(best, forward, backward)
    for _ in range(_ITERATIONS):
        step = -np.linalg.solve(hessian + damping * np.diag(np.diag(hessian) + 1e-9), gradient)
        trial = _moved(best, step)
        next_cost, next_hessian, next_gradient = _normal_equations(trial, forward, backward)
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


def _normal_equations(b_from_a: Sim3, forward: Sights, backward: Sights) -> tuple[float, F64, F64]:
    """Robust cost, its Gauss-Newton Hessian (7, 7) and gradient (7,) for a motion (turn, shift, log scale) of frame b.

    A point of a moves with it; seen from a, a point of b moves the opposite way.
    """
    cost, hessian, gradient = 0.0, np.zeros((7, 7)), np.zeros(7)
    in_b = b_from_a.apply(forward.points)
    a_from_b = b_from_a.inverse()
    back = -a_from_b.scale * a_from_b.rotation
    directions = ((forward, in_b, in_b, np.eye(3)), (backward, backward.points, a_from_b.apply(backward.points), back))
    for sights, points, seen, moving in directions:
        motion = np.concatenate([_minus_skew(points), np.tile(np.eye(3), (len(points), 1, 1)), points[:, :, None]], 2)
        local = sights._local(seen)
        z = np.maximum(local[:, 2], 1e-6)
        off = (local[:, :2] / z[:, None] - sights.xy) * sights.focal_px[:, None]
        projection = np.zeros((len(points), 2, 3))
        projection[:, 0, 0] = projection[:, 1, 1] = sights.focal_px / z
        projection[:, :, 2] = -local[:, :2] * (sights.focal_px / z**2)[:, None]
        jacobian = projection @ (sights.camera_from_other[:, :, :3] @ moving @ motion)
        error2 = np.sum(off * off, axis=1) + np.where(local[:, 2] > 1e-6, 0.0, 1e6)
        weight = np.where(local[:, 2] > 1e-6, 1.0 / (1.0 + error2 / _ROBUST_PX**2), 0.0)
        cost += float(np.sum(np.log1p(error2 / _ROBUST_PX**2)))
        weighted = jacobian * weight[:, None, None]
        hessian += np.einsum("nki,nkj->ij", weighted, jacobian)
        gradient += np.einsum("nki,nk->i", weighted, off)
    return cost, hessian, gradient


def _minus_skew(points: F64) -> F64:
    out = np.zeros((len(points), 3, 3))
    out[:, 0, 1], out[:, 0, 2] = points[:, 2], -points[:, 1]
    out[:, 1, 0], out[:, 1, 2] = -points[:, 2], points[:, 0]
    out[:, 2, 0], out[:, 2, 1] = points[:, 1], -points[:, 0]
    return out
