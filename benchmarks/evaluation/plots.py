"""Pictures of one accuracy run: the path, the error over time with what the tracker said, and the map from above."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.evaluation.poses import WORLD, PoseMarks, truth_from_world
from benchmarks.evaluation.session import Played, Session
from benchmarks.evaluation.surface import true_points, vertices
from benchmarks.trajectory import WRONG_M
from mapping.transforms import F64

_SAID = {"starting": "tab:orange", "lost": "tab:red"}


def plot(path: Path, session: Session, played: Played, marks: PoseMarks) -> None:
    """Write a PNG."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (track, error, top) = pyplot.subplots(1, 3, figsize=(18, 5.5))
    first, second = _ground_axes(played)
    _draw_path(track, played, marks, first, second)
    _draw_error(error, played, marks)
    _draw_map(top, session, played, first, second)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _draw_path(axes: mpl.axes.Axes, played: Played, marks: PoseMarks, first: int, second: int) -> None:
    clip = played.phone.clip
    truth = np.array([clip.truth[i][:3, 3] for i in sorted(clip.truth)]).reshape(-1, 3)
    axes.plot(truth[:, first], truth[:, second], color="0.6", label="truth")
    for group, s in marks.scored.items():
        mine = np.array([s.world_from_component.apply(p[:3, 3]) for p in marks.groups[group].values()])
        axes.plot(mine[:, first], mine[:, second], ".", markersize=2, label=f"{_name(group)} ({len(mine)} frames)")
    axes.set(title="path, from above", xlabel=f"{'xyz'[first]} (m)", ylabel=f"{'xyz'[second]} (m)")
    axes.set_aspect("equal", "datalim")
    axes.legend()


def _draw_error(axes: mpl.axes.Axes, played: Played, marks: PoseMarks) -> None:
    for group, s in marks.scored.items():
        axes.plot(s.frames, s.position_error_m, ".", markersize=3, label=_name(group))
    for state, colour in _SAID.items():
        frames = [a.tracked.seq for a in played.answers if a.tracked.state == state]
        if frames:
            axes.plot(frames, np.zeros(len(frames)), "|", color=colour, label=f"{state} ({len(frames)})")
    axes.axhline(WRONG_M, color="0.8", linestyle="--")
    axes.set(title="position error after Sim(3) (m); above the dashes it is wrong", xlabel="frame")
    axes.legend()


def _draw_map(axes: mpl.axes.Axes, session: Session, played: Played, first: int, second: int) -> None:
    truth, place = true_points(session), truth_from_world(session)
    if len(truth):
        axes.plot(truth[:, first], truth[:, second], ",", color="0.75")
    if place is not None and len(found := vertices(session.map.voxels)):
        mine = place.apply(found.astype(np.float64))
        axes.plot(mine[:, first], mine[:, second], ",", color="tab:green")
    axes.set(title="fused surface (green) on the sensor's points (grey), from above", xlabel=f"{'xyz'[first]} (m)")
    axes.set_aspect("equal", "datalim")


def _name(group: int) -> str:
    return "world" if group == WORLD else f"component {group}"


def _ground_axes(played: Played) -> tuple[int, int]:
    """The two axes of the truth's world that lie flattest: across up where it is known, else where the path is wide."""
    clip = played.phone.clip
    if clip.up_world is not None:
        order = np.argsort(np.abs(clip.up_world))
    else:
        path: F64 = np.array([pose[:3, 3] for pose in clip.truth.values()]).reshape(-1, 3)
        order = np.argsort(-np.ptp(path, axis=0)) if len(path) else np.arange(3)
    a, b = sorted(order[:2].tolist())
    return int(a), int(b)
