"""One run on paper: trajectories for evo (TUM format), a plot per clip, and a page with all of it, pictures inlined."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evaluation.plots import plot
from benchmarks.evaluation.poses import WORLD, PoseMarks
from benchmarks.evaluation.result import Figures
from benchmarks.evaluation.session import Played, Session
from benchmarks.trajectory import write_tum

_HEADLINES = {
    "coverage": "frames posed",
    "wrong_pose_rate": "wrong",
    "ate_sim3_m": "ATE Sim(3), m",
    "ate_se3_m": "ATE SE(3), m",
    "components": "maps",
    "pose_latency_ms_p95": "pose p95, ms",
    "depth_absrel": "depth AbsRel",
    "depth_within_10pct": "depth within 10 %",
    "surface_within_10cm": "surface within 10 cm",
    "gravity_picture_deg": "up off, deg",
    "cpu_ms_per_frame": "CPU, ms a frame",
    "rss_mb": "memory, MB",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .7em; border-bottom: 1px solid #ddd }
td { text-align: right; font-variant-numeric: tabular-nums } td:first-child { text-align: left }
img { width: 100%; min-width: 52em } .scroll { overflow-x: auto } .all { columns: 3 20em; font-size: 13px } .all b { color: #777; font-weight: 400 }
@media (prefers-color-scheme: dark) { body { background: #181a1b; color: #ddd } td, th { border-color: #444 } img { filter: brightness(.9) } }
"""  # noqa: E501


def save(folder: Path, session: Session, played: Played, marks: PoseMarks, figures: Figures) -> None:
    """Write one clip's aligned trajectories, its truth, its plot and its figures."""
    folder.mkdir(parents=True, exist_ok=True)
    clip, name = played.phone.clip, figures["clip"]
    write_tum(folder / f"{name}_truth.tum", clip.truth, clip.fps)
    for group, scored in marks.scored.items():
        aligned = {seq: scored.world_from_component.apply_pose(p) for seq, p in marks.groups[group].items()}
        write_tum(folder / f"{name}_{'world' if group == WORLD else group}.tum", aligned, clip.fps)
    plot(folder / f"{name}.png", session, played, marks)
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=1))


def write_page(folder: Path, runs: Sequence[Figures]) -> Path:
    """Write index.html: a table of all clips, then each clip with its plot and every figure."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in _HEADLINES.values())
    rows = "".join(
        f"<tr><td>{html.escape(run['clip'])}</td>" + "".join(f"<td>{_shown(run.get(key))}</td>" for key in _HEADLINES)
        for run in runs
    )
    path = folder / "index.html"
    path.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Accuracy</title><style>{_STYLE}</style><h1>Accuracy</h1>"
        f"<div class=scroll><table><tr><th>clip</th>{head}</tr>{rows}</table></div>"
        + "".join(_section(folder, run) for run in runs)
    )
    return path


def _section(folder: Path, run: Figures) -> str:
    name = html.escape(run["clip"])
    picture = base64.b64encode((folder / f"{run['clip']}.png").read_bytes()).decode()
    peers = "".join(f"<p>{html.escape(json.dumps(peer))}</p>" for peer in run.get("peers", ()))
    every = "".join(
        f"<div><b>{html.escape(key)}</b> {_shown(value)}</div>" for key, value in run.items() if key != "peers"
    )
    return (
        f"<h2>{name}</h2><div class=scroll>"
        f"<img alt='path, error over time and map of {name}' src='data:image/png;base64,{picture}'></div>"
        f"{peers}<details open><summary>every figure</summary><div class=all>{every}</div></details>"
    )


def _shown(value: object) -> str:
    return "–" if value is None else html.escape(str(value))
