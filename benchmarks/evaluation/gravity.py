"""How far the map's up is off: as the session left it, and had the phone sent a single sample of its gravity sensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.evaluation.poses import truth_up_error_deg
from benchmarks.evaluation.remap import map_again
from benchmarks.evaluation.session import Played, Session
from mapping.scene_map import Config
from streams.frame import Frame


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
    sensed = replace(session, map=map_again([played], config, _with_first_sample))
    return GravityMarks(
        _rounded(truth_up_error_deg(session, up)),
        _rounded(truth_up_error_deg(sensed, up)),
        status.gravity_source,
        round(status.gravity_sigma_deg, 2),
    )


def _with_first_sample(played: Played, frame: Frame) -> Frame:
    is_first = frame.seq == played.mapped[0].tracked.seq
    return replace(frame, motion=played.phone.motion_at(frame.seq)) if is_first else frame


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
