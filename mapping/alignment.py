"""Where one frame lies in another, from cameras whose poses are known in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mapping.transforms import F64, Sim3, orthonormal

_MAX_TURN_RAD = float(np.radians(12.0))
_OUTLIER_RATIO = 4.0
_MIN_TO_DOUBT = 5


@dataclass(frozen=True, slots=True, eq=False)
class CameraFit:
    """A similarity and what is left unexplained by it, in units of frame b."""

    b_from_a: Sim3
    residual: float
    """RMS distance of the camera centres after the fit."""
    spread: float
    """RMS distance of the camera centres from their mean: the baseline that the scale rests on."""
    num_cameras: int

    @property
    def scale_sigma(self) -> float:
        """Relative standard error of the scale."""
        return self.residual / (self.spread * float(np.sqrt(self.num_cameras)))


def fit_cameras(a_from_camera: F64, b_from_camera: F64) -> CameraFit | None:
    """Least-squares `b_from_a` of paired camera poses (n, 4, 4), n >= 2; None where they do not determine it.

    Rotation: chordal mean over the pairs that agree with the median one. Scale and translation: least squares between
    the centres that agree with a first fit by medians. Unlike a fit to centres alone, two cameras or a straight walk
    suffice.
    """
    if len(a_from_camera) < 2:
        return None
    turns = b_from_camera[:, :3, :3] @ a_from_camera[:, :3, :3].transpose(0, 2, 1)
    off_rad = np.arccos(np.clip((np.einsum("aij,bij->ab", turns, turns) - 1.0) / 2.0, -1.0, 1.0))
    middle = int(np.argmin(np.median(off_rad, axis=1)))
    agree = off_rad[middle] < _MAX_TURN_RAD
    rotation = orthonormal(turns[agree].mean(axis=0))
    a, b = a_from_camera[agree, :3, 3] @ rotation.T, b_from_camera[agree, :3, 3]
    if len(a) >= _MIN_TO_DOUBT:
        off = _distances_from_median_fit(a, b)
        kept = off <= _OUTLIER_RATIO * float(np.median(off)) + 1e-9 * float(np.abs(b).max())
        a, b = a[kept], b[kept]
    fit = _scale_and_shift(a, b)
    if fit is None:
        return None
    scale, shift = fit
    residual = float(np.sqrt(np.mean(np.sum((scale * a + shift - b) ** 2, axis=1))))
    spread = float(np.sqrt(np.mean(np.sum((b - b.mean(0)) ** 2, axis=1))))
    return CameraFit(Sim3(scale, rotation, shift), residual, spread, len(a))


def _distances_from_median_fit(a: F64, b: F64) -> F64:
    """How far each centre (n,) lies from `scale * a + shift` with the medians of pairwise ratios and of shifts."""
    i, j = np.triu_indices(len(a), 1)
    in_a, in_b = np.linalg.norm(a[i] - a[j], axis=1), np.linalg.norm(b[i] - b[j], axis=1)
    wide = in_a >= np.median(in_a)
    scale = float(np.median(in_b[wide] / np.maximum(in_a[wide], 1e-12)))
    return np.asarray(np.linalg.norm(scale * a - b - np.median(scale * a - b, axis=0), axis=1))


def _scale_and_shift(a: F64, b: F64) -> tuple[float, F64] | None:
    """Least squares of `b = scale * a + shift` between points (n, 3); None where it has no positive answer."""
    if len(a) < 2:
        return None
    centred_a, centred_b = a - a.mean(0), b - b.mean(0)
    power, product = float(np.sum(centred_a * centred_a)), float(np.sum(centred_a * centred_b))
    if power < 1e-18 or product <= 0:
        return None
    scale = product / power
    return scale, b.mean(0) - scale * a.mean(0)
