"""Which way is up, from whatever knows it: the phone's own sensor, the planes of the room, or how people hold phones.

Every estimate says where it comes from and how far it may be off, so that a better one can replace it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mapping.transforms import F64

GravitySource = Literal["posed", "motion", "planes", "cameras"]

POSED_SIGMA_DEG = 0.5
CAMERAS_SIGMA_DEG = 15.0
"""People hold phones upright, but tilt them down by 10-30 degrees; the mean over a walk is hardly better."""
_MOTION_BIAS_DEG = 0.7
"""What is left of a phone's accelerometer bias and of the camera's mounting after any number of samples."""
_PLANES_BIAS_DEG = 0.8
_OUTLIER_DEG = 4.0
_GATES_DEG = (40.0, 25.0, 14.0, 8.0, 8.0, 8.0)
_MIN_NORMALS = 200
_MAX_TURN_DEG = 45.0


@dataclass(frozen=True, slots=True, eq=False)
class Gravity:
    """The direction against gravity in some frame."""

    up: F64  # (3,) unit
    sigma_deg: float
    source: GravitySource


def up_from_motion(ups: F64) -> Gravity | None:
    """Robust mean of sensor samples (n, 3), each already turned into the common frame by its camera's pose.

    A hand's jerk or a wrong pose makes single samples wrong by far: they are left out (distance to the median).
    """
    if len(ups) == 0:
        return None
    median = _unit(np.median(ups, axis=0))
    off_deg = np.degrees(np.arccos(np.clip(ups @ median, -1.0, 1.0)))
    kept = ups[off_deg <= max(_OUTLIER_DEG, 3.0 * float(np.median(off_deg)))]
    up = _unit(kept.mean(axis=0))
    scatter_deg = float(np.degrees(np.sqrt(np.mean(np.sum((kept - up) ** 2, axis=1)))))
    return Gravity(up, float(np.hypot(_MOTION_BIAS_DEG, max(scatter_deg, 1.0) / np.sqrt(len(kept)))), "motion")


def up_from_cameras(components_from_camera: Sequence[F64]) -> Gravity | None:
    """Mean of the cameras' own up (-Y of each pose): a guess to start from."""
    if not components_from_camera:
        return None
    total = -np.sum([pose[:3, 1] for pose in components_from_camera], axis=0)
    if np.linalg.norm(total) < 1e-6 * len(components_from_camera):
        return None
    return Gravity(_unit(total), CAMERAS_SIGMA_DEG, "cameras")


def up_from_planes(normals: F64, guess: F64) -> Gravity | None:
    """Find the up for which surfaces are horizontal or vertical, near a guess (Gupta et al. 2013).

    Minimises the squared cosine to surfaces that look vertical plus the squared sine to those that look horizontal;
    what "looks" means narrows from 40 to 8 degrees. Rooms are built that way; None where this one is not, or where a
    single wall leaves the answer open.

    Args:
        normals: (n, 3) unit, of small surface pieces of equal size.
        guess: (3,) unit, within about 40 degrees.
    """
    if len(normals) < _MIN_NORMALS:
        return None
    up = guess
    for gate_deg in _GATES_DEG:
        along = normals @ up
        is_level = np.abs(along) > np.cos(np.radians(gate_deg))
        is_upright = np.abs(along) < np.sin(np.radians(gate_deg))
        level, upright = normals[is_level], normals[is_upright]
        values, vectors = np.linalg.eigh(upright.T @ upright - level.T @ level)
        up = vectors[:, 0] * np.sign(vectors[:, 0] @ up)
    num_used = len(level) + len(upright)
    is_definite = values[1] - values[0] > 0.1 * num_used
    has_turned = up @ guess < np.cos(np.radians(_MAX_TURN_DEG))
    if num_used < max(_MIN_NORMALS, 0.4 * len(normals)) or not is_definite or has_turned:
        return None
    slant = np.concatenate([np.sqrt(np.clip(1.0 - (level @ up) ** 2, 0.0, 1.0)), np.abs(upright @ up)])
    # Neighbouring normals share their errors: count a hundredth of them as independent.
    scatter_deg = float(np.degrees(np.sqrt(np.mean(slant**2)))) / np.sqrt(max(1.0, num_used / 100.0))
    return Gravity(up, float(np.hypot(_PLANES_BIAS_DEG, scatter_deg)), "planes")


def best(estimates: Sequence[Gravity | None]) -> Gravity | None:
    """The estimate that claims the smallest error."""
    known = [estimate for estimate in estimates if estimate is not None]
    return min(known, key=lambda estimate: estimate.sigma_deg, default=None)


def _unit(v: F64) -> F64:
    return np.asarray(v / np.linalg.norm(v))
