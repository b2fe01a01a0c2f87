"""Does a long session cost what its first minute did? `python -m benchmarks.long_run CLIP [--minutes 60] [--json]`.

The clip is played forwards and backwards in turn, so that the camera never jumps, through one tracker in virtual time:
every frame, as fast as it goes. Reported are the thread's CPU milliseconds a frame and a keyframe (nodes of the
tracker's map) in the first and the last minute, their ratio, and the resident memory after both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clips import Clip
from mapping.tracking.tracker import Tracker, warm_up
from streams.frame import Frame, StreamId

_START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Minute:
    """What one minute cost."""

    frame_cpu_ms: float
    """Mean over all frames."""
    keyframe_cpu_ms: float
    """Median over the frames that became nodes."""
    tracked: float
    """Share of frames posed."""
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Result:
    clip: str
    minutes: float
    components: int
    first: Minute
    last: Minute
    keyframe_ratio: float
    """Cost of a keyframe in the last minute over that in the first one."""
    growth_mb: float
    """Resident memory after the last minute, less that after the first one."""


def run(clip: Clip, minutes: float) -> Result:
    """Follow the looped clip for that long in virtual time; at least two minutes."""
    per_minute = round(60 * clip.fps)
    total = max(2 * per_minute, round(minutes * per_minute))
    tracker = Tracker(StreamId(clip.name))
    components: set[int] = set()
    done: list[Minute] = []
    spent_ms, node_ms, tracked = 0.0, [], 0
    for n, frame in zip(range(1, total + 1), _looped(clip), strict=False):
        began_s = time.thread_time()
        answer = tracker.track(frame)
        ms = (time.thread_time() - began_s) * 1e3
        spent_ms += ms
        tracked += answer.state == "tracked"
        if answer.keyframe:
            node_ms.append(ms)
        if answer.state == "tracked":
            components.add(answer.component)
        if n % per_minute == 0:
            median_ms = float(np.median(node_ms)) if node_ms else 0.0
            done.append(Minute(spent_ms / per_minute, median_ms, tracked / per_minute, _resident_mb()))
            spent_ms, node_ms, tracked = 0.0, [], 0
    first, last = done[0], done[-1]
    ratio = last.keyframe_cpu_ms / max(first.keyframe_cpu_ms, 1e-9)
    return Result(clip.name, float(len(done)), len(components), first, last, ratio, last.rss_mb - first.rss_mb)


def _looped(clip: Clip) -> Iterator[Frame]:
    """The clip to and fro, for ever, at its own frame rate."""
    there = list(range(len(clip.images)))
    way = there + there[-2:0:-1]
    for n in count():
        now_ns = _START_NS + round(n * 1e9 / clip.fps)
        stream = StreamId(clip.name)
        frame = clip.frame(way[n % len(way)], stream=stream, capture_ns=now_ns, posed=False, with_intrinsics=True)
        _ = frame.image.gray  # the player's work, not the tracker's
        yield replace(frame, seq=n)


def _resident_mb() -> float:
    """What the process holds now, not its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_run", description="Cost of a long session.")
    parser.add_argument("clip", type=Path, metavar="CLIP", help="folder with rgb/ and camera.json")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    warm_up()
    try:
        result = run(Clip.open(options.clip), options.minutes)
    except (OSError, ValueError) as error:
        print(f"{options.clip} is not a clip: {error}", file=sys.stderr)
        return 2
    print(json.dumps(asdict(result)) if options.json else _table(result))
    return 0


def _table(result: Result) -> str:
    return "\n".join(f"{name:>16}  {value}" for name, value in asdict(result).items())


if __name__ == "__main__":
    sys.exit(main())
