"""Pose encodings of the camera head to cameras, in the conventions of this house.

The network says camera_from_world with the first camera as world, a quaternion xyzw of any length and two fields of
view.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64, invert
from streams.frame import Intrinsics

_MIN_FOV_RAD, _MAX_FOV_RAD = 0.05, 3.0
_MIN_QUATERNION = 1e-6


def camera_from_world(encodings: NDArray[np.float32]) -> F64:
    """(n, 4, 4) of encodings (n, 9); NaN where an encoding is not finite or has no direction."""
    out = np.full((len(encodings), 4, 4), np.nan)
    for matrix, encoding in zip(out, encodings.astype(np.float64), strict=True):
        x, y, z, w = encoding[3:7]
        power = x * x + y * y + z * z + w * w
        if not np.isfinite(encoding[:7]).all() or power < _MIN_QUATERNION**2:
            continue
        s = 2.0 / power
        matrix[:3, :3] = [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
        ]
        matrix[:3, 3] = encoding[:3]
        matrix[3] = [0, 0, 0, 1]
    return out


def window_from_camera(encodings: NDArray[np.float32]) -> list[F64 | None]:
    """A (4, 4) pose a view, in the network's own frame and unit; None where the network gave none."""
    return [invert(matrix) if np.isfinite(matrix).all() else None for matrix in camera_from_world(encodings)]


def focal_px(encoding: NDArray[np.float32], height: int, width: int) -> tuple[float, float] | None:
    """(fx, fy) in pixels of the network's image.

    Where one field of view is zero, not finite or absurd, the other stands for both (pixels are square); None where
    both are.
    """
    fy, fx = (
        0.5 * size / np.tan(fov / 2) if _MIN_FOV_RAD < fov < _MAX_FOV_RAD else None
        for fov, size in zip(encoding[7:9].astype(float).tolist(), (height, width), strict=True)
    )
    fx, fy = (fy if fx is None else fx), (fx if fy is None else fy)
    return None if fx is None or fy is None else (float(fx), float(fy))


def shared_focal_px(encodings: NDArray[np.float32], height: int, width: int) -> tuple[float, float]:
    """The median (fx, fy) of encodings (n, 9) of one phone: the network's own answers jitter from view to view.

    Falls back on the field of view of a usual phone where the network gave no usable one.
    """
    found = [focal for encoding in encodings if (focal := focal_px(encoding, height, width)) is not None]
    if not found:
        guess = Intrinsics.from_fov(width, height)
        return guess.fx, guess.fy
    fx, fy = np.median(np.array(found), axis=0).tolist()
    return fx, fy
