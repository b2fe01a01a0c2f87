"""How far a camera turned between two frames, from thumbnails alone: survives turns that no feature window spans.

Inverse-compositional alignment of small blurred images under a pure rotation (after Klein & Murray 2008, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.tracking.cholesky import cholesky_solve
from mapping.transforms import F64, angle_between, exp_so3

F32 = NDArray[np.float32]

UNCONVINCING = 0.25
"""Residual from which a turn found in the miniatures is to be doubted."""
_WIDER_TURNS = [exp_so3(np.radians(v)) for v in ([0, 8, 0], [0, -8, 0], [8, 0, 0], [-8, 0, 0], [0, 16, 0], [0, -16, 0])]

_SAME_PX = 0.25
"""Two guesses that meet within this much, in pixels of a thumbnail, are one."""

WIDTH = 80  # pixels of a thumbnail's long side


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """A blurred miniature and the focal length that belongs to it."""

    fine: F32  # (h, w), zero mean
    coarse: F32  # half of that
    focal_px: float

    @classmethod
    def of(cls, gray: NDArray[np.uint8], focal_px: float) -> Thumbnail:
        """Shrink an image (h, w) whose focal length is `focal_px`."""
        scale = WIDTH / max(gray.shape)
        size = (max(8, round(gray.shape[1] * scale)), max(8, round(gray.shape[0] * scale)))
        small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        small = cv2.GaussianBlur(small, (5, 5), 1.2)
        fine = np.asarray(small - small.mean(), np.float32)
        return cls(fine, np.asarray(cv2.pyrDown(fine), np.float32), focal_px * scale)


def turn_between(before: Thumbnail, after: Thumbnail, guesses: list[F64], *, wider: bool = True) -> tuple[F64, float]:
    """The best `after_from_before` rotation (3, 3) and its residual relative to the contrast (about 1 = no match).

    Args:
        guesses: rotations (3, 3) to start from; each is refined and the best fit wins.
    """
    if before.fine.shape != after.fine.shape:
        return guesses[0], 1.0
    best, best_error = _best_of(before, after, guesses)
    if best_error > UNCONVINCING:
        further = [_WIDER_TURNS[k] @ guesses[0] for k in range(len(_WIDER_TURNS))]
        other, other_error = _best_of(before, after, further)
        if other_error < best_error:
            best, best_error = other, other_error
    return best, best_error


def _best_of(before: Thumbnail, after: Thumbnail, guesses: list[F64]) -> tuple[F64, float]:
    best, best_error = guesses[0], np.inf
    for guess in guesses:
        rotation = guess.copy()
        _align(before.coarse, after.coarse, 0.5 * before.focal_px, 0.5 * after.focal_px, rotation, 12)
        if best_error < np.inf and angle_between(rotation, best) * before.focal_px < _SAME_PX:
            continue  # it leads to where the one before did
        error = _align(before.fine, after.fine, before.focal_px, after.focal_px, rotation, 8)
        if error < best_error - 1e-3:
            best, best_error = rotation, error
    return best, float(best_error)


def difference(a: Thumbnail, b: Thumbnail) -> float:
    """How unlike two views are, 0 (same) to about 2: one minus the correlation of their coarse miniatures."""
    if a.coarse.shape != b.coarse.shape:
        return 1.0
    norm = float(np.linalg.norm(a.coarse) * np.linalg.norm(b.coarse))
    return 1.0 - float(np.sum(a.coarse * b.coarse)) / max(norm, 1e-9)


@kernel
def _align(before: F32, after: F32, focal_before: float, focal_after: float, rotation: F64, iterations: int) -> float:
    height, width = before.shape
    cu, cv = 0.5 * (width - 1), 0.5 * (height - 1)
    n = (height - 2) * (width - 2)
    jac, ray = np.empty((n, 3)), np.empty((n, 2))
    k = 0
    for r in range(1, height - 1):
        for c in range(1, width - 1):
            x, y = (c - cu) / focal_before, (r - cv) / focal_before
            gx = 0.5 * (before[r, c + 1] - before[r, c - 1]) * focal_before
            gy = 0.5 * (before[r + 1, c] - before[r - 1, c]) * focal_before
            # Image motion of the ray (x, y, 1) under a small rotation w: d(x, y) = [-xy, 1+x^2, -y; -(1+y^2), xy, x] w
            jac[k, 0] = -gx * x * y - gy * (1 + y * y)
            jac[k, 1] = gx * (1 + x * x) + gy * x * y
            jac[k, 2] = -gx * y + gy * x
            ray[k, 0], ray[k, 1] = x, y
            k += 1
    error, last = 2.0, 1e9
    a, step = np.empty((3, 3)), np.empty(3)
    small, moved = np.empty((3, 3)), np.empty((3, 3))
    for _ in range(iterations):
        r00, r01, r02 = rotation[0, 0], rotation[0, 1], rotation[0, 2]
        r10, r11, r12 = rotation[1, 0], rotation[1, 1], rotation[1, 2]
        r20, r21, r22 = rotation[2, 0], rotation[2, 1], rotation[2, 2]
        g0, g1, g2, h00, h01, h02, h11, h12, h22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        total, contrast, count = 0.0, 1e-9, 0
        k = -1
        for r in range(1, height - 1):
            for c in range(1, width - 1):
                k += 1
                x, y = ray[k, 0], ray[k, 1]
                z = r20 * x + r21 * y + r22
                if z < 0.1:
                    continue
                u = focal_after * (r00 * x + r01 * y + r02) / z + cu
                v = focal_after * (r10 * x + r11 * y + r12) / z + cv
                if not (u >= 0.0 and v >= 0.0 and u < width - 1 and v < height - 1):
                    continue
                iu, iv = int(u), int(v)
                fu, fv = u - iu, v - iv
                value = (after[iv, iu] * (1 - fu) + after[iv, iu + 1] * fu) * (1 - fv)
                value += (after[iv + 1, iu] * (1 - fu) + after[iv + 1, iu + 1] * fu) * fv
                d = value - before[r, c]
                w = 1.0 / (1.0 + (d / 20.0) ** 2)  # gray levels
                total += d * d
                contrast += value * value + before[r, c] * before[r, c]
                count += 1
                j0, j1, j2 = jac[k, 0], jac[k, 1], jac[k, 2]
                g0, g1, g2 = g0 + w * j0 * d, g1 + w * j1 * d, g2 + w * j2 * d
                h00, h01, h02 = h00 + w * j0 * j0, h01 + w * j0 * j1, h02 + w * j0 * j2
                h11, h12, h22 = h11 + w * j1 * j1, h12 + w * j1 * j2, h22 + w * j2 * j2
        if count < 0.25 * n:
            return 2.0
        error = total / contrast
        step[0], step[1], step[2] = g0, g1, g2
        a[0, 0], a[0, 1], a[0, 2] = h00 * (1 + 1e-6) + 1e-9, h01, h02
        a[1, 1], a[1, 2], a[2, 2] = h11 * (1 + 1e-6) + 1e-9, h12, h22 * (1 + 1e-6) + 1e-9
        if not cholesky_solve(a, step):
            return 2.0
        # R <- R exp(-step), first order plus Gram-Schmidt
        small[0, 0], small[0, 1], small[0, 2] = 1.0, step[2], -step[1]
        small[1, 0], small[1, 1], small[1, 2] = -step[2], 1.0, step[0]
        small[2, 0], small[2, 1], small[2, 2] = step[1], -step[0], 1.0
        for i in range(3):
            for j in range(3):
                moved[i, j] = rotation[i, 0] * small[0, j] + rotation[i, 1] * small[1, j] + rotation[i, 2] * small[2, j]
        for i in range(3):
            for m in range(i):
                d = moved[i, 0] * moved[m, 0] + moved[i, 1] * moved[m, 1] + moved[i, 2] * moved[m, 2]
                for j in range(3):
                    moved[i, j] -= d * moved[m, j]
            d = np.sqrt(moved[i, 0] ** 2 + moved[i, 1] ** 2 + moved[i, 2] ** 2)
            for j in range(3):
                moved[i, j] /= d
        rotation[:, :] = moved
        if abs(last - error) < 1e-5:
            break
        last = error
    return error


def warm_up() -> None:
    """Compile the kernels."""
    gray = np.random.default_rng(0).integers(0, 255, (60, 80)).astype(np.uint8)
    thumbnail = Thumbnail.of(gray, 60.0)
    turn_between(thumbnail, thumbnail, [exp_so3(np.zeros(3))])
