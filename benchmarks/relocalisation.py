"""How a lost camera finds back: `python -m benchmarks.relocalisation CLIP... [--json]`.

A tracker sees the clip without some held-out stretches (half a second in every two and a half; by frames where a clip
is slow). Then, from that same state each time, it is blinded for two seconds and shown one held-out frame, again and
again for at most a second of its clock, as from a phone that was put down and picked up. `found` is the share of the
frames it posed within 10 cm and 5 degrees of the truth, under the alignment of the mapped part; `wrong` the share posed
more than 0.3 m or 10 degrees off; `ms` is the CPU time of the call that found it, `looks` how many frames that took.
`far` counts only frames whose nearest mapped neighbour is more than 0.2 s away.

`photo_*`: the same frames shown one by one, as photos, to the map that the other frames made (`POST .../locate`), and
every third of them with a focal length guessed 15 % too short (`guess`). `photo_elsewhere` counts photos of the other
clips of the run that were found in this one's map, of how many: none should be.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.clips import Clip
from benchmarks.evaluation import synthetic_clips
from benchmarks.evaluation.located import PhotoFinder
from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.result import percentile
from benchmarks.evaluation.session import Poses
from benchmarks.trajectory import WRONG_DEG, WRONG_M, align_by_orientation
from mapping.tracking import tracker
from mapping.tracking.lenses import Lenses
from mapping.tracking.tracker import Tracker
from mapping.transforms import F64, Sim3, angle_between
from streams.frame import Frame, Image

NEAR_M, NEAR_DEG = 0.10, 5.0
FAR_S = 0.2
_PERIOD, _HELD_OUT = 75, 15
_SLOW_PERIOD, _SLOW_HELD_OUT = 10, 2
_SLOW_FPS = 10.0
_ELSEWHERE_EVERY = 5
_BLIND_S, _PATIENCE_S, _STEP_S = 2.0, 1.0, 0.1
START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Query:
    """One held-out frame."""

    seq: int
    gap_s: float
    """Time to the nearest mapped frame."""
    off_m: float | None
    off_deg: float | None
    ms: float | None
    looks: int


def held_out(clip: Clip) -> list[int]:
    """Frames that the map never gets: the last stretch of every period."""
    period, length = (_SLOW_PERIOD, _SLOW_HELD_OUT) if clip.fps < _SLOW_FPS else (_PERIOD, _HELD_OUT)
    return [i for i in range(len(clip.images)) if i % period >= period - length and i in clip.truth]


def measure(clip: Clip, *, knows_k: bool = True) -> dict[str, Any]:
    """Map most of a clip, then ask for the rest."""
    out = held_out(clip)
    phone = replace(
        Phone.of(clip, knows_k=knows_k), frames=tuple(i for i in range(len(clip.images)) if i not in set(out))
    )
    lenses = Lenses()
    follower = Tracker(phone.name, lenses=lenses)
    components: dict[int, Poses] = {}
    for seq in phone.frames:
        tracked = follower.track(phone.frame(seq, START_NS))
        if tracked.component_from_camera is not None:
            components.setdefault(tracked.component, {})[seq] = tracked.component_from_camera
    truth_from = {c: _aligned(poses, clip) for c, poses in components.items() if len(poses) >= 3}
    mapped = np.array(sorted(seq for poses in components.values() for seq in poses))
    queries = [ask(_copied(follower, lenses), phone, seq, truth_from, mapped) for seq in out] if len(mapped) else []
    return summary(clip, queries)


def photos(clip: Clip, others: Sequence[Clip]) -> dict[str, Any]:
    """Show the held-out frames as photos to the map of the rest, and photos of other places, too."""
    out = held_out(clip)
    phone = Phone.of(clip)
    finder = PhotoFinder(replace(phone, frames=tuple(i for i in phone.frames if i not in set(out))))
    figures: dict[str, Any] = {}
    known, guessed = finder.seek(phone, out), finder.seek(phone, out[::3], focal_error=-0.15)
    for prefix, sought in (("photo", known), ("photo_guess", guessed)):
        offs = [_off(one.pose, clip.truth[one.seq]) for one in sought if one.pose is not None]
        figures |= {
            f"{prefix}_queries": len(sought),
            f"{prefix}_found": _share(sum(m <= NEAR_M and deg <= NEAR_DEG for m, deg in offs), len(sought)),
            f"{prefix}_wrong": _share(sum(m > WRONG_M or deg > WRONG_DEG for m, deg in offs), len(sought)),
            f"{prefix}_off_m_p50": percentile([m for m, _ in offs], 50),
            f"{prefix}_ms_p50": percentile([one.ms for one in sought], 50),
            f"{prefix}_ms_p95": percentile([one.ms for one in sought], 95),
        }
    strange = [
        one
        for other in others
        if other.world != clip.world
        for one in finder.seek(Phone.of(other), range(0, len(other.images), _ELSEWHERE_EVERY))
    ]
    return figures | {"photo_elsewhere": f"{sum(one.pose is not None for one in strange)} of {len(strange)}"}


def ask(follower: Tracker, phone: Phone, seq: int, truth_from: dict[int, Sim3], mapped: np.ndarray[Any, Any]) -> Query:
    """Blind the tracker, show it a frame, and see where it thinks it is."""
    gap_s = float(np.abs(mapped - seq).min()) / phone.clip.fps
    shown = phone.frame(seq, START_NS)
    now_ns = START_NS + round((phone.frames[-1] / phone.clip.fps + 1.0) * 1e9)
    dark = replace(shown, image=Image(rgb=np.zeros_like(shown.image.rgb)))
    for step in range(round(_BLIND_S / _STEP_S)):
        follower.track(_at(dark, now_ns, step))
    first = round(_BLIND_S / _STEP_S)
    for look in range(round(_PATIENCE_S / _STEP_S)):
        before_s = time.thread_time()
        tracked = follower.track(_at(shown, now_ns, first + look))
        ms = (time.thread_time() - before_s) * 1e3
        place, pose = truth_from.get(tracked.component), tracked.component_from_camera
        if pose is not None and place is not None:
            off_m, off_deg = _off(place.apply_pose(pose), phone.clip.truth[seq])
            return Query(seq, gap_s, off_m, off_deg, ms, look + 1)
    return Query(seq, gap_s, None, None, None, round(_PATIENCE_S / _STEP_S))


def _copied(follower: Tracker, lenses: Lenses) -> Tracker:
    """The same state, to be asked once; what is known of lenses is shared, as between sessions."""
    return copy.deepcopy(follower, {id(lenses): lenses})


def summary(clip: Clip, queries: Sequence[Query]) -> dict[str, Any]:
    """Shares and times."""
    far = [q for q in queries if q.gap_s > FAR_S]
    posed = [q for q in queries if q.off_m is not None]
    return {
        "clip": clip.name,
        "queries": len(queries),
        "posed": _share(len(posed), len(queries)),
        "found": _share(sum(_is_found(q) for q in queries), len(queries)),
        "wrong": _share(sum(_is_wrong(q) for q in queries), len(queries)),
        "far_queries": len(far),
        "far_found": _share(sum(_is_found(q) for q in far), len(far)),
        "off_m_p50": percentile([q.off_m for q in posed if q.off_m is not None], 50),
        "off_deg_p50": percentile([q.off_deg for q in posed if q.off_deg is not None], 50),
        "ms_p50": percentile([q.ms for q in posed if q.ms is not None], 50),
        "ms_p95": percentile([q.ms for q in posed if q.ms is not None], 95),
        "looks_p95": percentile([q.looks for q in posed], 95),
    }


def _at(frame: Frame, now_ns: int, step: int) -> Frame:
    capture_ns = now_ns + round(step * _STEP_S * 1e9)
    return replace(frame, seq=1_000_000 + step, capture_ns=capture_ns, received_ns=capture_ns)


def _aligned(poses: Poses, clip: Clip) -> Sim3:
    """Turned by orientations, placed by positions: see `trajectory.align_by_orientation`."""
    known = [seq for seq in poses if seq in clip.truth]
    return align_by_orientation(np.stack([poses[s] for s in known]), np.stack([clip.truth[s] for s in known]))


def _off(pose: F64, true: F64) -> tuple[float, float]:
    return (
        float(np.linalg.norm(pose[:3, 3] - true[:3, 3])),
        float(np.degrees(angle_between(pose[:3, :3], true[:3, :3]))),
    )


def _is_found(query: Query) -> bool:
    return query.off_m is not None and query.off_deg is not None and query.off_m <= NEAR_M and query.off_deg <= NEAR_DEG


def _is_wrong(query: Query) -> bool:
    return (
        query.off_m is not None and query.off_deg is not None and (query.off_m > WRONG_M or query.off_deg > WRONG_DEG)
    )


def _share(count: int, of: int) -> float | None:
    return round(count / of, 4) if of else None


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relocalisation", description="Finding back.")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--k", choices=("known", "unknown"), default="known", help="is the camera told?")
    parser.add_argument("--json", action="store_true", help="one JSON object a clip, one a line")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    tracker.warm_up()
    clips = [Clip.open(folder) for folder in synthetic_clips.folders(options.clips)]
    for clip in clips:
        figures = measure(clip, knows_k=options.k == "known") | photos(clip, clips)
        if options.json:
            print(json.dumps(figures), flush=True)
        else:
            print("\n".join(f"{name:>14}  {value}" for name, value in figures.items()) + "\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
