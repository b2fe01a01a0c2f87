"""Keyframes that were tracked and inferred before, brought into a fresh map: what costs seconds is done once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.evaluation.session import Mapped, Played
from mapping.places.recogniser import Recogniser
from mapping.scene_map import Config, SceneMap
from streams.frame import Frame

Edit = Callable[[Played, Frame], Frame]


def map_again(played: Sequence[Played], config: Config, edit: Edit = lambda played, frame: frame) -> SceneMap:
    """The map that phones' keyframes make, one phone after the other; `edit` may change the frames on the way."""
    return map_with_places(played, config, edit)[0]


def map_with_places(
    played: Sequence[Played], config: Config, edit: Edit = lambda played, frame: frame
) -> tuple[SceneMap, Recogniser]:
    """The same, and what recognises places in it."""
    scene_map, recogniser = SceneMap(config), Recogniser()
    for one in played:
        for mapped in one.mapped:
            add(scene_map, recogniser, one, mapped, edit)
    while scene_map.status.num_pending:
        scene_map.fuse()
    return scene_map, recogniser


def add(scene_map: SceneMap, recogniser: Recogniser, played: Played, mapped: Mapped, edit: Edit) -> None:
    """One keyframe: the same steps as `benchmarks.offline`."""
    frame = replace(played.phone.frame(mapped.tracked.seq, 0), intrinsics=mapped.tracked.intrinsics)
    frame = edit(played, frame)
    if mapped.tracked.corrected:
        scene_map.correct(mapped.tracked)
    scene_map.observe(mapped.tracked, frame)
    if mapped.prediction is not None or frame.depth is not None:
        scene_map.place(mapped.tracked, frame, mapped.prediction)
        scene_map.fuse()
    scene_map.recognise(recogniser.see(mapped.tracked, frame))
