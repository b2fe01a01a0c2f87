"""A phone's gyro: how far it turned between two frames, and whether its word may stand where pictures cannot judge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.transforms import F64, angle_between, exp_so3
from streams.frame import Motion

_TELLING_RAD = np.radians(2.0)  # smaller turns say little about axes, signs and clocks
_SLACK_SHARE = 0.25  # of the turn
_ENOUGH, _MOST = 3, 30  # turns that must have agreed, and how many are remembered


class Gyro:
    """Sensors of web pages come with axes, signs and clocks of every kind: trust is earned on frames that were seen."""

    def __init__(self) -> None:
        self._rate: NDArray[np.float64] | None = None
        self._agreed = 0
        self._measured, self._seen = np.eye(3), np.eye(3)  # turns since they were last compared

    @property
    def is_trusted(self) -> bool:
        """The gyro has agreed with the pictures, lately and several times over."""
        return self._agreed >= _ENOUGH

    def turn(self, motion: Motion | None, dt_s: float) -> F64 | None:
        """Rotation (3, 3) of (camera now) from (camera before): the mean of both frames' rates, for `dt_s`."""
        before = self._rate
        self._rate = None
        if motion is None or motion.rate_camera_rad_s is None:
            return None
        rate = np.asarray(motion.rate_camera_rad_s, np.float64)
        if rate.shape != (3,) or not np.isfinite(rate).all():
            return None
        self._rate = rate
        mean_rate = rate if before is None else 0.5 * (rate + before)
        return exp_so3(-mean_rate * dt_s)

    def judge(self, measured: F64, seen: F64) -> None:
        """Hear of a measured turn and of the one that landmarks gave for the same two frames."""
        self._measured, self._seen = measured @ self._measured, seen @ self._seen
        angle = max(angle_between(r, np.eye(3)) for r in (self._measured, self._seen))
        if angle < _TELLING_RAD:
            return
        agrees = angle_between(self._measured, self._seen) < _SLACK_SHARE * angle
        self._agreed = min(self._agreed + 1, _MOST) if agrees else self._agreed // 2
        self._measured, self._seen = np.eye(3), np.eye(3)
