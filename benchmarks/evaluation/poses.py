"""Marks for the poses that phones were told, group by group: a group is what shares a frame, the map's world or a
component that never came to lie in it. Each group is aligned to the truth on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.evaluation.session import Played, Poses, Session
from benchmarks.trajectory import Scored, align_by_orientation, score
from mapping.transforms import F64, Sim3, orthonormal

WORLD = -1
"""The group of everything that lies in the map's world; others have their component's number."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseMarks:
    """Of one phone."""

    groups: dict[int, Poses]
    """Poses as answered, carried into the world by the place that the component had around that frame in the end."""
    scored: dict[int, Scored]

    @property
    def largest(self) -> Scored | None:
        return max(self.scored.values(), key=lambda s: len(s.frames), default=None)

    @property
    def num_posed(self) -> int:
        return sum(len(poses) for poses in self.groups.values())

    @property
    def num_scored(self) -> int:
        return sum(len(s.frames) for s in self.scored.values())


def mark_poses(session: Session, played: Played) -> PoseMarks:
    """Compare what a phone was told with the truth."""
    groups: dict[int, Poses] = {}
    for answer in played.answers:
        tracked = answer.tracked
        if tracked.component_from_camera is None:
            continue
        world = session.world_from(played, tracked.component, tracked.seq)
        pose = tracked.component_from_camera
        group, pose = (tracked.component, pose) if world is None else (WORLD, world.apply_pose(pose))
        groups.setdefault(group, {})[tracked.seq] = pose
    clip = played.phone.clip
    scored = {g: s for g, poses in groups.items() if (s := score(poses, clip.truth, clip.fps)) is not None}
    return PoseMarks(groups, scored)


def mark_kept(session: Session, played: Played) -> Scored | None:
    """A phone's keyframes as the map holds them in the end, corrections included: what others call a trajectory."""
    prefix = f"{played.phone.name}/"
    kept = {
        int(key.removeprefix(prefix)): pose
        for key, pose in session.map.keyframe_poses().items()
        if key.startswith(prefix)
    }
    clip = played.phone.clip
    return score(kept, clip.truth, clip.fps)


def truth_from_world(session: Session) -> Sim3 | None:
    """The similarity that brings the map's world onto the truth, by the keyframes of all phones; None if too few.

    Turned by orientations: a path of a few metres whose truth is good to 5 cm leaves the turn open to several degrees.
    """
    mine, true = _cameras(session)
    return align_by_orientation(mine, true) if len(mine) >= 3 else None


def truth_up_error_deg(session: Session, up_truth: F64) -> float | None:
    """How far the map's up (+Y) is off, by the cameras' orientations: their mean is sharper than any path's."""
    mine, true = _cameras(session)
    if len(mine) < 3:
        return None
    turn = orthonormal(np.einsum("nij,nkj->ik", true[:, :3, :3], mine[:, :3, :3]))
    return float(np.degrees(np.arccos(np.clip(turn[:, 1] @ up_truth, -1.0, 1.0))))


def _cameras(session: Session) -> tuple[F64, F64]:
    """Keyframes in the world (n, 4, 4), and where they truly were."""
    truth = {str(p.phone.name): p.phone for p in session.played}
    mine, true = [], []
    for key, pose in session.map.keyframe_poses().items():
        stream, _, seq = key.rpartition("/")
        known = truth[stream].true_pose(int(seq))
        if known is not None:
            mine.append(pose)
            true.append(known)
    return np.array(mine).reshape(-1, 4, 4), np.array(true).reshape(-1, 4, 4)
