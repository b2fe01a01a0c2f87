"""Bundle adjustment on the CPU: Levenberg-Marquardt with the points eliminated by the Schur complement.

Poses are `camera_from_map` (3, 4), observations are ideal pixels `u = focal * x / z` (undistorted, principal point at
0). Fix ONE camera for the gauge (fixing two freezes the error of the first pair); the scale is then free, and `adjust`
puts it back to what it was. Method: Triggs et al. 2000, "Bundle adjustment: a modern synthesis".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.tracking.bundle_kernels import by_point, levenberg_marquardt, squared_errors
from mapping.transforms import F64


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Cameras, points and who sees what."""

    camera_from_map: F64  # (c, 3, 4)
    points: F64  # (p, 3) in the map's frame
    camera_index: NDArray[np.int64]  # (o,)
    point_index: NDArray[np.int64]  # (o,)
    pixels: F64  # (o, 2) ideal pixels
    focal_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """A bundle after adjustment."""

    camera_from_map: F64  # (c, 3, 4)
    points: F64  # (p, 3)
    focal_px: float
    squared_error_px2: F64  # (o,) per observation; infinite behind the camera
    focal_sigma_px: float
    """Standard deviation of the focal length for one pixel of noise; infinite when it was not adjusted."""


def adjust(
    bundle: Bundle,
    free: NDArray[np.bool_],
    *,
    iterations: int = 8,
    robust_px: float = 1.5,
    focal_prior_sigma: float = 0.0,
) -> Adjusted:
    """Move the free cameras (c,) and all points so that robust reprojection error (Huber, `robust_px`) is least.

    Args:
        focal_prior_sigma: relative uncertainty of the focal length; 0 keeps it fixed.

    Raises:
        ValueError: no camera is fixed, or arrays do not fit together.
    """
    if free.shape != (len(bundle.camera_from_map),) or free.all():
        raise ValueError("fix at least one camera")
    if not len(bundle.camera_index) == len(bundle.point_index) == len(bundle.pixels):
        raise ValueError("camera_index, point_index and pixels differ in length")
    order, starts = by_point(bundle.point_index, len(bundle.points))
    slots = np.where(free, np.cumsum(free) - 1, -1)
    cameras, points = bundle.camera_from_map.copy(), bundle.points.copy()
    focal, focal_sigma = levenberg_marquardt(
        cameras,
        points,
        bundle.focal_px,
        slots,
        bundle.camera_index[order],
        starts,
        np.ascontiguousarray(bundle.pixels[order]),
        iterations,
        robust_px,
        focal_prior_sigma * bundle.focal_px,
    )
    if np.count_nonzero(~free) == 1:
        _restore_scale(bundle.camera_from_map, cameras, points, int(np.flatnonzero(~free)[0]))
    errors = squared_errors(cameras, points, bundle.camera_index, bundle.point_index, bundle.pixels, focal)
    return Adjusted(cameras, points, focal, errors, focal_sigma)


def centres(camera_from_map: F64) -> F64:
    """Camera centres (c, 3) in the map of poses (c, 3, 4)."""
    return np.asarray(-np.einsum("cij,ci->cj", camera_from_map[:, :, :3], camera_from_map[:, :, 3]))


def _restore_scale(before: F64, cameras: F64, points: F64, fixed: int) -> None:
    """Shrink or stretch about the fixed camera, in place, to the spread the cameras had before."""
    old, new = centres(before), centres(cameras)
    origin = old[fixed]
    spread_old, spread_new = np.linalg.norm(old - origin), np.linalg.norm(new - origin)
    if spread_old < 1e-12 or spread_new < 1e-12:
        return
    scale = spread_old / spread_new
    points[:] = origin + scale * (points - origin)
    cameras[:, :, 3] = -np.einsum("cij,cj->ci", cameras[:, :, :3], origin + scale * (new - origin))


def warm_up() -> None:
    """Compile the kernels on a tiny problem."""
    cameras = np.tile(np.eye(3, 4), (2, 1, 1))
    cameras[1, 0, 3] = -0.1
    points = np.array([[0.0, 0.0, 2.0], [0.3, 0.1, 2.5], [-0.3, 0.2, 3.0], [0.2, -0.3, 2.2]])
    camera_index, point_index = np.repeat([0, 1], 4), np.tile(np.arange(4), 2)
    bundle = Bundle(cameras, points, camera_index, point_index, np.zeros((8, 2)), 500.0)
    adjust(bundle, np.array([False, True]), iterations=1)
    adjust(bundle, np.array([False, True]), iterations=1, focal_prior_sigma=0.1)
