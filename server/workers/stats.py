"""What a device has been doing lately: the figures behind `GET /v1/devices`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

WINDOW_S = 60.0
MAX_SAMPLES = 512


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """One device at one instant; plain values, ready for JSON."""

    device: str
    state: str
    """`starting`, `fetching` (it downloads what its engine needs), `ready`, `restarting`, `failing` (restarting did not
    help so far, or all of its last windows failed; it goes on trying) or `closed`."""
    detail: str
    """What it waits for, or what is wrong, while it is not ready."""
    engine: str
    pid: int | None
    queued: dict[str, int]
    """Waiting jobs by lane."""
    busy_share: float
    """Of the last minute, 0..1."""
    window_ms_p50: float | None
    """Time per window as the caller waits for it on the device (copies included); None = none yet."""
    window_ms_p95: float | None
    done: int
    failed: int
    failed_share: float | None
    """Of its last windows (16), 0..1; None = none yet."""
    last_failure: str | None
    """Why the latest window that failed did."""
    together: int
    """Times that windows of several streams ran together."""
    superseded: int
    expired: int
    quarantined: int
    """Keyframes that killed workers and are not tried again."""
    restarts: int
    last_death: str | None
    rss_bytes: int
    device_bytes: int
    """Memory of the GPU that its worker holds."""
    provenance: dict[str, str]
    """What has to be told about a map that its worker makes; empty while there is none."""


class Meter:
    """Rolling record of jobs; times are seconds on one monotonic clock."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._jobs: deque[tuple[float, float]] = deque(maxlen=MAX_SAMPLES)

    def add(self, began: float, ended: float) -> None:
        self._jobs.append((began, ended))

    def busy_share(self, now: float) -> float:
        """Share of the last minute (or of the life so far) in which a job ran."""
        since = max(now - WINDOW_S, self._started)
        if len(self._jobs) == MAX_SAMPLES:
            since = max(since, self._jobs[0][0])
        busy_s = sum(max(0.0, ended - max(began, since)) for began, ended in self._jobs)
        return min(1.0, busy_s / max(now - since, 1e-9))

    def percentile_ms(self, percent: float) -> float | None:
        """Duration in ms that this share of the recent jobs did not exceed."""
        if not self._jobs:
            return None
        return float(np.percentile([ended - began for began, ended in self._jobs], percent)) * 1e3
