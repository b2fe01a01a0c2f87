"""Hand-held walks through the flat: closed, smooth, never through anything solid, and equal every time.

Each begins in front of the marker with a step sideways, which gives a camera without depth its first parallax, and
never turns on the spot. It ends where it began, so that a looped recording has no jump.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mapping.transforms import exp_so3, look_at

EYE_HEIGHT_M = 1.45
SPEED_M_S = 0.5
TURN_DEG_S = 26.0


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """A closed path of a camera, `duration_s` long."""

    name: str
    duration_s: float
    spline: CubicSpline
    """Seconds to x, y, z, heading (0 looks along -Z, positive to the left; whole turns taken out), pitch."""
    turns: int
    """Whole turns to the left in one round."""
    seed: int

    def at(self, time_s: float) -> NDArray[np.float64]:
        """world_from_camera (4, 4) at that time; it repeats after `duration_s`."""
        t = time_s % self.duration_s
        x, y, z, heading, pitch = self.spline(t)
        heading += 2 * np.pi * self.turns * t / self.duration_s
        bob, sway = self._shake(t)
        forward = [-np.sin(heading) * np.cos(pitch), np.sin(pitch), -np.cos(heading) * np.cos(pitch)]
        pose = look_at((0.0, 0.0, 0.0), forward)
        pose[:3, :3] = pose[:3, :3] @ exp_so3(sway)
        pose[:3, 3] = np.array([x, y, z]) + bob
        return pose

    def times(self, fps: float, duration_s: float | None = None) -> Iterator[float]:
        """Instants of the frames of one round, or of its first `duration_s`."""
        length = self.duration_s if duration_s is None else min(duration_s, self.duration_s)
        yield from (i / fps for i in range(round(length * fps)))

    def _shake(self, t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Steps and a hand: offset (3,) in metres and rotation vector (3,) in radians, periodic in the round."""
        rng = np.random.default_rng(self.seed)
        bob, sway = np.zeros(3), np.zeros(3)
        for hz, move_m, turn_rad in (
            (0.45, 0.008, 0.010),
            (0.9, 0.006, 0.006),
            (1.8, 0.005, 0.004),
            (3.1, 0.0015, 0.0015),
        ):
            # A whole number of swings a round keeps the loop closed.
            cycles = round(hz * self.duration_s)
            phase = rng.uniform(0, 2 * np.pi, 6)
            wave = np.sin(2 * np.pi * cycles * t / self.duration_s + phase)
            bob += move_m * wave[:3]
            sway += turn_rad * wave[3:]
        return bob, sway


def walks() -> tuple[Walk, Walk]:
    """Two rounds through every room and most doors, one each way, both from in front of the marker."""
    return _walk("clockwise", _CLOCKWISE, 11), _walk("counterclockwise", _COUNTERCLOCKWISE, 23)


def _walk(name: str, stations: list[tuple[float, float, float, float, float]], seed: int) -> Walk:
    """Fit a path through stations (x, z, and the point x, y, z looked at)."""
    eye = np.array([(x, EYE_HEIGHT_M, z) for x, z, *_ in stations])
    gaze = np.array([station[2:] for station in stations]) - eye
    heading = np.unwrap(np.arctan2(-gaze[:, 0], -gaze[:, 2]))
    pitch = np.arctan2(gaze[:, 1], np.hypot(gaze[:, 0], gaze[:, 2]))

    # Close the round: the last station repeats the first, up to whole turns.
    last = heading[-1] + (heading[0] - heading[-1] + np.pi) % (2 * np.pi) - np.pi
    turns = round((last - heading[0]) / (2 * np.pi))
    eye, pitch = np.vstack([eye, eye[:1]]), np.append(pitch, pitch[0])
    heading = np.append(heading, last)
    steps = np.maximum(
        np.linalg.norm(np.diff(eye, axis=0), axis=1) / SPEED_M_S,
        np.abs(np.diff(heading)) / np.radians(TURN_DEG_S),
    )
    knots = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0.4))])
    level = heading - 2 * np.pi * turns * knots / knots[-1]
    level[-1] = level[0]
    path = np.column_stack([eye, level, pitch])
    return Walk(name, float(knots[-1]), CubicSpline(knots, path, bc_type="periodic"), turns, seed)


_START = [
    # Sideways past the marker, then back: parallax before anything else.
    (-3.1, -1.95, -2.75, 1.15, -3.5),
    (-2.6, -1.90, -2.6, 1.10, -3.5),
    (-2.0, -1.90, -2.3, 1.05, -3.5),
]
_CLOCKWISE = [
    *_START,
    (-1.5, -1.75, -1.5, 0.80, -3.5),
    (-0.9, -1.60, -0.3, 0.55, -3.0),
    (-0.3, -1.50, 0.9, 0.25, -2.0),
    (0.3, -1.50, 1.9, 0.10, -1.6),
    (0.9, -1.53, 2.6, 0.30, -1.8),  # the door to the study
    (1.5, -1.65, 3.4, 0.55, -2.4),
    (1.9, -2.00, 3.6, 0.55, -2.9),
    (2.3, -2.40, 3.9, 0.50, -2.3),
    (2.70, -2.20, 4.3, 0.50, -1.6),
    (2.95, -1.80, 4.3, 0.40, -0.9),
    (3.08, -1.40, 3.3, 0.50, 0.3),
    (3.08, -0.75, 2.4, 0.60, 0.5),  # the door to the corridor
    (2.95, -0.20, 1.4, 0.60, 0.3),
    (2.60, 0.05, 0.6, 0.50, 0.2),
    (2.30, 0.15, 0.5, 0.55, 1.2),
    (1.98, 0.60, 1.0, 0.50, 2.6),  # the door to the bedroom
    (1.75, 1.20, 1.1, 0.50, 3.3),
    (1.80, 1.75, 2.6, 0.40, 2.7),
    (1.95, 2.30, 3.8, 0.45, 2.2),
    (1.75, 2.60, 3.2, 0.50, 1.2),
    (1.25, 2.50, 1.6, 0.50, 0.9),
    (0.80, 2.20, 0.0, 0.60, 0.9),
    (0.30, 2.20, -0.9, 0.60, 1.7),
    (-0.25, 2.35, -1.9, 0.30, 2.2),
    (-0.70, 2.375, -2.3, 0.30, 2.0),  # the door to the kitchen
    (-1.30, 2.15, -3.2, 0.60, 2.5),
    (-1.85, 1.95, -3.6, 0.60, 2.6),
    (-2.50, 1.85, -4.1, 0.70, 2.5),
    (-3.00, 1.95, -4.3, 0.70, 1.6),
    (-3.30, 1.70, -3.6, 0.50, 0.9),
    (-2.95, 1.30, -2.2, 0.50, 0.1),
    (-2.83, 0.75, -1.9, 0.60, -0.6),  # the door back to the corridor
    (-2.60, 0.20, -1.1, 0.65, -0.2),
    (-2.15, 0.02, -0.9, 0.65, -0.6),
    (-1.90, -0.30, -1.3, 0.65, -1.9),
    (-1.88, -0.80, -2.0, 0.65, -2.9),  # the door to the living room
    (-2.00, -1.30, -3.0, 0.70, -2.9),
    (-2.35, -1.75, -3.9, 0.75, -2.8),
    (-2.85, -2.15, -4.2, 0.85, -3.1),
    (-3.20, -2.20, -3.3, 1.05, -3.6),
]
_COUNTERCLOCKWISE = [
    (-2.05, -2.00, -2.4, 1.15, -3.5),
    (-2.55, -2.00, -2.6, 1.10, -3.5),
    (-3.10, -2.05, -2.9, 1.05, -3.5),
    (-3.45, -2.10, -4.2, 0.85, -2.9),
    (-3.50, -1.95, -4.6, 0.70, -2.0),
    (-3.20, -1.85, -4.0, 0.50, -1.0),
    (-2.70, -1.80, -2.9, 0.50, -0.6),
    (-2.20, -1.60, -1.9, 0.50, -0.2),
    (-1.92, -1.20, -1.6, 0.55, 0.4),
    (-1.87, -0.65, -1.9, 0.60, 0.9),  # the door to the corridor
    (-2.00, -0.15, -3.0, 0.60, 0.5),
    (-2.45, 0.05, -3.6, 0.60, 0.7),
    (-2.75, 0.30, -3.3, 0.55, 1.8),
    (-2.83, 0.75, -3.2, 0.55, 2.2),  # the door to the kitchen
    (-2.95, 1.25, -3.6, 0.60, 2.9),
    (-3.25, 1.65, -3.5, 0.65, 3.4),
    (-3.20, 2.00, -2.6, 0.60, 3.2),
    (-2.70, 1.95, -1.9, 0.60, 2.9),
    (-2.10, 1.90, -0.9, 0.60, 2.2),
    (-1.50, 2.20, -0.1, 0.60, 2.2),
    (-0.90, 2.37, 0.6, 0.35, 2.3),  # the door to the bedroom
    (-0.30, 2.35, 1.2, 0.55, 2.0),
    (0.30, 2.25, 1.9, 0.50, 1.9),
    (0.90, 2.25, 2.9, 0.45, 2.4),
    (1.45, 2.30, 3.6, 0.40, 2.6),
    (1.90, 2.00, 4.1, 0.45, 1.9),
    (2.00, 1.55, 3.9, 0.50, 0.9),
    (1.95, 1.10, 2.9, 0.55, -0.2),
    (1.97, 0.65, 2.9, 0.55, -0.5),  # the door back to the corridor
    (2.20, 0.20, 3.5, 0.60, 0.0),
    (2.60, 0.03, 3.6, 0.60, -0.5),
    (2.95, -0.20, 3.5, 0.60, -1.6),
    (3.07, -0.70, 3.3, 0.55, -2.3),  # the door to the study
    (3.00, -1.20, 2.9, 0.60, -2.8),
    (2.80, -1.75, 1.9, 0.50, -2.7),
    (2.45, -2.05, 1.2, 0.20, -1.9),
    (1.95, -1.90, 0.7, 0.20, -1.5),
    (1.45, -1.65, -0.2, 0.40, -1.6),
    (0.90, -1.53, -0.9, 0.60, -1.9),  # the door to the living room
    (0.35, -1.50, -1.3, 0.60, -2.3),
    (-0.30, -1.55, -1.5, 0.65, -2.9),
    (-0.90, -1.60, -2.0, 0.75, -3.1),
    (-1.50, -1.80, -2.3, 0.90, -3.4),
]
