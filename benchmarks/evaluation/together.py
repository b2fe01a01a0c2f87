"""Marks for phones in one map: how far one phone is from where another one's poses put it.

Each frame of a phone is paired with the frame of the other that sees most of the same things, and their relative pose
is compared with the true one. Nothing is fitted but the unit of the map, so the error is the merge's, not the
alignment's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.evaluation.poses import WORLD, mark_poses, truth_from_world
from benchmarks.evaluation.result import rms
from benchmarks.evaluation.session import Played, Poses, Session
from benchmarks.evaluation.shared_view import SHARED, SharedViews
from benchmarks.trajectory import align_by_orientation, score
from mapping.changes import KeyframeId
from mapping.transforms import Sim3, angle_between, invert

PosesOf = Callable[[Session, Played], Poses]


@dataclass(frozen=True, slots=True)
class Together:
    """Of two phones in one world, over the frames of either that share a view with the other."""

    pairs: int
    rms_m: float
    rms_deg: float


def as_answered(session: Session, played: Played) -> Poses:
    """world_from_camera of a phone's frames as they were answered, carried along by where its component lies."""
    return mark_poses(session, played).groups.get(WORLD, {})


def as_mapped(session: Session, played: Played) -> Poses:
    """The same as the map has them in the end: each frame rides, as answered, on the keyframe it came after.

    So trajectories of keyframe-based systems are written, and COLMAP's is adjusted as a whole.
    """
    held = session.map.keyframe_poses()
    keyframes = {m.tracked.seq: m.tracked for m in played.mapped if f"{played.phone.name}/{m.tracked.seq}" in held}
    newest, poses = None, {}
    for tracked in (answer.tracked for answer in played.answers):
        newest = keyframes.get(tracked.seq, newest)
        if newest is None or newest.component != tracked.component:
            continue
        place = session.world_from(played, newest.component, newest.seq)
        own, ridden = newest.component_from_camera, tracked.component_from_camera
        if place is None or own is None or ridden is None:
            continue
        camera = replace(place, rotation=np.eye(3), translation=np.zeros(3)).apply_pose(invert(own) @ ridden)
        poses[tracked.seq] = held[KeyframeId(f"{played.phone.name}/{newest.seq}")] @ camera
    return poses


def apart(
    session: Session, a: Played, b: Played, views: SharedViews, poses_of: PosesOf = as_answered
) -> Together | None:
    """How far two phones are off from each other; None unless both lie in the world and see common things."""
    placed = truth_from_world(session)
    in_a, in_b = (poses_of(session, one) for one in (a, b))
    if placed is None or not in_a or not in_b or not views.knows(a.phone) or not views.knows(b.phone):
        return None
    off_m, off_deg = [], []
    others = sorted(in_a)
    for seq, pose in in_b.items():
        partner, share = views.best(b.phone, seq, a.phone, others)
        truth_a, truth_b = a.phone.true_pose(partner), b.phone.true_pose(seq)
        if share < SHARED or truth_a is None or truth_b is None:
            continue
        mine, true = invert(in_a[partner]) @ pose, invert(truth_a) @ truth_b
        off_m.append(float(np.linalg.norm(placed.scale * mine[:3, 3] - true[:3, 3])))
        off_deg.append(float(np.degrees(angle_between(mine[:3, :3], true[:3, :3]))))
    if not off_m:
        return None
    return Together(len(off_m), rms([np.array(off_m)]) or 0.0, round(float(np.sqrt(np.mean(np.square(off_deg)))), 3))


def joint_ate_m(session: Session) -> float | None:
    """RMS of all phones' positions in the world under one similarity: tracking and merging together."""
    joint: Poses = {}
    truth: Poses = {}
    for index, played in enumerate(session.played):
        for seq, pose in mark_poses(session, played).groups.get(WORLD, {}).items():
            if (known := played.phone.true_pose(seq)) is not None:
                number = index * 1_000_000 + seq
                joint[number], truth[number] = pose, known
    scored = score(joint, truth, 1.0)
    return rms([scored.position_error_m]) if scored is not None else None


def misplaced(session: Session, a: Played, b: Played) -> tuple[float, float] | None:
    """How far the map puts `b` from where it truly is, seen from `a` (metres, degrees); None unless both lie in it.

    For phones that need not share a view. Orientations align the two, as short paths do not.
    """
    in_a, in_b = (mark_poses(session, one).groups.get(WORLD, {}) for one in (a, b))
    from_a, from_b = _upright(in_a, a), _upright(in_b, b)
    if from_a is None or from_b is None:
        return None
    off = [
        float(np.linalg.norm(from_a.apply(pose[:3, 3]) - true[:3, 3]))
        for seq, pose in in_b.items()
        if (true := b.phone.true_pose(seq)) is not None
    ]
    return float(np.median(off)), float(np.degrees(angle_between(from_a.rotation, from_b.rotation)))


def _upright(poses: Poses, played: Played) -> Sim3 | None:
    """truth_from_world by one phone's poses: the turn by its orientations, unit and place by its positions."""
    known = [(pose, true) for seq, pose in poses.items() if (true := played.phone.true_pose(seq)) is not None]
    if len(known) < 3:
        return None
    return align_by_orientation(np.stack([pose for pose, _ in known]), np.stack([true for _, true in known]))
