"""Which way is up, from whatever knows it: the phone's own sensor, upright edges, level planes, how people hold phones.

Every estimate says where it comes from and how far it may be off; those that agree are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mapping.metric import level_planes, upright_lines
from mapping.metric.directions import directions_around
from mapping.metric.upright_lines import Edges
from mapping.transforms import F64

GravitySource = Literal["posed", "motion", "lines", "planes", "cameras"]

POSED_SIGMA_DEG = 0.5
CAMERAS_SIGMA_DEG = 15.0
"""People tilt phones down by anything from 0 to 40 degrees, and hardly less over a walk."""
_HELD_ROLL_DEG = 6.0
_HELD_PITCH_DEG = 15.0
_HELD_DOWN_DEG = 15.0
_HELD_DRIFT_DEG = 5.0
"""What is left of how somebody holds a phone when he has turned all around."""
_MOTION_BIAS_DEG = 0.7
"""What is left of a phone's accelerometer bias and of the camera's mounting after any number of samples."""
_PLANES_BIAS_DEG = 0.8
"""Also what is claimed where normals and whole planes agree; a phone's sensor, once it has spoken for a second, is
believed before that."""
_PEAK_SIGMA_DEG = 5.0
"""Stereo bends large planes by a few degrees; level ones of different heights do not average that out."""
_OUTLIER_DEG = 4.0
_LINES_BIAS_DEG = 1.0
"""Rolling shutters shear edges, and furniture is built with less care than walls."""
_LINES_SPREAD_DEG = 5.0
"""By how much the edges of a single image may mislead."""
_CONFLICT_SIGMAS = 3.0
_GATES_DEG = (14.0, 10.0, 8.0, 8.0)
_MIN_SURFELS = 300
_MAX_POINTS = 5000
_SEARCHES = ((45.0, 5.0, 0.06), (6.0, 2.0, 0.04), (2.5, 0.5, 0.03))
"""Radius and step of each search in degrees, and the height of a bin in sizes of the scene."""
_LEVEL_GATE_COS = float(np.cos(np.radians(60.0)))
_ROLLED_OVER = np.diag([-1.0, -1.0, 1.0, 1.0])
_ROUGHLY_LEVEL_COS = float(np.cos(np.radians(45.0)))
_MANY_TIMES = 10
_MIN_PEAK = 1.6
_RIVAL_DEG = 20.0
_MAX_RIVAL = 0.85


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
    return Gravity(up, float(np.hypot(_MOTION_BIAS_DEG, max(scatter_deg, 0.7) / np.sqrt(len(kept)))), "motion")


def up_from_cameras(components_from_camera: Sequence[F64]) -> Gravity | None:
    """How people hold phones: hardly rolled, somewhat tilted down. The more directions they look in, the more it tells.

    With sideways axes level and the tilt by habit, up is a weighted least-squares fit to all cameras' axes: whoever
    looks around tells up by the sideways axes alone, of whoever does not the tilt stays a guess.
    """
    if not components_from_camera:
        return None
    axes = np.array([pose[:3, :3] for pose in components_from_camera])
    total = -axes[:, :, 1].sum(axis=0)
    if np.linalg.norm(total) < 1e-6 * len(axes):
        return None
    up = _unit(total)
    sideways, forward = np.sin(np.radians(_HELD_ROLL_DEG)), np.sin(np.radians(_HELD_PITCH_DEG))
    down = np.sin(np.radians(_HELD_DOWN_DEG))
    for _ in range(5):
        rows = np.concatenate([axes[:, :, 0] / sideways, axes[:, :, 2] / forward])
        misses = np.concatenate([axes[:, :, 0] @ up / sideways, (axes[:, :, 2] @ up + down) / forward])
        flat = np.linalg.svd(up[None])[2][1:]
        information = flat @ (rows.T @ rows) @ flat.T / len(axes)
        up = _unit(up - flat.T @ np.linalg.solve(information, flat @ (rows.T @ misses) / len(axes)))
    worst_deg = float(np.degrees(np.linalg.eigvalsh(information)[0] ** -0.5))
    return Gravity(up, float(np.hypot(_HELD_DRIFT_DEG, worst_deg)), "cameras")


def up_from_holding(components_from_camera: Sequence[F64], normals: F64) -> Gravity | None:
    """`up_from_cameras`, unless the phone was held head over, as far as surfaces tell.

    Level things are seen from above, nearly all of them: floors, tables, seats. Where ten times as many (at least 300)
    would be seen from below, it is the phone that is the wrong way round. A bare ceiling that nothing else was filmed
    with deceives this, until something else is.

    Args:
        normals: (n, 3) unit, of surfaces in the component's frame, towards the cameras.
    """
    held = up_from_cameras(components_from_camera)
    head_over = up_from_cameras([pose @ _ROLLED_OVER for pose in components_from_camera])
    if held is None or head_over is None:
        return held
    above, below = (int(np.count_nonzero(normals @ way.up > _ROUGHLY_LEVEL_COS)) for way in (held, head_over))
    return head_over if below > max(_MIN_SURFELS, _MANY_TIMES * above) else held


def up_from_lines(images: Sequence[Edges], guess: Gravity) -> Gravity | None:
    """Upright edges near a guess; see `upright_lines`.

    Args:
        images: the edges of each keyframe, turned into the guess's frame.
    """
    found = upright_lines.find_up(images, guess.up, guess.sigma_deg)
    if found is None:
        return None
    up, scatter_deg = found
    errors_deg = (_LINES_BIAS_DEG, _LINES_SPREAD_DEG / np.sqrt(len(images)), scatter_deg / np.sqrt(3.0))
    return Gravity(up, float(np.linalg.norm(errors_deg)), "lines")


def up_from_planes(points: F64, normals: F64, guess: F64) -> Gravity | None:
    """Find the up in which the room is built, near a guess: floors, tables and shelves are level, walls upright.

    First the direction along which the points gather at the fewest heights; noise of single points does not matter
    there. Where the normals are good enough to show walls and floors, they sharpen it, and planes wide enough to have a
    slope of their own do so once more. None where nothing is level.

    Args:
        points: (n, 3) on surfaces, evenly sampled.
        normals: (n, 3) unit, of the same surfaces.
        guess: (3,) unit, within about 40 degrees.
    """
    if len(points) < _MIN_SURFELS:
        return None
    picked = np.linspace(0, len(points) - 1, min(len(points), _MAX_POINTS)).astype(np.int64)
    peak = _gather_heights(points[picked], normals[picked], guess)
    if peak is None:
        return None
    square = _square_up(normals, peak)
    found = square or Gravity(peak, _PEAK_SIGMA_DEG, "planes")
    sharper = level_planes.sharpen(points, normals, found.up)
    if sharper is None:
        return found
    return Gravity(sharper, _PEAK_SIGMA_DEG if square is None else _PLANES_BIAS_DEG, "planes")


def _gather_heights(points: F64, normals: F64, guess: F64) -> F64 | None:
    """The direction whose histogram of heights has the highest peaks, from coarse to fine; None if none stands out."""
    size = float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1)))
    up = guess
    for n, (radius_deg, step_deg, bin_size) in enumerate(_SEARCHES):
        usable = points[np.abs(normals @ up) > _LEVEL_GATE_COS]
        if len(usable) < _MIN_SURFELS or size <= 0:
            return None
        candidates = directions_around(up, radius_deg, step_deg)
        peaks = np.array([_peakedness(usable @ candidate, bin_size * size) for candidate in candidates])
        up = candidates[int(np.argmax(peaks))]
        if n == 0:
            rivals = peaks[candidates @ up < np.cos(np.radians(_RIVAL_DEG))]
            if peaks.max() < _MIN_PEAK * np.median(peaks) or rivals.max() > _MAX_RIVAL * peaks.max():
                return None
    return up


def _peakedness(heights: F64, bin_height: float) -> float:
    """Chance that two points lie at about the same height."""
    counts = np.bincount(((heights - heights.min()) / bin_height).astype(np.int64), minlength=2)
    pairs = (counts[:-1] + counts[1:]).astype(np.float64)
    return float(pairs @ pairs) / len(heights) ** 2


def _square_up(normals: F64, up: F64) -> Gravity | None:
    """Minimise the squared cosine to upright surfaces plus the squared sine to level ones (Gupta et al. 2013).

    None where too few normals are either, or a single wall leaves the answer open.
    """
    start = up
    for gate_deg in _GATES_DEG:
        along = np.abs(normals @ up)
        level = normals[along > np.cos(np.radians(gate_deg))]
        upright = normals[along < np.sin(np.radians(gate_deg))]
        values, vectors = np.linalg.eigh(upright.T @ upright - level.T @ level)
        up = vectors[:, 0] * np.sign(vectors[:, 0] @ up)
    num_used = len(level) + len(upright)
    is_definite = values[1] - values[0] > 0.1 * num_used
    is_near = up @ start > np.cos(np.radians(2 * _PEAK_SIGMA_DEG))
    if num_used < max(_MIN_SURFELS, 0.4 * len(normals)) or not is_definite or not is_near:
        return None
    slant = np.concatenate([np.sqrt(np.clip(1.0 - (level @ up) ** 2, 0.0, 1.0)), np.abs(upright @ up)])
    # Neighbouring normals share their errors: count a hundredth of them as independent.
    scatter_deg = float(np.degrees(np.sqrt(np.mean(slant**2)))) / np.sqrt(max(1.0, num_used / 100.0))
    return Gravity(up, float(np.hypot(_PLANES_BIAS_DEG, scatter_deg)), "planes")


def fuse(estimates: Sequence[Gravity | None]) -> Gravity | None:
    """Average what agrees with the surest estimate, by inverse variance; named after that one.

    What contradicts it by more than 3 sigma is left out. Where those that agree scatter more than they claim, so does
    the result.
    """
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return None
    best = min(known, key=lambda estimate: estimate.sigma_deg)
    agreeing = [e for e in known if _apart_deg(e, best) <= _CONFLICT_SIGMAS * np.hypot(e.sigma_deg, best.sigma_deg)]
    weights = np.array([e.sigma_deg**-2 for e in agreeing])
    mean = Gravity(_unit(weights @ np.array([e.up for e in agreeing])), float(weights.sum() ** -0.5), best.source)
    if len(agreeing) == 1:
        return mean
    excess = sum((_apart_deg(e, mean) / e.sigma_deg) ** 2 for e in agreeing) / (2 * (len(agreeing) - 1))
    return replace(mean, sigma_deg=mean.sigma_deg * max(1.0, float(np.sqrt(excess))))


def _apart_deg(a: Gravity, b: Gravity) -> float:
    return float(np.degrees(np.arccos(np.clip(a.up @ b.up, -1.0, 1.0))))


def _unit(v: F64) -> F64:
    return np.asarray(v / np.linalg.norm(v))
