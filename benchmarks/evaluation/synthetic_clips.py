"""The synthetic flat as clips in the format of recorded ones: exact truth, rendered once and kept in the cache."""

from __future__ import annotations

import shutil

from benchmarks import synthetic
from benchmarks.clips import Clip

FPS = 15
DEPTH_EVERY = 5


def clips() -> list[Clip]:
    """Both walks through the flat, in one world; rendering them for the first time takes minutes."""
    return [_rendered(walk) for walk in synthetic.walks()]


def _rendered(walk: synthetic.Walk) -> Clip:
    folder = synthetic.cached_path(walk, suffix=".clip", fps=FPS)
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        synthetic.export(synthetic.build(), walk, partial, fps=FPS, depth_every=DEPTH_EVERY)
        partial.replace(folder)
    return Clip.open(folder)
