"""Where two rays meet, and under which angle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.transforms import F64


def triangulate(camera_a: F64, camera_b: F64, pixels_a: F64, pixels_b: F64, focal_px: float) -> F64:
    """Points (n, 3) nearest to both rays (midpoint); NaN where the rays do not meet in front of both cameras.

    Args:
        camera_a: (3, 4) camera_from_map, as `camera_b`.
        pixels_a: (n, 2) ideal pixels, as `pixels_b`.
    """
    one, other, seen, again = (np.ascontiguousarray(x, np.float64) for x in (camera_a, camera_b, pixels_a, pixels_b))
    return _triangulate(one, other, seen, again, focal_px)


def ray_angles(points: F64, camera_a: F64, camera_b: F64) -> F64:
    """Angle in radians (n,) under which each point (n, 3) sees two cameras (3, 4)."""
    return _ray_angles(*(np.ascontiguousarray(x, np.float64) for x in (points, camera_a, camera_b)))


@kernel
def place(
    homes: F64, at_home: F64, pose: F64, here: F64, focal_px: float, min_angle_rad: float, max_error_px: float, out: F64
) -> NDArray[np.bool_]:
    """Triangulate points each seen at home (n, 3, 4), at ideal pixels (n, 2), and here (3, 4) at (n, 2).

    Returns:
        (n,) whether the rays meet well: wide enough apart, and at a point that projects to where it was seen; `out`
        (n, 3) takes the points.
    """
    good = np.zeros(len(here), np.bool_)
    for i in range(len(here)):
        _meet(homes[i], pose, at_home[i], here[i], focal_px, out[i])
        good[i] = (
            _ray_angle(out[i], homes[i], pose) >= min_angle_rad
            and _error2(out[i], homes[i], at_home[i], focal_px) < max_error_px**2
            and _error2(out[i], pose, here[i], focal_px) < max_error_px**2
        )
    return good


@kernel
def _triangulate(camera_a: F64, camera_b: F64, pixels_a: F64, pixels_b: F64, focal_px: float) -> F64:
    out = np.empty((len(pixels_a), 3))
    for i in range(len(pixels_a)):
        _meet(camera_a, camera_b, pixels_a[i], pixels_b[i], focal_px, out[i])
    return out


@kernel
def _meet(camera_a: F64, camera_b: F64, pixel_a: F64, pixel_b: F64, focal_px: float, out: F64) -> None:
    ua, va, ub, vb = pixel_a[0] / focal_px, pixel_a[1] / focal_px, pixel_b[0] / focal_px, pixel_b[1] / focal_px
    aa, ab, bb, ga, gb = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(3):
        da = camera_a[0, j] * ua + camera_a[1, j] * va + camera_a[2, j]
        db = camera_b[0, j] * ub + camera_b[1, j] * vb + camera_b[2, j]
        baseline = _centre(camera_b, j) - _centre(camera_a, j)
        aa, ab, bb = aa + da * da, ab + da * db, bb + db * db
        ga, gb = ga + da * baseline, gb + db * baseline
    det = max(aa * bb - ab * ab, 1e-12 * aa * bb)
    depth_a, depth_b = (bb * ga - ab * gb) / det, (ab * ga - aa * gb) / det
    for j in range(3):
        da = camera_a[0, j] * ua + camera_a[1, j] * va + camera_a[2, j]
        db = camera_b[0, j] * ub + camera_b[1, j] * vb + camera_b[2, j]
        out[j] = 0.5 * (_centre(camera_a, j) + depth_a * da + _centre(camera_b, j) + depth_b * db)
    if depth_a <= 0 or depth_b <= 0:
        out[:] = np.nan


@kernel
def _ray_angles(points: F64, camera_a: F64, camera_b: F64) -> F64:
    out = np.empty(len(points))
    for i in range(len(points)):
        out[i] = _ray_angle(points[i], camera_a, camera_b)
    return out


@kernel
def _ray_angle(point: F64, camera_a: F64, camera_b: F64) -> float:
    aa, ab, bb = 0.0, 0.0, 0.0
    for j in range(3):
        a, b = point[j] - _centre(camera_a, j), point[j] - _centre(camera_b, j)
        aa, ab, bb = aa + a * a, ab + a * b, bb + b * b
    angle: float = np.arccos(min(max(ab / max(np.sqrt(aa * bb), 1e-12), -1.0), 1.0))
    return angle


@kernel
def _error2(point: F64, camera: F64, pixel: F64, focal_px: float) -> float:
    """Squared reprojection error; infinite behind the camera, or for a point that is not anywhere."""
    x = camera[0, 0] * point[0] + camera[0, 1] * point[1] + camera[0, 2] * point[2] + camera[0, 3]
    y = camera[1, 0] * point[0] + camera[1, 1] * point[1] + camera[1, 2] * point[2] + camera[1, 3]
    z = camera[2, 0] * point[0] + camera[2, 1] * point[1] + camera[2, 2] * point[2] + camera[2, 3]
    if not z > 0.0:
        return np.inf
    error2: float = (focal_px * x / z - pixel[0]) ** 2 + (focal_px * y / z - pixel[1]) ** 2
    return error2


@kernel
def _centre(camera: F64, axis: int) -> float:
    """One coordinate of a camera's centre in the map."""
    coordinate: float = -(
        camera[0, axis] * camera[0, 3] + camera[1, axis] * camera[1, 3] + camera[2, axis] * camera[2, 3]
    )
    return coordinate


def warm_up() -> None:
    """Compile the kernels."""
    camera, pixels = np.eye(3, 4), np.zeros((1, 2))
    points = triangulate(camera, camera, pixels, pixels, 500.0)
    ray_angles(points, camera, camera)
    place(camera[None].copy(), pixels, camera, pixels, 500.0, 0.01, 1.0, points)
