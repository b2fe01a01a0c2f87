"""All figures of one phone's session: what `benchmarks.accuracy` prints (its docstring says what the keys mean)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from benchmarks.evaluation.depth import DepthMarks, mark_depth
from benchmarks.evaluation.gravity import GravityMarks, mark_gravity
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.poses import PoseMarks, mark_kept, mark_poses
from benchmarks.evaluation.session import Played, Session
from benchmarks.evaluation.surface import SurfaceMarks, mark_surface

Figures = dict[str, Any]
"""JSON values by key; None = not measured."""


def judge(session: Session, played: Played, options: Options) -> tuple[Figures, PoseMarks]:
    """Every mark of one phone's session."""
    marks = mark_poses(session, played)
    figures = (
        {"clip": str(played.phone.name), "live": session.live}
        | _taken(played, marks)
        | _pose_errors(session, played, marks)
        | _latencies(played)
        | _named("depth", DepthMarks, mark_depth(session, played))
        | _named("surface", SurfaceMarks, mark_surface(session))
        | _named("gravity", GravityMarks, mark_gravity(session, played, options.scene.map.map))
        | _costs(session, played)
        | {"failure": played.failure}
    )
    return figures, marks


def _taken(played: Played, marks: PoseMarks) -> Figures:
    num_frames, num_taken = max(1, len(played.phone.frames)), len(played.answers)
    tracked = [answer.tracked for answer in played.answers]
    return {
        "frames": num_frames,
        "dropped": num_frames - num_taken,
        "coverage": round(marks.num_posed / num_frames, 4),
        "coverage_with_backfill": round((marks.num_posed + _num_late(played)) / num_frames, 4),
        "coverage_of_taken": round(marks.num_posed / max(1, num_taken), 4),
        "lost_frames": sum(t.state == "lost" for t in tracked),
        "tracker_keyframes": sum(t.keyframe for t in tracked),
        "mapped_keyframes": len(played.mapped),
    }


def _num_late(played: Played) -> int:
    """Frames that were answered without a pose and got one later."""
    unposed = {a.tracked.seq for a in played.answers if a.tracked.component_from_camera is None}
    return len(unposed & {late.seq for a in played.answers for late in a.tracked.backfilled})


def _pose_errors(session: Session, played: Played, marks: PoseMarks) -> Figures:
    scored, largest, kept = list(marks.scored.values()), marks.largest, mark_kept(session, played)
    return {
        "wrong_pose_rate": round(sum(s.wrong for s in scored) / marks.num_scored, 4) if marks.num_scored else None,
        "ate_sim3_m": rms([s.position_error_m for s in scored]),
        "ate_se3_m": rms([s.position_error_se3_m for s in scored]),
        "ate_largest_m": rms([largest.position_error_m]) if largest else None,
        "ate_keyframes_m": rms([kept.position_error_m]) if kept else None,
        "scale": round(largest.world_from_component.scale, 4) if largest else None,
        "scale_source": session.map.status.scale_source,
        "scale_claimed_sigma": round(session.map.status.scale_sigma, 4) if session.map.status.scale_sigma < 1 else None,
        "rpe_m": rms([s.rpe_m for s in scored]),
        "rotation_deg": _median([s.rotation_error_deg for s in scored]),
        "components": len(marks.groups),
        "component_frames": [len(poses) for poses in marks.groups.values()],
        "largest_share": round(len(largest.frames) / max(1, len(played.phone.frames)), 4) if largest else 0.0,
    }


def _latencies(played: Played) -> Figures:
    return {
        f"{name}_latency_ms_p{percent}": percentile(values, percent)
        for name, values in (("pose", played.pose_latency_ms), ("map", played.map_latency_ms))
        for percent in (50, 95)
    }


def _costs(session: Session, played: Played) -> Figures:
    cost, num_frames = session.cost, max(1, len(played.phone.frames))
    tracker_s = [answer.cpu_s for answer in played.answers]
    return {
        "cpu_ms_per_frame": round(cost.cpu_s * 1e3 / num_frames, 2),
        "tracker_cpu_ms_per_frame": round(1e3 * sum(tracker_s) / len(tracker_s), 2) if tracker_s else None,
        "decode_cpu_ms_per_frame": round(played.decode_cpu_s * 1e3 / num_frames, 2),
        "cores": round(cost.cpu_s / cost.wall_s, 3) if session.live else None,
        "rss_mb": round(cost.rss_mb, 1),
        "machine_load": round(os.getloadavg()[0], 2),
    }


def _named(prefix: str, kind: type, marks: DepthMarks | SurfaceMarks | GravityMarks | None) -> Figures:
    """Marks as `<prefix>_<field>`; all None where there are none."""
    values = asdict(marks) if marks is not None else {field.name: None for field in fields(kind)}
    return {f"{prefix}_{name}": value for name, value in values.items()}


def rms(errors: Sequence[np.ndarray[Any, Any]]) -> float | None:
    """Root mean square over all of them; None for none."""
    joined = np.concatenate(errors) if errors else np.empty(0)
    return round(float(np.sqrt(np.mean(joined**2))), 4) if len(joined) else None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Of milliseconds, mostly; None for none."""
    return round(float(np.percentile(values, percent)), 2) if values else None


def _median(errors: Sequence[np.ndarray[Any, Any]]) -> float | None:
    joined = np.concatenate(errors) if errors else np.empty(0)
    return round(float(np.median(joined)), 3) if len(joined) else None
