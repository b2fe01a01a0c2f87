"""Does bending help walks that return, and harm none? `python -m benchmarks.loops CLIP... synthetic [--json]`.

Every clip is one phone's walk, tracked and recognised without depth, every frame. Its largest component is judged twice
against the truth, each under the similarity that fits best: as the tracker has it, and as the map bends it. A `false`
loop is one that bends the walk wrong: more frames further off than 0.3 m or 10 degrees, or a clearly larger error.
`bent_m` is how far the frame that was moved most came to lie from where the tracker has it; 0 = no loop was closed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.clips import Clip
from benchmarks.evaluation import synthetic_clips
from benchmarks.evaluation.fast import play_fast
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.result import rms
from benchmarks.evaluation.session import Played, Poses, Session
from benchmarks.trajectory import score
from mapping.metric.markers import Config as MarkerConfig
from mapping.tracking import tracker

CLEARLY, SLACK_M = 1.2, 0.005


def judge(session: Session, played: Played) -> dict[str, Any]:
    """All figures of one walk."""
    tracked = [answer.tracked for answer in played.answers if answer.tracked.component_from_camera is not None]
    largest = Counter(one.component for one in tracked).most_common(1)[0][0] if tracked else -1
    whole = session.world_from(played, largest)
    before: Poses = {}
    after: Poses = {}
    for one in tracked:
        around = session.world_from(played, one.component, one.seq)
        if one.component == largest and one.component_from_camera is not None and whole is not None and around:
            before[one.seq] = whole.apply_pose(one.component_from_camera)
            after[one.seq] = around.apply_pose(one.component_from_camera)
    clip = played.phone.clip
    as_tracked, as_bent = score(before, clip.truth, clip.fps), score(after, clip.truth, clip.fps)
    if as_tracked is None or as_bent is None:
        return {"clip": clip.name, "frames": len(before), "false": False}
    scale = as_tracked.world_from_component.scale
    moved = max(float(np.linalg.norm(after[seq][:3, 3] - before[seq][:3, 3])) for seq in before)
    ate_before, ate_after = rms([as_tracked.position_error_m]) or 0.0, rms([as_bent.position_error_m]) or 0.0
    return {
        "clip": clip.name,
        "frames": len(before),
        "ate_tracked_m": ate_before,
        "ate_bent_m": ate_after,
        "wrong_tracked": as_tracked.wrong,
        "wrong_bent": as_bent.wrong,
        "bent_m": round(scale * moved, 4),
        "false": as_bent.wrong > as_tracked.wrong or ate_after > CLEARLY * ate_before + SLACK_M,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit status: 1 where a loop was false."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loops", description="Walks that return.")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="`synthetic`: the rendered flat, too")
    parser.add_argument("--json", action="store_true", help="one JSON object a walk, one a line")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    tracker.warm_up()
    how = Options(with_map=False).looking_for(MarkerConfig(search=False))
    num_false = 0
    for folder in synthetic_clips.folders(options.clips):
        session = play_fast([Phone.of(Clip.open(folder))], how)
        figures = judge(session, session.played[0])
        num_false += figures["false"]
        print(json.dumps(figures) if options.json else figures, flush=True)
    return 1 if num_false else 0


if __name__ == "__main__":
    sys.exit(main())
