"""Poses as strangers send them: sixteen numbers, or a translation with a quaternion; rigid or refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE_M = 1e5
RIGID_TOLERANCE = 1e-3
"""How far R R^T may be from the identity: what float32 and a few printed digits leave."""


class PoseError(ValueError):
    """A pose that is no rigid transform."""


def rigid_from_matrix(values: Sequence[float]) -> NDArray[np.float64]:
    """Check 16 numbers, row by row, as a rigid (4, 4) transform, and clean its rotation of rounding.

    Raises:
        PoseError: not 16 finite numbers, a wrong last row, a rotation that scales, shears or mirrors, or too far away.
    """
    flat = np.asarray(values, dtype=np.float64)
    if flat.shape != (16,):
        raise PoseError(f"world_from_camera needs 16 numbers, got {flat.size}")
    matrix = flat.reshape(4, 4)
    if not np.isfinite(matrix).all():
        raise PoseError("world_from_camera holds a number that is not finite")
    if not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        raise PoseError("the last row of world_from_camera must be 0 0 0 1 (is it transposed? send it row by row)")
    return _checked(matrix[:3, :3], matrix[:3, 3])


def rigid_from_quaternion(translation_m: Sequence[float], quat_wxyz: Sequence[float]) -> NDArray[np.float64]:
    """Build a rigid (4, 4) transform from a translation in metres and a quaternion wxyz of length one (to 1 %).

    Raises:
        PoseError: wrong counts, numbers that are not finite, a quaternion of another length, or too far away.
    """
    t, q = np.asarray(translation_m, dtype=np.float64), np.asarray(quat_wxyz, dtype=np.float64)
    if t.shape != (3,) or q.shape != (4,):
        raise PoseError(f"a pose needs 3 numbers and a quaternion of 4, got {t.size} and {q.size}")
    if not (np.isfinite(t).all() and np.isfinite(q).all()):
        raise PoseError("the pose holds a number that is not finite")
    length = float(np.linalg.norm(q))
    if abs(length - 1) > 0.01:
        raise PoseError(f"the quaternion has length {length:.3g}, not 1")
    w, x, y, z = q / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return _checked(rotation, t)


def _checked(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        gram = rotation @ rotation.T
    if not np.allclose(gram, np.eye(3), atol=RIGID_TOLERANCE) or np.linalg.det(rotation) < 0:
        raise PoseError("world_from_camera is not rigid: its upper left 3x3 scales, shears or mirrors")
    if np.abs(translation).max() > MAX_DISTANCE_M:
        raise PoseError(f"the camera is more than {MAX_DISTANCE_M:g} m away from the origin")
    u, _, vt = np.linalg.svd(rotation)
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = u @ vt, translation
    return out
