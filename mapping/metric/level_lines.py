"""Up from level edges: counters, shelves and sills lie level, run in few directions, and are the longest there are.

Under the right up, edges that are parallel and level in the room agree on the compass; a tilt smears them. So the
compass directions that many edges share are found first, then up and those directions are fitted together: up lies in
the planes of upright edges and across every shared direction (an Atlanta world, after Schindler & Dellaert 2004).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64

_ROUNDS_DEG = (4.0, 2.8, 2.0, 1.4, 1.0, 1.0, 1.0, 1.0)
"""Width of an edge's vote in each round: wide first, for a poor start."""
_MAX_DIRECTIONS = 3
_UPRIGHT_DEG = 8.0
"""Edges nearer to upright have no compass direction worth asking for."""
_BIN_DEG = 0.5
_BLUR_DEG = 1.5
_APART_DEG = 10.0
_MIN_PEAK = 3.0
"""Times the votes of a compass direction that nothing in particular runs in."""


def sharpen(normals: F64, weights: F64, up: F64) -> F64:
    """A better up (3,) than one that is a few degrees off.

    Args:
        normals: (n, 3) unit, of the planes that edges span with their cameras, in the frame of `up`.
        weights: (n,)
    """
    for width_deg in _ROUNDS_DEG:
        tangents = np.linalg.svd(up[None])[2][1:]
        upright_deg = _off_deg(normals @ up)
        information, gradient = _pull(normals @ tangents.T, normals @ up, weights * _robust(upright_deg, width_deg))
        other = np.abs(upright_deg) > _UPRIGHT_DEG
        level, level_weights = normals[other], weights[other]
        for along in shared_directions(level, level_weights, up):
            pull = _pull_across(level, level_weights, up, along, tangents, width_deg)
            information, gradient = information + pull[0], gradient + pull[1]
        step = np.linalg.solve(information + 1e-9 * np.eye(2), gradient)
        up = up + tangents.T @ step
        up = up / np.linalg.norm(up)
    return up


def fitting(normals: F64, weights: F64, up: F64) -> float:
    """Share of the edges that stand upright or run in a shared direction, by weight: how well `up` fits the room."""
    axes = np.concatenate([up[None], shared_directions(normals, weights, up)])
    off_deg = np.abs(_off_deg(normals @ axes.T)).min(axis=1)
    return float(weights @ np.exp(-0.5 * (off_deg / _ROUNDS_DEG[-1]) ** 2) / weights.sum())


def shared_directions(normals: F64, weights: F64, up: F64) -> F64:
    """Level directions (k, 3) that far more edges run in than in most, the most shared first; k may be 0.

    An edge that lies level runs where its plane meets the level one; so does, anywhere on the compass, one that does
    not.
    """
    tangents = np.linalg.svd(up[None])[2][1:]
    along = np.cross(normals, up)
    sure = np.linalg.norm(along, axis=1)  # the plane of an edge at eye height is level itself: no direction
    compass_deg = np.degrees(np.arctan2(along @ tangents[1], along @ tangents[0])) % 180.0
    num_bins = round(180.0 / _BIN_DEG)
    bins = (compass_deg / _BIN_DEG).astype(np.int64) % num_bins
    votes = _blurred(np.bincount(bins, weights * sure, num_bins).astype(np.float64))
    enough = _MIN_PEAK * float(np.median(votes))
    found: list[F64] = []
    away = np.full(num_bins, np.inf)
    while len(found) < _MAX_DIRECTIONS:
        best = int(np.argmax(np.where(away > _APART_DEG, votes, -1.0)))
        if away[best] <= _APART_DEG or votes[best] <= enough:
            break
        angle = np.radians((best + 0.5) * _BIN_DEG)
        found.append(np.cos(angle) * tangents[0] + np.sin(angle) * tangents[1])
        between = np.abs(np.arange(num_bins) - best) * _BIN_DEG
        away = np.minimum(away, np.minimum(between, 180.0 - between))
    return np.array(found).reshape(-1, 3)


def _blurred(votes: F64) -> F64:
    reach = round(3 * _BLUR_DEG / _BIN_DEG)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * _BIN_DEG / _BLUR_DEG) ** 2)
    return np.convolve(np.concatenate([votes[-reach:], votes, votes[:reach]]), kernel, mode="valid")


def _pull_across(normals: F64, weights: F64, up: F64, along: F64, tangents: F64, width_deg: float) -> tuple[F64, F64]:
    """What the edges along a level direction say about up, whatever its exact compass angle is (Schur complement)."""
    miss = normals @ along
    tilt = -(normals @ up)[:, None] * (tangents @ along)  # the direction tips with up, to stay level
    rows = np.column_stack([tilt, normals @ np.cross(up, along)])
    information, gradient = _pull(rows, miss, weights * _robust(_off_deg(miss), width_deg))
    turn = information[2, 2] + 1e-12
    across = information[:2, 2]
    return information[:2, :2] - np.outer(across, across) / turn, gradient[:2] - across * gradient[2] / turn


def _pull(rows: F64, miss: F64, weights: F64) -> tuple[F64, F64]:
    """Normal equations (k, k), (k,) of weighted least squares."""
    weighted = rows * weights[:, None]
    return weighted.T @ rows, -weighted.T @ miss


def _robust(off_deg: F64, width_deg: float) -> NDArray[np.float64]:
    weight = 1.0 / (1.0 + (off_deg / width_deg) ** 2) ** 2
    weight[np.abs(off_deg) > 3.0 * width_deg] = 0.0
    return np.asarray(weight)


def _off_deg(sine: F64) -> F64:
    return np.asarray(np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))))
