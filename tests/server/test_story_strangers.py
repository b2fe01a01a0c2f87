"""The story with cameras that come into a world that is there: who is recognised joins it, who is not is told so."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from mapping.store.scene_store import Config as StoreConfig
from mapping.store.scene_store import Store
from server.api.contract import StreamOptions
from server.live import LiveStream
from server.scenes import Config, Scenes
from streams.frame import Frame, Image, StreamId
from tests.server.filming import MAIN, RGBD, mapped, open_scenes, play


def unmarked() -> Config:
    """Of scenes that do not look for the marker on the flat's wall, which puts everybody who saw it into one world."""
    return Config.model_validate({"each": {"map": {"map": {"marker": {"search": False}}}}})


async def a_stranger_films(scenes: Scenes, film: list[Frame]) -> LiveStream:
    """To the end, by a camera whose poses mean nothing in the world that is there."""
    name = StreamId("stranger")
    frames = play([replace(frame, stream=name) for frame in film])
    stream = await scenes.replay(MAIN, name, frames, StreamOptions(world="elsewhere"), is_patient=True)
    await stream.ended
    return stream


async def test_a_stranger_who_sees_known_ground_is_recognised_and_joins(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path, unmarked())
    await mapped(scenes, film)
    before = scenes.scene(MAIN)
    stream = await a_stranger_films(scenes, film)
    assert stream.counters.state == "tracked"
    assert stream.world_from_camera is not None
    np.testing.assert_allclose(stream.world_from_camera, film[-1].pose.world_from_camera, atol=0.02)
    assert scenes.scene(MAIN).epoch > before.epoch
    await scenes.close()


async def test_after_a_restart_who_sees_known_ground_is_recognised_and_joins(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path, unmarked())
    await mapped(scenes, film)
    await scenes.close()
    scenes = await open_scenes(tmp_path, unmarked())
    stream = await a_stranger_films(scenes, film)
    assert stream.counters.state == "tracked"
    assert stream.world_from_camera is not None
    np.testing.assert_allclose(stream.world_from_camera, film[-1].pose.world_from_camera, atol=0.02)
    await scenes.delete_stream(RGBD)
    await scenes.close()
    with contextlib.closing(Store.open(tmp_path / MAIN, StoreConfig())) as store:
        streams = {place.stream for place in store.load().places.values()}
    assert streams == {"stranger"}


async def test_a_stranger_without_a_place_in_the_world_is_told_so_and_maps_nothing(
    film: list[Frame], tmp_path: Path
) -> None:
    scenes = await open_scenes(tmp_path, unmarked())
    watcher = await mapped(scenes, film)
    blocks = scenes.scene(MAIN).num_keyframes
    wall = Image(rgb=np.full_like(film[0].image.rgb, 200))  # nothing in it that could be recognised
    stream = await a_stranger_films(scenes, [replace(frame, image=wall) for frame in film])
    assert stream.counters.state == "unaligned"
    assert not any(layer == "points" and str(key[0]).startswith("stranger") for layer, key in watcher.entries)
    assert blocks > 0
    await scenes.close()


async def test_a_stranger_joins_by_the_marker_that_both_saw(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path)
    await mapped(scenes, film)
    stranger = [replace(frame, stream=StreamId("stranger")) for frame in film]
    stream = await scenes.replay(
        MAIN, StreamId("stranger"), play(stranger), StreamOptions(world="elsewhere"), is_patient=True
    )
    await stream.ended
    assert stream.counters.state == "tracked"
    assert scenes.scene(MAIN).scale_source == "posed"
    seen = stranger[-1].pose
    assert seen is not None
    assert stream.world_from_camera is not None
    assert np.linalg.norm(stream.world_from_camera[:3, 3] - seen.world_from_camera[:3, 3]) < 0.1
    await scenes.close()
