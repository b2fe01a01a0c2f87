"""One clip through one tracker, live or as fast as it goes: what came back and what it cost."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.clips import Clip
from benchmarks.playback import Playback
from mapping.tracking.tracker import Tracked, Tracker, TrackerConfig
from streams.frame import StreamId


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What came back for one clip."""

    clip: Clip
    tracked: tuple[Tracked, ...]
    latency_ms: tuple[float, ...]
    cpu_s: float
    tracker_cpu_s: float
    dropped: int


def play(clip: Clip, *, fast: bool, posed: bool, with_intrinsics: bool, config: TrackerConfig) -> Run:
    """Send a clip through a fresh tracker."""
    stream = StreamId(clip.name)
    tracker = Tracker(stream, config)
    playback = Playback(clip, stream, fast=fast, posed=posed, with_intrinsics=with_intrinsics)
    tracked, latency_ms = [], []
    tracker_cpu_s, began_s = 0.0, time.process_time()
    for frame in playback:
        before_s = time.thread_time()
        tracked.append(tracker.track(frame))
        tracker_cpu_s += time.thread_time() - before_s
        if not fast:
            latency_ms.append(playback.age_ms(frame))
    cpu_s = time.process_time() - began_s
    return Run(clip, tuple(tracked), tuple(latency_ms), cpu_s, tracker_cpu_s, playback.dropped)
