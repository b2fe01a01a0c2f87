"""Rigid and similarity transforms, quaternions and the pinhole camera: the only file that knows axes.

`b_from_a` maps a point of frame a into frame b and chains as `c_from_b @ b_from_a`. Rigid transforms are plain
(4, 4) float64 matrices; a similarity carries its scale apart. World: right-handed, +Y up, metres. Camera: OpenCV axes
(+X right, +Y down, +Z forward). Quaternions are wxyz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.frame import Intrinsics

F64 = NDArray[np.float64]

WORLD_UP: F64 = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, slots=True, eq=False)
class Sim3:
    """`x_b = scale * rotation @ x_a + translation`."""

    scale: float
    rotation: F64  # (3, 3)
    translation: F64  # (3,)

    @classmethod
    def identity(cls) -> Sim3:
        return cls(1.0, np.eye(3), np.zeros(3))

    @classmethod
    def from_rigid(cls, b_from_a: F64, scale: float = 1.0) -> Sim3:
        return cls(scale, b_from_a[:3, :3].copy(), b_from_a[:3, 3].copy())

    def __matmul__(self, other: Sim3) -> Sim3:
        return Sim3(self.scale * other.scale, self.rotation @ other.rotation, self.apply(other.translation))

    def inverse(self) -> Sim3:
        rotation = self.rotation.T
        return Sim3(1.0 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def apply(self, points: F64) -> F64:
        """Map (..., 3) points of frame a into frame b."""
        return self.scale * (points @ self.rotation.T) + self.translation

    def apply_pose(self, a_from_camera: F64) -> F64:
        """Carry a camera's rigid pose from frame a to frame b: the position scales, the orientation turns."""
        b_from_camera = np.eye(4)
        b_from_camera[:3, :3] = self.rotation @ a_from_camera[:3, :3]
        b_from_camera[:3, 3] = self.apply(a_from_camera[:3, 3])
        return b_from_camera

    def matrix(self) -> F64:
        """(4, 4) with the scale folded into the upper-left block."""
        out = np.eye(4)
        out[:3, :3] = self.scale * self.rotation
        out[:3, 3] = self.translation
        return out


def invert(b_from_a: F64) -> F64:
    """Invert a rigid (4, 4) transform."""
    out = np.eye(4)
    out[:3, :3] = b_from_a[:3, :3].T
    out[:3, 3] = -out[:3, :3] @ b_from_a[:3, 3]
    return out


def rigid(rotation: ArrayLike, translation: ArrayLike) -> F64:
    """Build a (4, 4) transform from a (3, 3) rotation and a (3,) translation."""
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = translation
    return out


def orthonormal(rotation: F64) -> F64:
    """The rotation nearest to a (3, 3) matrix in the Frobenius norm (products drift; see Higham 1989)."""
    u, _, vt = np.linalg.svd(rotation)
    return np.asarray(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt)


def exp_so3(omega: F64) -> F64:
    """Rotation (3, 3) of a rotation vector (3,) in radians (Rodrigues)."""
    angle = float(np.linalg.norm(omega))
    k = skew(omega)
    if angle < 1e-8:
        return np.asarray(np.eye(3) + k + 0.5 * k @ k)
    return np.asarray(np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle**2 * k @ k)


def log_so3(rotation: F64) -> F64:
    """Rotation vector (3,) in radians, the inverse of `exp_so3`; angle in 0..pi."""
    w, *xyz = quat_from_rotation(rotation)
    axis = np.array(xyz)
    sin_half = float(np.linalg.norm(axis))
    if sin_half < 1e-12:
        return 2.0 * axis
    return axis / sin_half * 2.0 * float(np.arctan2(sin_half, w))


def angle_between(rotation_a: F64, rotation_b: F64) -> float:
    """Angle in radians of the rotation that separates two rotations."""
    return float(np.linalg.norm(log_so3(rotation_a.T @ rotation_b)))


def skew(v: F64) -> F64:
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


def quat_from_rotation(rotation: F64) -> F64:
    """Unit quaternion wxyz (4,) with w >= 0 (Shepperd's branch on the largest component)."""
    m = rotation
    candidates = np.array([m[0, 0] + m[1, 1] + m[2, 2], m[0, 0], m[1, 1], m[2, 2]])
    i = int(np.argmax(candidates))
    if i == 0:
        q = np.array([1 + candidates[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    elif i == 1:
        q = np.array([m[2, 1] - m[1, 2], 1 + m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]])
    elif i == 2:
        q = np.array([m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], 1 - m[0, 0] + m[1, 1] - m[2, 2], m[1, 2] + m[2, 1]])
    else:
        q = np.array([m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 - m[0, 0] - m[1, 1] + m[2, 2]])
    q /= np.linalg.norm(q)
    return -q if q[0] < 0 else q


def rotation_from_quat(wxyz: Sequence[float] | F64) -> F64:
    """Rotation (3, 3) of a quaternion wxyz, normalised first.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    q = np.asarray(wxyz, dtype=np.float64)
    norm = float(np.linalg.norm(q))
    if not np.isfinite(norm) or norm < 1e-12:
        raise ValueError("not a quaternion")
    w, x, y, z = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_between(a: F64, b: F64) -> F64:
    """The smallest rotation (3, 3) that turns unit vector a into unit vector b."""
    v, c = np.cross(a, b), float(a @ b)
    if c < -1 + 1e-9:
        axis = np.cross(a, [1.0, 0.0, 0.0] if abs(a[0]) < 0.9 else [0.0, 1.0, 0.0])
        return exp_so3(np.pi * axis / np.linalg.norm(axis))
    k = skew(v)
    return np.asarray(np.eye(3) + k + k @ k / (1 + c))


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = WORLD_UP) -> F64:
    """world_from_camera (4, 4) of an OpenCV camera at `eye` that looks at `target`."""
    eye, target, up = (np.asarray(v, dtype=np.float64) for v in (eye, target, up))
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return rigid(np.column_stack([right, np.cross(forward, right), forward]), eye)


def project(points_camera: F64, intrinsics: Intrinsics) -> F64:
    """Pixels (n, 2) of points (n, 3) in camera axes, `k1` applied; NaN behind the camera."""
    z = np.where(points_camera[:, 2] > 1e-6, points_camera[:, 2], np.nan)
    xy = points_camera[:, :2] / z[:, None]
    if intrinsics.k1:
        xy = xy * (1 + intrinsics.k1 * np.sum(xy * xy, axis=1, keepdims=True))
    return np.asarray(xy * [intrinsics.fx, intrinsics.fy] + [intrinsics.cx, intrinsics.cy])


def unproject(z_m: NDArray[np.float32], intrinsics: Intrinsics) -> NDArray[np.float32]:
    """Points (h, w, 3) in camera axes of a depth map (h, w); unknown depth (0) gives the origin. `k1` is not undone."""
    h, w = z_m.shape
    x = (np.arange(w, dtype=np.float32) + 0.5 - intrinsics.cx) / intrinsics.fx
    y = (np.arange(h, dtype=np.float32) + 0.5 - intrinsics.cy) / intrinsics.fy
    return np.stack([z_m * x[None, :], z_m * y[:, None], z_m], axis=-1).astype(np.float32)


def umeyama(points_a: F64, points_b: F64, *, with_scale: bool = True) -> Sim3:
    """Least-squares `b_from_a` between paired points (n, 3) (Umeyama 1991).

    Raises:
        ValueError: fewer than three pairs, or all of them on one point or line.
    """
    if len(points_a) < 3:
        raise ValueError("a similarity needs three pairs of points")
    mean_a, mean_b = points_a.mean(0), points_b.mean(0)
    a, b = points_a - mean_a, points_b - mean_b
    u, d, vt = np.linalg.svd(b.T @ a / len(a))
    if d[1] < 1e-12 * max(d[0], 1e-12):
        raise ValueError("points lie on a line")
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = float(np.trace(np.diag(d) @ sign) / np.mean(np.sum(a * a, axis=1))) if with_scale else 1.0
    return Sim3(scale, rotation, mean_b - scale * rotation @ mean_a)
