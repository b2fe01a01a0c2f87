"""A picture of one accuracy run: the path from above, and the error over time with what the tracker said."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.evaluation.poses import WORLD, PoseMarks
from benchmarks.evaluation.session import Played
from benchmarks.trajectory import WRONG_M
from mapping.transforms import F64

_COLOURS = {"starting": "tab:orange", "lost": "tab:red"}


def plot(path: Path, played: Played, marks: PoseMarks) -> None:
    """Write a PNG."""
    mpl.use("Agg")
    from matplotlib import pyplot

    clip = played.phone.clip
    figure, (above, over_time) = pyplot.subplots(1, 2, figsize=(14, 6))
    truth = np.array([clip.truth[i][:3, 3] for i in sorted(clip.truth)]).reshape(-1, 3)
    first, second = _widest_axes(truth)
    above.plot(truth[:, first], truth[:, second], color="0.6", label="truth")
    for group, s in marks.scored.items():
        name = "world" if group == WORLD else f"component {group}"
        mine = np.array([s.world_from_component.apply(p[:3, 3]) for p in marks.groups[group].values()])
        above.plot(mine[:, first], mine[:, second], ".", markersize=2, label=f"{name} ({len(mine)} frames)")
        over_time.plot(s.frames, s.position_error_m, ".", markersize=3, label=name)
    for state, colour in _COLOURS.items():
        frames = [a.tracked.seq for a in played.answers if a.tracked.state == state]
        if frames:
            over_time.plot(frames, np.zeros(len(frames)), "|", color=colour, label=f"{state} ({len(frames)})")
    over_time.axhline(WRONG_M, color="0.8", linestyle="--")
    axes = "xyz"
    above.set(title=f"{clip.name}: the path", xlabel=f"{axes[first]} (m)", ylabel=f"{axes[second]} (m)", aspect="equal")
    over_time.set(title="position error after Sim(3)", xlabel="frame", ylabel="m")
    above.legend()
    over_time.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _widest_axes(points: F64) -> tuple[int, int]:
    """The two world axes along which the path is widest."""
    order = np.argsort(-np.ptp(points, axis=0)) if len(points) else np.arange(3)
    a, b = sorted(order[:2].tolist())
    return int(a), int(b)
