"""Several phones cut from one clip and played together: `python -m benchmarks.crowd CLIP... [--phones 2 4] [--json]`.

Each phone has its own lens (up to 12 % narrower), states its focal length up to 1 % wrong, has a clock up to 3 s off,
and starts a map of its own with its own unit. `--cut pieces`: they film consecutive, overlapping pieces at the same
time; `interleaved`: side by side, all of them the whole walk. Played live unless `--fast`.

What the keys mean. `merged`: phones that lay in the one world in the end, with `merged_s` when each came there.
`inter_phone_m` and `_deg`: RMS error of the relative pose between two phones' frames that see the same things (at least
30 % by the truth), over all pairs of phones, as the frames were answered; nothing is fitted but the map's unit.
`inter_phone_mapped_m` and `_deg`: the same as the map has the frames in the end, each riding on the keyframe before it:
what a trajectory that was adjusted afterwards (COLMAP's) compares with. `joint_ate_m` is all phones' positions under
one similarity. `shared_frames`: frames that saw what another phone had seen before, until the phone joined;
`after_ten_shared_s`: from the tenth of them until it joined. null where nothing merged. `mapped_share`: keyframes that
the map took, of those the phones' trackers wanted in it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.clips import Clip
from benchmarks.evaluation import synthetic_clips
from benchmarks.evaluation.cutting import CUTS, Cut, cut, jittered
from benchmarks.evaluation.fast import play_fast
from benchmarks.evaluation.live import play_live
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.poses import WORLD, mark_poses
from benchmarks.evaluation.result import percentile
from benchmarks.evaluation.session import Played, Session
from benchmarks.evaluation.shared_view import SharedViews, shared_times_s
from benchmarks.evaluation.together import apart, as_mapped, joint_ate_m
from mapping.metric.markers import Config as MarkerConfig
from mapping.tracking import tracker

ENOUGH_SHARED = 10


def measure(
    clip: Clip, how: Cut, count: int, *, fast: bool, seed: int, keyframes_per_s: float | None
) -> dict[str, Any]:
    """Play one crowd and judge it."""
    phones = jittered(cut(clip, how, count), seed)
    options = Options().looking_for(MarkerConfig(search=False))
    if keyframes_per_s is not None:
        often = options.scene.keyframes.model_copy(update={"min_age_s": 1.0 / keyframes_per_s})
        options = replace(options, scene=options.scene.model_copy(update={"keyframes": often}))
    session = (play_fast if fast else play_live)(phones, options)
    return {"clip": clip.name, "cut": how, "phones": count, "seed": seed, "live": not fast} | judge(session, clip)


def judge(session: Session, clip: Clip) -> dict[str, Any]:
    """All figures of a crowd."""
    views = SharedViews([clip])
    pairs = [t for a, b in combinations(session.played, 2) if (t := apart(session, a, b, views)) is not None]
    mapped = [
        t for a, b in combinations(session.played, 2) if (t := apart(session, a, b, views, as_mapped)) is not None
    ]
    merged = [p for p in session.played if WORLD in mark_poses(session, p).groups]
    return {
        "merged": len(merged) if len(merged) > 1 else 0,
        "merged_s": [None if p.aligned_s is None else round(p.aligned_s, 2) for p in session.played],
        "inter_phone_m": _weighted_rms([(pair.rms_m, pair.pairs) for pair in pairs]),
        "inter_phone_deg": _weighted_rms([(pair.rms_deg, pair.pairs) for pair in pairs]),
        "inter_phone_mapped_m": _weighted_rms([(pair.rms_m, pair.pairs) for pair in mapped]),
        "inter_phone_mapped_deg": _weighted_rms([(pair.rms_deg, pair.pairs) for pair in mapped]),
        "joint_ate_m": joint_ate_m(session) if len(merged) > 1 else None,
        "scale": _unit_ratios(session),
        **_joining(session, views),
        "each_phone": [_phone(p, session) for p in session.played],
        "map_latency_ms_p95": percentile([ms for p in session.played for ms in p.map_latency_ms], 95),
        "cores": round(session.cost.cpu_s / session.cost.wall_s, 3) if session.live else None,
        "cpu_s": round(session.cost.cpu_s, 1),
        "rss_mb": round(session.cost.rss_mb, 1),
        "machine_load": round(os.getloadavg()[0], 2),
    }


def _phone(played: Played, session: Session) -> dict[str, Any]:
    num_frames, seconds = len(played.phone.frames), len(played.phone.frames) / _fps(played)
    posed = sum(len(poses) for poses in mark_poses(session, played).groups.values())
    return {
        "phone": str(played.phone.name),
        "coverage": round(posed / max(1, num_frames), 4),
        "dropped": num_frames - len(played.answers),
        "pose_latency_ms_p50": percentile(played.pose_latency_ms, 50),
        "pose_latency_ms_p95": percentile(played.pose_latency_ms, 95),
        "keyframes_per_s": round(played.num_wanted / seconds, 2),
        "mapped_share": round(len(played.mapped) / max(1, played.num_wanted), 3),
        "failure": played.failure,
    }


def _joining(session: Session, views: SharedViews) -> dict[str, Any]:
    """For every phone but the first in the world: how much it had to see of the others' ground before it joined."""
    founder = min(
        (p for p in session.played if p.aligned_s is not None), key=lambda p: p.aligned_s or 0.0, default=None
    )
    frames: list[int | None] = []
    after_s: list[float | None] = []
    for played in session.played:
        if played is founder:
            continue
        if played.aligned_s is None or not views.knows(played.phone):
            frames.append(None)
            after_s.append(None)
            continue
        others = [p.phone for p in session.played if p is not played]
        times = shared_times_s(played.phone, others, views)
        frames.append(sum(t <= played.aligned_s for t in times))
        enough = times[ENOUGH_SHARED - 1] if len(times) >= ENOUGH_SHARED else None
        after_s.append(None if enough is None else round(played.aligned_s - enough, 2))
    return {"shared_frames": frames, "after_ten_shared_s": after_s}


def _unit_ratios(session: Session) -> list[float | None]:
    """World metres per unit of each phone's newest component: how different their own scales were."""
    found = [session.world_from(p, p.answers[-1].tracked.component) if p.answers else None for p in session.played]
    return [None if world is None else round(world.scale, 3) for world in found]


def _weighted_rms(weighted: Sequence[tuple[float, int]]) -> float | None:
    values, weights = [value for value, _ in weighted], [weight for _, weight in weighted]
    return round(float(np.sqrt(np.average(np.square(values), weights=weights))), 4) if values else None


def _fps(played: Played) -> float:
    """Frames a second of this very phone."""
    frames = played.phone.frames
    step = (frames[-1] - frames[0]) / max(1, len(frames) - 1) if len(frames) > 1 else 1.0
    return played.phone.clip.fps / max(step, 1e-9)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd", description="Several phones, one map.")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--phones", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--cut", nargs="+", choices=CUTS, default=list(CUTS))
    parser.add_argument("--keyframes-per-s", type=float, help="at most so many keyframes a second and phone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="every frame, in one thread, instead of live")
    parser.add_argument("--json", action="store_true", help="one JSON object a crowd, one a line")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    tracker.warm_up()
    for folder in synthetic_clips.folders(options.clips):
        try:
            clip = Clip.open(folder)
        except (OSError, ValueError) as error:
            print(f"{folder} is not a clip: {error}", file=sys.stderr)
            return 2
        for how in options.cut:
            for count in options.phones:
                figures = measure(
                    clip, how, count, fast=options.fast, seed=options.seed, keyframes_per_s=options.keyframes_per_s
                )
                print(json.dumps(figures) if options.json else _table(figures), flush=True)
    return 0


def _table(figures: dict[str, Any]) -> str:
    return "\n".join(f"{name:>22}  {value}" for name, value in figures.items()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
