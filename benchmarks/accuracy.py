"""How good the map and its poses are, on recorded clips with truth: `python -m benchmarks.accuracy CLIP... [--json]`.

Each clip is played as a live phone would film it, at its own frame rate, into a real scene (tracker, worker process,
map, NavMesh): frames that come while the tracker is busy are dropped and count against coverage. `--fast` plays every
frame in one thread instead, with the same result every time (no latency is reported then). `--no-map` leaves out all
but the tracker. The clip `synthetic` stands for two walks through a rendered flat with exact truth.

What the keys mean. Poses are judged as they were answered, each group of them that shares a frame (the map's world, or
a component that never came to lie in it) aligned on its own; `components` and `component_frames` say how many groups
and how large, `ate_largest_m` is the largest one's own error. `ate_keyframes_m` judges the keyframes as the map holds
them in the end. `coverage` counts frames posed when they came, of ALL frames of the clip; `coverage_with_backfill` adds
those that were answered without a pose and got it once the map could tell (nothing else counts them). `wrong_pose_rate`
is the share of the posed frames more than 0.3 m or 10 degrees off; orientations are compared under the turn that fits
them best, because the turn of a path of a few metres is only good to degrees. `scale` is true metres per metre of the
map and `ate_se3_m` leaves it as it is: without a metric cue (`--cue`) both say nothing; `scale_claimed_sigma` is the
relative error that the map admits to. `rpe_m` is over one second.

`depth_absrel` and `depth_within_10pct`: each keyframe's first depth, made from frames up to it, over the surest pixels
that make up 80 % of those the sensor knows (fewer if `depth_density` is less), one scale per component; `depth_all_*`
is over every pixel with depth, `depth_sure_*` over what the map calls sure; `depth_scale` is `scale` as the depth has
it. `surface_within_10cm`: share of the fused surface within 10 cm of the sensor's points, `surface_complete_10cm` the
reverse, see `evaluation/surface.py`.
`gravity_*_deg`: how far up is off the clip's own, from the picture alone and had the phone sent one sample of its
gravity sensor; `gravity_room_deg`: how far the former is off the level planes that the depth sensor saw.

`cpu_ms_per_frame`: all processes, without reading the pictures (`decode_cpu_ms_per_frame`); `cores` is the same per
second of playing. `rss_mb`: peaks of all processes added up. `machine_load`: how many processes wanted the processors,
which is what latencies, drops and coverage of a live run depend on. Latencies count from the capture of a frame until
its answer leaves, and of a keyframe until the map and its NavMesh hold it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from benchmarks.clips import Clip
from benchmarks.evaluation import cues, peers, synthetic_clips
from benchmarks.evaluation.fast import play_fast
from benchmarks.evaluation.live import play_live
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.result import judge
from mapping.metric.markers import Config as MarkerConfig
from mapping.tracking import tracker


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Play one clip and judge it.

    Raises:
        OSError, ValueError: the folder is not a clip.
    """
    cv2.setNumThreads(1)  # the tracker owns its thread
    tracker.warm_up()
    clip = Clip.open(folder)
    phone = replace(
        Phone.of(clip, knows_k=options.k == "known", posed=options.posed), motion="all" if options.motion else "none"
    )
    how = Options(engine=options.engine, with_map=options.map).looking_for(MarkerConfig(search=False))
    how = cues.with_cue(how, options.cue, clip)
    session = (play_fast if options.fast else play_live)([phone], how)
    played = session.played[0]
    figures, marks = judge(session, played, how)
    figures |= {"k": options.k, "cue": options.cue, "posed": options.posed}
    if options.peer:
        figures["peers"] = [peers.compare(name, clip, marks, knows_k=phone.knows_k) for name in options.peer]
    if options.out is not None:
        from benchmarks.evaluation import report  # matplotlib is an extra

        report.save(options.out, session, played, marks, figures)
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    options.peer = list(peers.NAMES) if options.peer == [] else options.peer
    done = []
    folders = synthetic_clips.folders(options.clips)
    for folder in folders:
        try:
            figures = measure(folder, options) if len(folders) == 1 else _in_a_fresh_process(folder, options)
        except (OSError, ValueError) as error:
            print(f"{folder} is not a clip: {error}", file=sys.stderr)
            return 2
        done.append(figures)
        print(json.dumps(figures) if options.json else _table(figures), flush=True)
    if options.out is not None:
        from benchmarks.evaluation import report

        print(f"report: {report.write_page(options.out, done)}", file=sys.stderr)
    return 0


def _in_a_fresh_process(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """So that memory is each clip's own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(measure, folder, options).result()


def _table(figures: dict[str, Any]) -> str:
    return "\n".join(f"{name:>26}  {value}" for name, value in figures.items()) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description="Map and poses against truth.")
    parser.add_argument(
        "clips",
        nargs="+",
        type=Path,
        metavar="CLIP",
        help="folder with rgb/, camera.json, groundtruth.txt; `synthetic` = both walks through the synthetic flat",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a clip, one a line")
    parser.add_argument("--out", type=Path, help="folder for trajectories (TUM format), plots and a page, index.html")
    parser.add_argument("--fast", action="store_true", help="every frame, in one thread, instead of live")
    parser.add_argument("--map", action=argparse.BooleanOptionalAction, default=True, help="more than the tracker")
    parser.add_argument("--k", choices=("known", "unknown"), default="known", help="is the camera told?")
    parser.add_argument("--cue", choices=cues.NAMES, default="none", help="what tells the map its scale")
    parser.add_argument("--motion", action="store_true", help="every frame brings a sample of the gravity sensor")
    parser.add_argument("--posed", action="store_true", help="the phone brings the recorded poses and depth")
    parser.add_argument("--engine", default="classical", help="geometry engine")
    parser.add_argument(
        "--peer",
        nargs="*",
        choices=peers.NAMES,
        help="what others make of the same frames: colmap (pip install pycolmap), orbslam3 (GPL: yours to install)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
