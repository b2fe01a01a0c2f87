"""What a user would pick instead, on the same frames in the same run: one file per peer, each imported when asked for.

A peer's module holds `run(clip, knows_k) -> PeerRun` and raises `Missing` with what to install. None of them is a
dependency of ours; COLMAP is BSD, ORB-SLAM3 is GPL-3: that one is for users to install themselves.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.clips import Clip
from benchmarks.evaluation.poses import PoseMarks
from benchmarks.evaluation.result import Figures, rms
from benchmarks.evaluation.session import Poses
from benchmarks.trajectory import score

NAMES = ("colmap", "orbslam3")


class Missing(Exception):
    """The peer is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True, eq=False)
class PeerRun:
    """What a peer made of a clip."""

    name: str
    frames: tuple[int, ...]
    """Which it was given."""
    pieces: list[Poses]
    """Its unconnected maps, each frame number -> map_from_camera (4, 4)."""
    wall_s: float
    cpu_s: float


def compare(name: str, clip: Clip, marks: PoseMarks, *, knows_k: bool) -> Figures:
    """Run a peer and judge it as we are judged; `ours_against_it_m`: ATE of our poses against its largest map."""
    try:
        ran: PeerRun = importlib.import_module(f"{__name__}.{name}").run(clip, knows_k)
    except Missing as missing:
        return {"peer": name, "missing": str(missing)}
    scored = {i: s for i, poses in enumerate(ran.pieces) if (s := score(poses, clip.truth, clip.fps)) is not None}
    best = max(scored, key=lambda i: len(scored[i].frames), default=None)
    figures: Figures = {
        "peer": ran.name,
        "frames": len(ran.frames),
        "coverage": round(len(set().union(*ran.pieces)) / max(1, len(ran.frames)), 4),
        "components": len(ran.pieces),
        "largest_share": round(len(scored[best].frames) / max(1, len(ran.frames)), 4) if best is not None else 0.0,
        "ate_sim3_m": rms([s.position_error_m for s in scored.values()]),
        "ate_largest_m": rms([scored[best].position_error_m]) if best is not None else None,
        "rpe_m": rms([s.rpe_m for s in scored.values()]),
        "rotation_deg": _median([s.rotation_error_deg for s in scored.values()]),
        "wrong_poses": sum(s.wrong for s in scored.values()),
        "wall_s": round(ran.wall_s, 1),
        "cpu_ms_per_frame": round(1e3 * ran.cpu_s / max(1, len(ran.frames)), 1),
        "ours_against_it_m": None,
        "ours_against_it_deg": None,
    }
    if best is not None:
        metric = {i: scored[best].world_from_component.apply_pose(pose) for i, pose in ran.pieces[best].items()}
        ours = max(marks.groups.values(), key=lambda poses: len(poses.keys() & metric.keys()), default={})
        against = score(ours, metric, clip.fps)
        if against is not None:
            figures["ours_against_it_m"] = rms([against.position_error_m])
            figures["ours_against_it_deg"] = _median([against.rotation_error_deg])
    return figures


def _median(errors: list[np.ndarray[Any, Any]]) -> float | None:
    joined = np.concatenate(errors) if errors else np.empty(0)
    return round(float(np.median(joined)), 3) if len(joined) else None
