"""How good the poses are, on recorded clips with truth: `python -m benchmarks.accuracy CLIP... [--json] [--out DIR]`.

Each clip is played at its own frame rate through one tracker, as a live phone would be: frames that come while the
tracker is busy are dropped and count against coverage. `--fast` hands over every frame (no latency is reported then).

What the keys mean. A tracker may lose its map and start another, unconnected: each component is aligned on its own,
errors are taken over all of them, and `components` says how many there were and `component_frames` how large
(`ate_largest_m` is the largest one's own error). `coverage` counts frames posed when they came, of ALL frames of the
clip. `wrong_pose_rate` is the share of the posed frames that are more than 0.3 m or 10 degrees off after alignment.
`ate_se3_m` leaves the component's scale as it is: for a camera without a metric cue that says nothing. `rpe_m` is over
one second. `cpu_ms_per_frame` is the whole process, decoding included; `rss_mb` is its peak. Depth and surface are null
where no map was built.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.clips import Clip
from benchmarks.tracking_run import Run, play
from benchmarks.trajectory import Scored, score, write_tum
from mapping.tracking.tracker import TrackerConfig, warm_up


@dataclass(frozen=True, slots=True)
class Result:
    """One clip's figures; None = not measured."""

    clip: str
    frames: int
    coverage: float
    coverage_of_taken: float
    """Of the frames the tracker had time for: differs from `coverage` by what a busy machine dropped."""
    wrong_pose_rate: float | None
    ate_sim3_m: float | None
    ate_se3_m: float | None
    ate_largest_m: float | None
    scale: float | None
    """Metres per unit of the largest component."""
    rpe_m: float | None
    rotation_deg: float | None
    """Median rotation error after alignment."""
    pose_latency_ms_p50: float | None
    pose_latency_ms_p95: float | None
    depth_absrel: float | None
    depth_within_10pct: float | None
    surface_within_10cm: float | None
    cpu_ms_per_frame: float
    tracker_cpu_ms_per_frame: float
    rss_mb: float
    components: int
    component_frames: tuple[int, ...]
    lost_frames: int
    keyframes: int
    dropped: int
    posed: bool
    live: bool


def judge(run: Run, *, posed: bool, fast: bool) -> tuple[Result, dict[int, Scored]]:
    """Compare with the truth, component by component."""
    clip = run.clip
    poses: dict[int, dict[int, Any]] = {}
    for t in run.tracked:
        if t.component_from_camera is not None:
            poses.setdefault(t.component, {})[t.seq] = t.component_from_camera
    scored = {c: s for c, p in poses.items() if (s := score(p, clip.truth, clip.fps)) is not None}
    num_posed = sum(len(p) for p in poses.values())
    num_scored = sum(len(s.frames) for s in scored.values())
    largest = max(scored.values(), key=lambda s: len(s.frames), default=None)
    num_frames = max(1, len(clip.images))
    result = Result(
        clip=clip.name,
        frames=len(clip.images),
        coverage=round(num_posed / num_frames, 4),
        coverage_of_taken=round(num_posed / max(1, len(run.tracked)), 4),
        wrong_pose_rate=round(sum(s.wrong for s in scored.values()) / num_scored, 4) if num_scored else None,
        ate_sim3_m=_rms([s.position_error_m for s in scored.values()]),
        ate_se3_m=_rms([s.position_error_se3_m for s in scored.values()]),
        ate_largest_m=_rms([largest.position_error_m]) if largest else None,
        scale=round(largest.world_from_component.scale, 4) if largest else None,
        rpe_m=_rms([s.rpe_m for s in scored.values()]),
        rotation_deg=_median([s.rotation_error_deg for s in scored.values()]),
        pose_latency_ms_p50=_percentile(run.latency_ms, 50),
        pose_latency_ms_p95=_percentile(run.latency_ms, 95),
        depth_absrel=None,
        depth_within_10pct=None,
        surface_within_10cm=None,
        cpu_ms_per_frame=round(run.cpu_s * 1e3 / num_frames, 2),
        tracker_cpu_ms_per_frame=round(run.tracker_cpu_s * 1e3 / max(1, len(run.tracked)), 2),
        rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        components=len(poses),
        component_frames=tuple(len(p) for p in poses.values()),
        lost_frames=sum(t.state == "lost" for t in run.tracked),
        keyframes=sum(t.keyframe for t in run.tracked),
        dropped=run.dropped,
        posed=posed,
        live=not fast,
    )
    return result, scored


def save(folder: Path, run: Run, scored: dict[int, Scored]) -> None:
    """Write aligned trajectories and the truth in TUM format, and a plot when matplotlib is there."""
    folder.mkdir(parents=True, exist_ok=True)
    clip = run.clip
    write_tum(folder / f"{clip.name}_truth.tum", clip.truth, clip.fps)
    for component, s in scored.items():
        aligned = {
            t.seq: s.world_from_component.apply_pose(t.component_from_camera)
            for t in run.tracked
            if t.component == component and t.component_from_camera is not None
        }
        write_tum(folder / f"{clip.name}_{component}.tum", aligned, clip.fps)
    from benchmarks.accuracy_report import plot  # matplotlib is an extra

    plot(folder / f"{clip.name}.png", run, scored)


def _rms(errors: list[np.ndarray[Any, Any]]) -> float | None:
    joined = np.concatenate(errors) if errors else np.empty(0)
    return round(float(np.sqrt(np.mean(joined**2))), 4) if len(joined) else None


def _median(errors: list[np.ndarray[Any, Any]]) -> float | None:
    joined = np.concatenate(errors) if errors else np.empty(0)
    return round(float(np.median(joined)), 3) if len(joined) else None


def _percentile(values: tuple[float, ...], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 2) if values else None


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description="Poses against recorded truth.")
    parser.add_argument(
        "clips", nargs="+", type=Path, metavar="CLIP", help="folder with rgb/, camera.json, groundtruth.txt"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a clip, one a line")
    parser.add_argument("--posed", action="store_true", help="give the tracker the recorded poses and depth")
    parser.add_argument("--unknown-k", action="store_true", help="do not tell the tracker the intrinsics")
    parser.add_argument("--fast", action="store_true", help="every frame, as fast as possible, instead of live")
    parser.add_argument("--out", type=Path, help="folder for trajectories (TUM format) and plots")
    parser.add_argument("--peer", action="store_true", help="also run COLMAP on the same frames (needs pycolmap)")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)  # this process owns its threads: one for the tracker, one for the player
    warm_up()
    for folder in options.clips:
        try:
            clip = Clip.open(folder)
        except (OSError, ValueError) as error:
            print(f"{folder} is not a clip: {error}", file=sys.stderr)
            return 2
        run = play(
            clip, fast=options.fast, posed=options.posed, with_intrinsics=not options.unknown_k, config=TrackerConfig()
        )
        result, scored = judge(run, posed=options.posed, fast=options.fast)
        figures = asdict(result)
        if options.peer:
            from benchmarks.peers import colmap

            figures["peer"] = colmap(clip)
        print(json.dumps(figures) if options.json else _table(figures), flush=True)
        if options.out is not None:
            save(options.out, run, scored)
    return 0


def _table(figures: dict[str, Any]) -> str:
    return "\n".join(f"{name:>26}  {value}" for name, value in figures.items()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
