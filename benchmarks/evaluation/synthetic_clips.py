"""The synthetic flat as clips in the format of recorded ones: exact truth, rendered once and kept in the cache."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks import synthetic

NAME = Path("synthetic")
"""Stands for both walks wherever a command takes clips."""
FPS = 15
DEPTH_EVERY = 5


def folders(clips: Sequence[Path]) -> list[Path]:
    """The folders of clips, `synthetic` replaced by both walks; rendering them for the first time takes minutes."""
    found: list[Path] = []
    for clip in clips:
        found += [_rendered(walk) for walk in synthetic.walks()] if clip == NAME else [clip]
    return found


def _rendered(walk: synthetic.Walk) -> Path:
    folder = synthetic.cached_path(walk, suffix=".clip", fps=FPS)
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        synthetic.export(synthetic.build(), walk, partial, fps=FPS, depth_every=DEPTH_EVERY)
        partial.replace(folder)
    return folder
