"""Gaussians as a camera sees them, on the CPU: projected to ellipses (Zwicker 2001), blended from the front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mapping.kernels import kernel
from mapping.objects.mesh import F32, F64, U8
from mapping.objects.splats.cloud import Splats, thinned
from mapping.objects.thumbnail import FOV_DEG, camera_around
from mapping.transforms import invert
from streams.frame import Intrinsics

_NEAR_M = 0.01
_BLUR_PX2 = 0.3
"""Added to each ellipse, as trainers do: none is narrower than a pixel."""
_BACKGROUND = 1.0
_MOST_DRAWN = 200_000
"""Of a thumbnail: three for each of its pixels."""
_MOST_VISITS = 500_000_000
"""Of pixels by Gaussians, in one drawing: some two seconds."""


def thumbnail(splats: Splats, side_px: int = 256, azimuth_rad: float = 0.5) -> U8:
    """(side, side, 3) RGB of the whole thing from the front right and above; of very many Gaussians some stand for all.

    However large they are, the time is bounded: what is farthest is left out.
    """
    k = Intrinsics.from_fov(side_px, side_px, FOV_DEG)
    rgb, alpha = draw(thinned(splats, _MOST_DRAWN), camera_around(splats.bounds_m(), azimuth_rad), k)
    return np.asarray(np.round(255 * (rgb + _BACKGROUND * (1 - alpha[..., None])).clip(0, 1)), np.uint8)


def draw(splats: Splats, world_from_camera: F64, intrinsics: Intrinsics) -> tuple[F32, F32]:
    """RGB (h, w, 3) times opacity, 0..1, and opacity (h, w), as seen from a pose (OpenCV axes)."""
    k = intrinsics
    camera_from_world = invert(world_from_camera)
    turn = camera_from_world[:3, :3]
    in_camera = splats.centres_m @ turn.T + camera_from_world[:3, 3]
    in_front = np.flatnonzero(in_camera[:, 2] > _NEAR_M)
    order = in_front[np.argsort(in_camera[in_front, 2], kind="stable")]
    x, y, z = in_camera[order].T
    turns = Rotation.from_quat(splats.quats_wxyz[order], scalar_first=True).as_matrix()
    axes = turn @ turns * splats.sizes_m[order][:, None, :]
    zero = np.zeros_like(z)
    onto_image = np.stack(
        [np.stack([k.fx / z, zero, -k.fx * x / z**2], axis=1), np.stack([zero, k.fy / z, -k.fy * y / z**2], axis=1)],
        axis=1,
    )
    spread = onto_image @ axes
    covariance = spread @ spread.transpose(0, 2, 1) + _BLUR_PX2 * np.eye(2)
    ellipses = np.column_stack(
        [k.fx * x / z + k.cx, k.fy * y / z + k.cy, covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]]
    )
    rgb, left = np.zeros((k.height, k.width, 3), np.float32), np.ones((k.height, k.width), np.float32)
    colours = np.column_stack([splats.rgb[order] / 255, splats.opacities[order]])
    _blend(ellipses.astype(np.float64), colours.astype(np.float64), rgb, left)
    return rgb, 1 - left


@kernel
def _blend(
    ellipses: NDArray[np.float64],
    colours: NDArray[np.float64],
    rgb: NDArray[np.float32],
    left: NDArray[np.float32],
) -> None:
    height, width = left.shape
    visits = 0
    for n in range(len(ellipses)):
        u, v, a, b, c = ellipses[n, 0], ellipses[n, 1], ellipses[n, 2], ellipses[n, 3], ellipses[n, 4]
        determinant = a * c - b * b
        if determinant <= 0:
            continue
        reach_u, reach_v = 3 * np.sqrt(a), 3 * np.sqrt(c)
        first_row, end_row = max(0, int(v - reach_v)), min(height, int(v + reach_v) + 1)
        first_column, end_column = max(0, int(u - reach_u)), min(width, int(u + reach_u) + 1)
        visits += max(0, end_row - first_row) * max(0, end_column - first_column)
        if visits > _MOST_VISITS:
            return
        for row in range(first_row, end_row):
            dv = row + 0.5 - v
            for column in range(first_column, end_column):
                if left[row, column] < 0.004:
                    continue
                du = column + 0.5 - u
                power = (c * du * du - 2 * b * du * dv + a * dv * dv) / determinant
                if power > 9:
                    continue
                alpha = min(0.99, colours[n, 3] * np.exp(-power / 2))
                for channel in range(3):
                    rgb[row, column, channel] += left[row, column] * alpha * colours[n, channel]
                left[row, column] *= 1 - alpha


def warm_up() -> None:
    """Compile the kernel."""
    _blend(np.empty((0, 5)), np.empty((0, 4)), np.zeros((1, 1, 3), np.float32), np.zeros((1, 1), np.float32))
