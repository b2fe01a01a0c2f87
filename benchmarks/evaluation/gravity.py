"""How far the map's up is off: as the session left it, and had the phone sent a single sample of its gravity sensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.evaluation.poses import truth_up_error_deg
from benchmarks.evaluation.session import Played, Session
from mapping.scene_map import Config, SceneMap


@dataclass(frozen=True, slots=True)
class GravityMarks:
    """Degrees off the clip's truth; None = there is none, or too little was mapped."""

    picture_deg: float | None
    one_sample_deg: float | None
    source: str
    claimed_sigma_deg: float


def mark_gravity(session: Session, played: Played, config: Config) -> GravityMarks:
    """Judge one phone's map; the sample comes with its first keyframe."""
    status, up = session.map.status, played.phone.clip.up_world
    if up is None or not played.mapped:
        return GravityMarks(None, None, status.gravity_source, status.gravity_sigma_deg)
    sensed = replace(session, map=map_again(played, config))
    return GravityMarks(
        _rounded(truth_up_error_deg(session, up)), _rounded(truth_up_error_deg(sensed, up)),
        status.gravity_source, round(status.gravity_sigma_deg, 2),
    )  # fmt: skip


def map_again(played: Played, config: Config) -> SceneMap:
    """The map that the same keyframes make when the first of them brings a sample of gravity."""
    scene_map = SceneMap(config)
    for i, mapped in enumerate(played.mapped):
        frame = replace(played.phone.frame(mapped.tracked.seq, 0), intrinsics=mapped.tracked.intrinsics)
        if i == 0:
            frame = replace(frame, motion=played.phone.motion_at(frame.seq))
        if mapped.tracked.corrected:
            scene_map.correct(mapped.tracked)
        scene_map.observe(mapped.tracked, frame)
        if mapped.prediction is not None or frame.depth is not None:
            scene_map.place(mapped.tracked, frame, mapped.prediction)
            scene_map.fuse()
    return scene_map


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
