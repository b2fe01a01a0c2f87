"""A picture of a long session: what frames and keyframes cost, and what is held, minute by minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot  # before anything is measured: it weighs 45 MB


def plot(path: Path, title: str, minutes: Sequence[Mapping[str, float]]) -> None:
    """Write a PNG of `long_run.Minute`s as plain values."""
    figure, panes = pyplot.subplots(2, 3, figsize=(15, 7), sharex=True)
    shown = {
        "keyframe_cpu_ms": "CPU ms a keyframe",
        "frame_cpu_ms": "CPU ms to pose a frame",
        "rss_mb": "memory, all processes (MB)",
        "kept": "keyframes kept",
        "blocks": "voxel blocks",
        "disk_mb": "disk (MB)",
    }
    at = [minute["minute"] for minute in minutes]
    for pane, (key, what) in zip(panes.flat, shown.items(), strict=True):
        pane.plot(at, [minute[key] for minute in minutes], ".-")
        pane.set(title=what, ylim=(0, None))
        pane.grid(alpha=0.3)
    for pane in panes[-1]:
        pane.set_xlabel("minute")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
