"""Which landmarks a camera should see, and how each one's patch would be bent there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.transforms import F64

MAX_ZOOM = 2.0  # a patch is not looked for at more than twice or less than half the size it was cut at
MIN_COSINE = 0.6  # nor from a direction further than this from where it was cut


@kernel
def look(
    pose: F64, points: F64, skip: NDArray[np.bool_], poses: F64, home: NDArray[np.int64], focal: float, reach: F64
) -> tuple[NDArray[np.int64], F64, F64]:
    """Project landmarks (n, 3) into a camera (3, 4) and keep those that it should recognise.

    Args:
        skip: (n,) landmarks not to consider.
        poses: (k, 3, 4) nodes; home: (n,) the node each landmark's patch was cut in.
        reach: (2,) ideal pixels that the image extends from its middle, both ways.

    Returns:
        Indices (m,), ideal pixels (m, 2), and the warp (m, 2, 2) from pixel offsets here to offsets in the patch, for a
        small plane that faces the home camera.
    """
    ids = np.empty(len(points), np.int64)
    ideal, warps = np.empty((len(points), 2)), np.empty((len(points), 2, 2))
    n = 0
    p, q, jac = np.empty(3), np.empty(3), np.empty((2, 2))
    for i in range(len(points)):
        if skip[i]:
            continue
        for r in range(3):
            p[r] = pose[r, 0] * points[i, 0] + pose[r, 1] * points[i, 1] + pose[r, 2] * points[i, 2] + pose[r, 3]
        if p[2] <= 1e-6:
            continue
        u, v = focal * p[0] / p[2], focal * p[1] / p[2]
        if not (abs(u) < reach[0] and abs(v) < reach[1]):
            continue
        h = poses[home[i]]
        for r in range(3):
            q[r] = h[r, 0] * points[i, 0] + h[r, 1] * points[i, 1] + h[r, 2] * points[i, 2] + h[r, 3]
        if q[2] <= 1e-6 or not 1 / MAX_ZOOM < p[2] / q[2] < MAX_ZOOM:
            continue
        dot, pp, qq = 0.0, 0.0, 0.0
        for r in range(3):  # both rays in the map's axes
            a = pose[0, r] * p[0] + pose[1, r] * p[1] + pose[2, r] * p[2]
            b = h[0, r] * q[0] + h[1, r] * q[1] + h[2, r] * q[2]
            dot += a * b
            pp += a * a
            qq += b * b
        if dot < MIN_COSINE * np.sqrt(pp * qq):
            continue
        depth = q[2] / focal  # one pixel at home is this long at the landmark
        for axis in range(2):
            s0, s1, s2 = h[axis, 0] * depth, h[axis, 1] * depth, h[axis, 2] * depth
            dx = pose[0, 0] * s0 + pose[0, 1] * s1 + pose[0, 2] * s2
            dy = pose[1, 0] * s0 + pose[1, 1] * s1 + pose[1, 2] * s2
            dz = pose[2, 0] * s0 + pose[2, 1] * s1 + pose[2, 2] * s2
            jac[0, axis] = focal * (dx - p[0] / p[2] * dz) / p[2]
            jac[1, axis] = focal * (dy - p[1] / p[2] * dz) / p[2]
        det = jac[0, 0] * jac[1, 1] - jac[0, 1] * jac[1, 0]
        if not 0.2 < det < 5.0:
            continue
        ids[n] = i
        ideal[n, 0], ideal[n, 1] = u, v
        warps[n, 0, 0], warps[n, 0, 1] = jac[1, 1] / det, -jac[0, 1] / det
        warps[n, 1, 0], warps[n, 1, 1] = -jac[1, 0] / det, jac[0, 0] / det
        n += 1
    return ids[:n], ideal[:n], warps[:n]


def warm_up() -> None:
    """Compile the kernel."""
    poses = np.eye(3, 4)[None].copy()
    look(poses[0], np.array([[0.0, 0.0, 2.0]]), np.zeros(1, np.bool_), poses, np.zeros(1, np.int64), 500.0, np.ones(2))
