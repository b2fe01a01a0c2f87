"""A trajectory against its truth: alignment, errors, and the TUM format that evo reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mapping.transforms import F64, Sim3, angle_between, invert, orthonormal, quat_from_rotation, umeyama

WRONG_M, WRONG_DEG = 0.3, 10.0
"""A pose further off than either, after alignment, is wrong."""

_STRAIGHT = 0.15  # ratio of the second to the first extent below which positions alone do not fix the orientation


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One component of a trajectory, aligned to the truth."""

    frames: tuple[int, ...]
    world_from_component: Sim3
    position_error_m: F64  # (n,) after Sim(3)
    rotation_error_deg: F64  # (n,) after the turn that fits the orientations best: a path's own turn is less sure
    position_error_se3_m: F64  # (n,) after SE(3): scale left as the component has it
    rpe_m: F64  # (m,) translation error of the motion over one second

    @property
    def wrong(self) -> int:
        return int(np.count_nonzero((self.position_error_m > WRONG_M) | (self.rotation_error_deg > WRONG_DEG)))


def score(poses: dict[int, F64], truth: dict[int, F64], frames_per_second: float) -> Scored | None:
    """Align component_from_camera poses (4, 4) by frame number to world_from_camera truth; None under 3 in common."""
    frames = tuple(sorted(set(poses) & set(truth)))
    if len(frames) < 3:
        return None
    mine = np.stack([poses[i] for i in frames])
    true = np.stack([truth[i] for i in frames])
    sim3 = align(mine, true, with_scale=True)
    se3 = align(mine, true, with_scale=False)
    error = np.linalg.norm(sim3.apply(mine[:, :3, 3]) - true[:, :3, 3], axis=1)
    metric = np.linalg.norm(se3.apply(mine[:, :3, 3]) - true[:, :3, 3], axis=1)
    turn = align_by_orientation(mine, true).rotation
    turned = [np.degrees(angle_between(turn @ a[:3, :3], b[:3, :3])) for a, b in zip(mine, true, strict=True)]
    return Scored(
        frames, sim3, error, np.array(turned), metric, _relative(poses, truth, frames, frames_per_second, sim3.scale)
    )


def align(mine: F64, true: F64, *, with_scale: bool) -> Sim3:
    """The similarity (or rigid motion) that brings poses (n, 4, 4) onto true ones.

    By positions (Umeyama), as the field does it; a nearly straight path leaves the turn about itself open, and there
    the cameras' own orientations fix it.
    """
    a, b = mine[:, :3, 3], true[:, :3, 3]
    extent = np.linalg.svd(b - b.mean(0), compute_uv=False)
    if len(a) >= 6 and extent[1] > _STRAIGHT * extent[0]:
        return umeyama(a, b, with_scale=with_scale)
    return align_by_orientation(mine, true, with_scale=with_scale)


def align_by_orientation(mine: F64, true: F64, *, with_scale: bool = True) -> Sim3:
    """The same, turned as the cameras' orientations say: sharper than positions where the path is short or straight."""
    a, b = mine[:, :3, 3], true[:, :3, 3]
    rotation = orthonormal(np.einsum("nij,nkj->ik", true[:, :3, :3], mine[:, :3, :3]))
    centred = (a - a.mean(0)) @ rotation.T
    scale = float(np.sum(centred * (b - b.mean(0))) / max(np.sum(centred * centred), 1e-12)) if with_scale else 1.0
    return Sim3(scale, rotation, b.mean(0) - scale * rotation @ a.mean(0))


def _relative(
    poses: dict[int, F64], truth: dict[int, F64], frames: Iterable[int], frames_per_second: float, scale: float
) -> F64:
    step = max(1, round(frames_per_second))
    errors = []
    for i in frames:
        if i + step in poses and i + step in truth:
            mine = (invert(poses[i]) @ poses[i + step])[:3, 3] * scale
            errors.append(float(np.linalg.norm(mine - (invert(truth[i]) @ truth[i + step])[:3, 3])))
    return np.array(errors)


def write_tum(path: Path, poses: dict[int, F64], fps: float) -> None:
    """Write `t tx ty tz qx qy qz qw`, one line a frame, in seconds."""
    lines = ["# timestamp_s tx ty tz qx qy qz qw   (world_from_camera, OpenCV camera axes)"]
    for i in sorted(poses):
        w, x, y, z = quat_from_rotation(poses[i][:3, :3])
        tx, ty, tz = poses[i][:3, 3]
        lines.append(f"{i / fps:.6f} {tx:.6f} {ty:.6f} {tz:.6f} {x:.7f} {y:.7f} {z:.7f} {w:.7f}")
    path.write_text("\n".join(lines) + "\n")
