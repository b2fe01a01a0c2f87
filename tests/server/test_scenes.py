"""Scenes and their cameras: coming, waiting, failing and going."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mapping.engines import Window, WindowPrediction
from mapping.store.scene_store import Store
from server.api.contract import (
    Busy,
    CameraHeightCue,
    Conflict,
    DistanceCue,
    MarkerCue,
    NotFound,
    PosedOptions,
    StreamOptions,
    Unprocessable,
)
from server.load import Config as LoadConfig
from server.scenes import Config
from server.workers.pool import Lane, LaneFull
from server.writer import Writer
from streams.frame import Frame, SceneId, StreamId
from tests.mapping.walking import Phone
from tests.server.filming import MAIN, RGBD, mapped, open_scenes, play


async def test_a_late_map_keeps_the_newest_keyframe_and_every_pose(film: list[Frame], tmp_path: Path) -> None:
    never_late = LoadConfig(in_time_s=600, late_s=1200)  # however slow the machine that runs this
    scenes = await open_scenes(tmp_path, Config(load=never_late))
    stream = await scenes.replay(MAIN, RGBD, play(film), StreamOptions(world="flat"), is_patient=False)
    await stream.ended
    assert stream.counters.frames == len(film)
    assert stream.counters.tracked == len(film)
    assert 1 <= stream.counters.mapped <= stream.counters.keyframes
    await scenes.close()


async def test_a_posed_stream_that_falls_silent_is_ended(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path, Config(posed_silence_s=0.05, max_streams=1))
    stream = await scenes.open_posed(MAIN, PosedOptions())
    with pytest.raises(Busy):
        await scenes.open_posed(MAIN, PosedOptions())
    task = next(t for t in asyncio.all_tasks() if t.get_name() == f"stream {stream}")
    await asyncio.wait_for(asyncio.wait([task]), 30)
    assert scenes.streams() == []
    await scenes.open_posed(MAIN, PosedOptions())
    await scenes.close()


async def test_pictures_that_find_too_many_waiting_may_come_again(tmp_path: Path) -> None:
    async def full(*_: Any, **__: Any) -> WindowPrediction:
        raise LaneFull(Lane.BACKGROUND, 64)

    scenes = await open_scenes(tmp_path)
    scenes._pool = SimpleNamespace(predict=full)  # type: ignore[assignment]
    with pytest.raises(Busy, match="lane is full") as refused:
        await scenes.infer(Window(()))
    assert refused.value.retry_after_s
    await scenes.close()


async def test_a_posed_stream_may_ask_that_every_frame_is_used(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path, Config(posed_wait_s=60))
    name = await scenes.open_posed(MAIN, PosedOptions(world="room", frames="every"))
    stream = scenes._find(MAIN).streams[name]
    for frame in film:
        await scenes.offer_posed(name, replace(frame, stream=name))
    await scenes.end_posed(name)
    await stream.ended
    with pytest.raises(NotFound):
        await scenes.end_posed(name)
    assert (stream.counters.frames, stream.counters.dropped) == (len(film), 0)
    assert stream.counters.mapped == stream.counters.keyframes > 3
    await scenes.close()


async def test_scenes_are_named_counted_and_deleted(tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path, Config(max_scenes=2))
    with pytest.raises(Conflict):
        await scenes.create(MAIN)
    with pytest.raises(Unprocessable):
        await scenes.create(SceneId("../up"))
    await scenes.create(SceneId("second"))
    with pytest.raises(Busy):
        await scenes.create(SceneId("third"))
    assert (tmp_path / "second").is_dir()
    await scenes.delete(SceneId("second"))
    assert not (tmp_path / "second").exists()
    with pytest.raises(NotFound):
        scenes.scene(SceneId("second"))
    await scenes.close()


async def test_a_camera_that_fails_harms_nobody_else(film: list[Frame], tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[Frame]:
        yield film[0]
        raise RuntimeError("the camera fell into the sea")

    scenes = await open_scenes(tmp_path)
    stream = await scenes.replay(MAIN, RGBD, broken(), StreamOptions(), is_patient=True)
    await asyncio.wait_for(stream.ended, 30)
    assert scenes.streams() == []
    assert stream.failure == "RuntimeError: the camera fell into the sea"
    other = await scenes.replay(MAIN, StreamId("b"), play([replace(f, stream=StreamId("b")) for f in film[:2]]),
                                StreamOptions(), is_patient=True)  # fmt: skip
    await other.ended
    assert other.counters.tracked == 2
    await scenes.close()


async def test_a_camera_height_is_taken_only_for_a_camera_that_was_here(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path)
    await mapped(scenes, film[:3])
    with pytest.raises(NotFound, match="zz"):
        await scenes.add_cue(MAIN, CameraHeightCue(kind="camera_height", stream="zz", height_m=1.5))
    await scenes.add_cue(MAIN, CameraHeightCue(kind="camera_height", stream=RGBD, height_m=1.5))
    assert scenes.scene(MAIN).scale_source == "posed"
    await scenes.close()


async def test_a_map_that_came_back_without_scale_learns_it_from_the_next_cue(tmp_path: Path) -> None:
    config = Config()
    with contextlib.closing(Store.open(tmp_path / MAIN, config.each.map.store)) as store:
        writer, phone = Writer(MAIN, config.each.map, store), Phone("a", unit=0.4)
        for pose in phone.poses(4):
            writer.add(*phone.sees(pose), viewers=())
        writer.save("lineage", 10, [])
        store.commit()
    scenes = await open_scenes(tmp_path, config)
    before = scenes.scene(MAIN)
    assert before.scale_source == "none"
    for cue in (CameraHeightCue(kind="camera_height", stream="a", height_m=1.5), MarkerCue(kind="marker", size_m=0.16)):
        await scenes.add_cue(MAIN, cue)  # of use to whoever comes back into it
    distance = DistanceCue(kind="distance", a_m=(0, 0, 0), b_m=(1, 0, 0), distance_m=2.0)
    await scenes.add_cue(MAIN, distance)
    await scenes.settle(MAIN)
    now = scenes.scene(MAIN)
    assert (now.scale_source, now.epoch) == ("distance", before.epoch + 1)
    with pytest.raises(ValueError, match="has its scale"):
        await scenes.add_cue(MAIN, distance)
    await scenes.close()
