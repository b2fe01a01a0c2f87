"""How far the map's up is off: as the session left it, and had the phone sent a single sample of its gravity sensor.

A clip's own up is only as good as its trajectory's orientations (a degree or two on redkitchen), so up is also held
against the room itself: the level planes that the depth sensor saw from the map's own keyframes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.evaluation.depth import true_depth
from benchmarks.evaluation.poses import truth_from_world, truth_up_error_deg
from benchmarks.evaluation.remap import map_again
from benchmarks.evaluation.session import Played, Session
from mapping.metric.level_planes import sharpen
from mapping.placing import keyframe_id
from mapping.scene_map import Config
from mapping.transforms import unproject
from mapping.volume.depth import local_planes
from streams.frame import Frame

_WIDTH, _HEIGHT = 160, 120
_UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, slots=True)
class GravityMarks:
    """Degrees off the clip's truth; None = there is none, or too little was mapped."""

    picture_deg: float | None
    one_sample_deg: float | None
    room_deg: float | None
    """Off the sensor's level planes, as the session left it; None where there is no depth, or nothing is level."""
    source: str
    claimed_sigma_deg: float


def mark_gravity(session: Session, played: Played, config: Config) -> GravityMarks:
    """Judge one phone's map; the sample comes with its first keyframe."""
    status, up = session.map.status, played.phone.clip.up_world
    if up is None or not played.mapped:
        return GravityMarks(None, None, None, status.gravity_source, status.gravity_sigma_deg)
    sensed = replace(session, map=map_again([played], config, _with_first_sample))
    return GravityMarks(
        _rounded(truth_up_error_deg(session, up)),
        _rounded(truth_up_error_deg(sensed, up)),
        _rounded(room_up_error_deg(session, played)),
        status.gravity_source,
        round(status.gravity_sigma_deg, 2),
    )


def room_up_error_deg(session: Session, played: Played) -> float | None:
    """How far the map's up (+Y) is off the normal of floor, tables and shelves, as the sensor's depth shows them.

    The depth is placed by the map's own poses, at the scale that the truth gives it: no orientation of the truth's.
    """
    truth, poses = truth_from_world(session), session.map.keyframe_poses()
    camera = played.phone.camera.scaled(_WIDTH, _HEIGHT)
    points, normals = [np.empty((0, 3))], [np.empty((0, 3))]
    for mapped in played.mapped:
        pose = poses.get(keyframe_id(played.phone.name, mapped.tracked.seq))
        depth = true_depth(played.phone, mapped.tracked.seq, _WIDTH, _HEIGHT)
        if truth is None or pose is None or depth is None:
            continue
        planes = local_planes(depth, camera)
        usable = (depth > 0) & ~planes.is_edge & np.any(planes.normals_camera != 0.0, axis=2)
        points.append(unproject(depth, camera)[usable] / truth.scale @ pose[:3, :3].T + pose[:3, 3])
        normals.append(planes.normals_camera[usable] @ pose[:3, :3].T)
    up = sharpen(np.concatenate(points), np.concatenate(normals), _UP)
    return None if up is None else float(np.degrees(np.arccos(np.clip(up @ _UP, -1.0, 1.0))))


def _with_first_sample(played: Played, frame: Frame) -> Frame:
    is_first = frame.seq == played.mapped[0].tracked.seq
    return replace(frame, motion=played.phone.motion_at(frame.seq)) if is_first else frame


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
