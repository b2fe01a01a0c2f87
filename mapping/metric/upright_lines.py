"""Up from straight edges: door frames, cupboards and corners of rooms stand upright, whatever else stands crooked.

An upright edge and the camera span a plane that holds the direction of gravity, so up is what lies across most of these
planes' normals; edges that lean only add noise everywhere, and those that lie level sharpen it (`level_lines`). Edges
come from OpenCV's line segment detector (von Gioi 2010). Unlike planes of a stereo map, they do not bend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.metric import level_lines
from mapping.metric.directions import directions_around
from mapping.transforms import F64
from streams.frame import Intrinsics

_LONG_SIDE_PX = 320
"""Long edges are found as well in a small image, in a quarter of the time: about 5 ms."""
_MIN_LENGTH = 0.04
"""Of the image's long side."""
_MAX_EDGES = 200
_MIN_IMAGES = 6
_MIN_SEARCH_DEG = 4.0
_MIN_PEAK = 1.8
"""Times the votes that edges which run anyhow would give."""
_RIVAL_DEG = 6.0
_MAX_RIVAL = 0.9
_SEARCHES = ((2.0, 1.5), (0.5, 1.0), (0.2, 0.8))
"""Step of each search and width of an edge's vote, in degrees; each looks as far around as the one before steps."""
_MIN_FITTING = 0.25
"""Share of the edges that stand or run with the room, where the upright ones alone do not stand out."""
_AS_GOOD = 0.95
"""Of the best one's share: an answer that explains so much is as likely."""
_SQUARE_DEG = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The straight edges in one image, as the planes they span with the camera."""

    normals: F64  # (n, 3) unit, in camera axes
    weights: F64  # (n,) radians that they fill; at most 1 in sum, so that no single image outvotes the others

    def turned(self, b_from_camera: F64) -> Edges:
        """The same in another frame; only the rotation of the pose counts."""
        return Edges(self.normals @ b_from_camera[:3, :3].T, self.weights)


def find_edges(gray: NDArray[np.uint8], intrinsics: Intrinsics) -> Edges:
    """The longest edges of an image (h, w)."""
    h, w = gray.shape
    shrink = min(1.0, _LONG_SIDE_PX / max(h, w))
    small = cv2.resize(gray, (max(1, round(w * shrink)), max(1, round(h * shrink))), interpolation=cv2.INTER_AREA)
    found = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(small)[0]
    if found is None:
        return Edges(np.empty((0, 3)), np.empty(0))
    camera = intrinsics.scaled(small.shape[1], small.shape[0])
    ends_px = found.reshape(-1, 2, 2).astype(np.float64) + 0.5  # OpenCV counts pixel centres as whole numbers
    length_px = np.linalg.norm(ends_px[:, 1] - ends_px[:, 0], axis=1)
    longest = np.argsort(-length_px, kind="stable")[:_MAX_EDGES]
    ends_px = ends_px[longest[length_px[longest] > _MIN_LENGTH * max(small.shape)]]
    if not len(ends_px):
        return Edges(np.empty((0, 3)), np.empty(0))
    flat = cv2.undistortPoints(ends_px.reshape(-1, 1, 2), camera.matrix(), np.array([camera.k1, 0.0, 0.0, 0.0]))
    rays = np.concatenate([flat.reshape(-1, 2, 2), np.ones((len(ends_px), 2, 1))], axis=2)
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    across = np.cross(rays[:, 0], rays[:, 1])
    sine = np.linalg.norm(across, axis=1)
    usable = sine > 1e-9
    angle = np.arcsin(np.minimum(sine[usable], 1.0))
    return Edges(across[usable] / sine[usable, None], angle / max(1.0, float(angle.sum())))


def find_up(images: Sequence[Edges], guess: F64, guess_sigma_deg: float) -> tuple[F64, float] | None:
    """Up (3,) in the frame of the edges, and the scatter in degrees of what each third of the images says alone.

    None where there are few images, no direction near the guess stands out, or two do.

    Args:
        images: the edges of each image, all turned into one frame, in the order of their taking.
        guess: (3,) unit; twice its sigma is searched, and what is nearer is likelier.
    """
    seen = [edges for edges in images if len(edges.weights)]
    if len(seen) < _MIN_IMAGES:
        return None
    edges = _joined(seen)
    crossed = _most_crossed(edges, guess, max(guess_sigma_deg, _MIN_SEARCH_DEG))
    tried = [_sharpened(edges, start) for start in (crossed, guess) if start is not None]
    fitting = [level_lines.fitting(edges.normals, edges.weights, up) for up in tried]
    up = tried[int(np.argmax(fitting))]
    if crossed is None and not (max(fitting) > _MIN_FITTING and _is_built_square(edges, up)):
        return None
    third = -(-len(seen) // 3)
    alone = [_sharpened(_joined(seen[n : n + third]), up) for n in range(0, len(seen), third)]
    rivals = [other for other, share in zip(tried, fitting, strict=True) if share > _AS_GOOD * max(fitting)]
    scatter = np.sqrt(np.mean([np.sum((other - up) ** 2) for other in alone]))
    return up, float(np.degrees(scatter + max(float(np.linalg.norm(other - up)) for other in rivals)))


def _sharpened(edges: Edges, up: F64) -> F64:
    return level_lines.sharpen(edges.normals, edges.weights, up)


def _is_built_square(edges: Edges, up: F64) -> bool:
    along = level_lines.shared_directions(edges.normals, edges.weights, up)
    return bool(np.any(np.abs(along @ along.T) < np.sin(np.radians(_SQUARE_DEG))))


def _joined(images: Sequence[Edges]) -> Edges:
    return Edges(np.concatenate([e.normals for e in images]), np.concatenate([e.weights for e in images]))


def _most_crossed(edges: Edges, guess: F64, guess_sigma_deg: float) -> F64 | None:
    """The direction near the guess that lies in most edges' planes; None if none stands out."""
    up, radius_deg = guess, 2.0 * guess_sigma_deg
    for n, (step_deg, width_deg) in enumerate(_SEARCHES):
        candidates = directions_around(up, radius_deg, step_deg)
        votes = _votes(edges, candidates, width_deg)
        if n == 0:
            away_deg = np.degrees(np.arccos(np.clip(candidates @ guess, -1.0, 1.0)))
            likely = votes * np.exp(-0.5 * (away_deg / guess_sigma_deg) ** 2)
            up = candidates[int(np.argmax(likely))]
            rivals = likely[candidates @ up < np.cos(np.radians(_RIVAL_DEG))]
            by_chance = np.sqrt(0.5 * np.pi) * np.radians(width_deg) * edges.weights.sum()
            if votes[int(np.argmax(likely))] < _MIN_PEAK * by_chance or np.any(rivals > _MAX_RIVAL * likely.max()):
                return None
        else:
            up = candidates[int(np.argmax(votes))]
        radius_deg = 1.5 * step_deg
    return up


def _votes(edges: Edges, candidates: F64, width_deg: float) -> F64:
    """(m,) by how much of the edges each candidate (m, 3) lies in the plane."""
    off_deg = np.degrees(np.arcsin(np.clip(candidates @ edges.normals.T, -1.0, 1.0)))
    return np.asarray(np.exp(-0.5 * (off_deg / width_deg) ** 2) @ edges.weights)
