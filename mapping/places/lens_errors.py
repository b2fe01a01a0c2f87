"""How wrong phones are about their focal lengths, as pairs of their keyframes tell, and what follows for those pairs.

Who states his focal length a percent too long sees everything a percent deeper, and to everybody else he seems to stand
so much nearer or further: centimetres, along the line of sight, that no number of pairs averages away. But he is off
from others nearer to the middle of the picture by less than at its rim, and from near things by more than from far
ones. So every pair says by how much the two focal lengths differ; what both are off by together, it hardly says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mapping.places.similarity import Sights
from mapping.transforms import F64, Sim3

_ROBUST_PX = 2.0
_SUREST = 1e-4
"""What any focal length is off by at least, relative."""
_NOISE_PX = 2.0
_LEAST_SIGMA = 0.005
"""Of what one pair says: its landmarks are off by more than the noise of pixels."""
_DOUBT = 2.0
"""Sigmas off at which a pair has lost half its say."""
_ITERATIONS = 8


@dataclass(frozen=True, slots=True, eq=False)
class LensShift:
    """What one pair says of the relative errors of two focal lengths, stated over true less 1."""

    moves: F64
    """(7, 2) how `b_from_a` has to move (turn, shift, log scale in the axes and unit of b) per error of a's and b's."""
    difference: float
    """Error of b's less error of a's."""
    sigma: float
    priors: tuple[float, float]
    """What a's and b's may be off by, before anybody was met: who is surer of his takes less of the blame."""

    def swapped(self, back: F64) -> LensShift:
        """The same the other way round; `back` (7, 7) tells how a small motion of camera b appears from a."""
        return LensShift(-(back @ self.moves)[:, ::-1], -self.difference, self.sigma, self.priors[::-1])


def lens_shift(
    b_from_a: Sim3, forward: Sights, backward: Sights, depth_sigma: float, priors: tuple[float, float]
) -> LensShift:
    """What inliers say that `b_from_a` fits best (see `similarity.refine`: each camera is its own frame's origin)."""
    a_from_b = b_from_a.inverse()
    of_a = _Linear.of(b_from_a, forward, depth_sigma)
    of_b = _Linear.of(a_from_b, backward, depth_sigma)
    by_motion_a = of_a.by_motion(np.eye(3), b_from_a.apply(forward.points))
    by_motion_b = of_b.by_motion(-a_from_b.scale * a_from_b.rotation, backward.points)
    jacobian = np.concatenate(
        [
            np.concatenate([by_motion_a, of_a.by_depth, of_a.by_rays], axis=2),
            np.concatenate([by_motion_b, of_b.by_rays, of_b.by_depth], axis=2),
        ]
    )
    off, say = np.concatenate([of_a.off, of_b.off]), np.concatenate([of_a.say, of_b.say])
    hessian = np.einsum("n,nki,nkj->ij", say, jacobian, jacobian)
    gradient = np.einsum("n,nki,nk->i", say, jacobian, off)[7:]
    moves = -np.linalg.solve(hessian[:7, :7] + 1e-9 * np.eye(7), hessian[:7, 7:])
    apart = np.array([-0.5, 0.5])
    information = float(apart @ (hessian[7:, 7:] + hessian[7:, :7] @ moves) @ apart) + 1e-9
    sigma = float(np.hypot(_NOISE_PX / np.sqrt(information), _LEAST_SIGMA))
    return LensShift(moves, -float(apart @ gradient) / information, sigma, priors)


def lens_errors(said: Sequence[tuple[int, int, LensShift]], num_phones: int) -> F64:
    """Relative errors (num_phones,) of focal lengths that pairs (of phones a and b) agree on, as small as they can be.

    A phone is as unsure of its own as it ever was. Pairs that say otherwise than most lose their say (Cauchy weights).
    """
    sigma = np.array([shift.sigma for *_, shift in said])
    wanted = np.array([shift.difference for *_, shift in said]) / sigma
    rows, say = np.zeros((len(said), num_phones)), np.ones(len(said))
    prior = np.full(num_phones, _SUREST)
    for row, (a, b, shift) in zip(rows, said, strict=True):
        row[[a, b]] = -1.0 / shift.sigma, 1.0 / shift.sigma
        prior[[a, b]] = np.maximum(prior[[a, b]], shift.priors)
    errors = np.zeros(num_phones)
    for _ in range(_ITERATIONS):
        hessian = rows.T @ (rows * say[:, None]) + np.diag(prior**-2)
        errors = np.linalg.solve(hessian, rows.T @ (wanted * say))
        say = 1.0 / (1.0 + ((rows @ errors - wanted) / _DOUBT) ** 2)
    return np.asarray(errors)


@dataclass(frozen=True, slots=True, eq=False)
class _Linear:
    """The sights of one direction around where they are, in pixels that count less along what depth is off by."""

    projection: F64  # (n, 2, 3) per motion of the point in the frame of the camera that sees it
    off: F64  # (n, 2)
    say: F64  # (n,) Cauchy weights
    by_depth: F64  # (n, 2, 1) per relative error of the focal length of the camera that the points are known from
    by_rays: F64  # (n, 2, 1) the same of the camera that sees them

    @classmethod
    def of(cls, seen_from_known: Sim3, sights: Sights, depth_sigma: float) -> _Linear:
        seen, focal = seen_from_known.apply(sights.points), sights.focal_px[:, None]
        z = np.maximum(seen[:, 2:], 1e-6)
        projection = np.zeros((len(seen), 2, 3))
        projection[:, 0, 0] = projection[:, 1, 1] = (focal / z)[:, 0]
        projection[:, :, 2] = -seen[:, :2] * focal / z**2
        blur = projection @ (depth_sigma * (seen - seen_from_known.translation))[:, :, None]
        blur2 = np.maximum(np.sum(blur * blur, axis=1, keepdims=True), 1e-12)
        sharp = np.eye(2) - (1.0 - 1.0 / np.sqrt(1.0 + blur2)) / blur2 * (blur @ blur.transpose(0, 2, 1))
        projection = sharp @ projection
        off = sharp @ ((seen[:, :2] / z - sights.xy) * focal)[:, :, None]
        nearer = -sights.points[:, 2:] * seen_from_known.scale * seen_from_known.rotation[:, 2]
        say = 1.0 / (1.0 + np.sum(off * off, axis=(1, 2)) / _ROBUST_PX**2)
        return cls(
            projection, off[:, :, 0], say, projection @ nearer[:, :, None], sharp @ (-sights.xy * focal)[:, :, None]
        )

    def by_motion(self, moving: F64, points_b: F64) -> F64:
        """(n, 2, 7) per motion (turn, shift, log scale) of frame b, which moves the points by `moving` (3, 3)."""
        pull = self.projection @ moving
        return np.concatenate(
            [np.cross(points_b[:, None], pull), pull, np.einsum("nki,ni->nk", pull, points_b)[:, :, None]], axis=2
        )
