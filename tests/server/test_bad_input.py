"""What odd cameras send, through the whole story: the map goes on, and nothing is worse than a lost frame."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import synthetic
from mapping import engines
from mapping.engines import Window, WindowPrediction
from server.api.contract import StreamOptions
from server.bus.bus import Bus
from server.scenes import Config, Scenes
from streams.frame import DepthMap, Frame, GivenPose, Image, Intrinsics, SceneId, StreamId
from tests.mapping.painted_room import CAMERA, PaintedRoom, frame, walk
from tests.server.fakes import served

MAIN = SceneId("main")
DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def film() -> list[Frame]:
    """A walk with exact poses and depth."""
    flat, track = synthetic.build(), synthetic.walks()[0]
    small = synthetic.INTRINSICS.scaled(160, 120)
    frames = []
    for i in range(10):
        pose = track.at(i * 0.5)
        view = flat.render(pose, small)
        at_ns, depth = 2 * 10**18 + i * 2 * 10**8, DepthMap(view.depth_m, small)
        frames.append(Frame(StreamId("rgbd"), i, at_ns, at_ns, Image(rgb=view.rgb), small, GivenPose(pose), depth))
    return frames


class PoolOfOne:
    """The classical engine in a thread of this process."""

    def __init__(self) -> None:
        self._engine = engines.create("classical", {})
        self._engine.warm_up()
        self.windows, self.provenance = engines.windows("classical"), dict[str, str]()
        self.asked: list[Window] = []

    async def predict(self, stream: StreamId, window: Window, deadline_s: float | None = None) -> WindowPrediction:
        self.asked.append(window)
        return await asyncio.to_thread(self._engine.predict, window)


async def film_through(tmp_path: Path, pool: Any, frames: list[Frame], options: StreamOptions) -> Any:
    """Play frames into a scene; its stream, and how many keyframes are on the map."""

    async def play() -> Any:
        for one in frames:
            yield one

    scenes = Scenes(Config(), tmp_path, pool, Bus())
    await scenes.start(MAIN)
    stream = await scenes.replay(MAIN, frames[0].stream, play(), options, is_patient=True)
    await asyncio.wait_for(stream.ended, 120)
    await scenes.settle(MAIN)
    summary = scenes.scene(MAIN)
    await scenes.close()
    return stream, summary


async def test_a_camera_may_change_its_size_and_turn_while_it_films(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    room, truth = PaintedRoom(), walk(120)
    upright = Intrinsics(CAMERA.fy, CAMERA.fx, CAMERA.cy, CAMERA.cx, CAMERA.height, CAMERA.width)
    larger = CAMERA.scaled(640, 480)
    parts = [(0, CAMERA), (50, larger), (75, upright), (100, CAMERA.scaled(160, 120))]
    frames = []
    for i, pose in enumerate(truth):
        camera = next(camera for first, camera in reversed(parts) if i >= first)
        frames.append(frame(room.render(pose, camera), i, camera=camera))
    pool = PoolOfOne()
    with caplog.at_level(logging.INFO):
        stream, summary = await film_through(tmp_path, pool, frames, StreamOptions())
    assert stream.failure is None
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert stream.counters.frames == len(frames)
    assert stream.counters.tracked > 80
    assert summary.num_keyframes >= 4
    sizes = [{view.rgb.shape[:2] for view in window.views} for window in pool.asked]
    assert max(map(len, sizes)) > 1, "no window saw two sizes: the test would show nothing"
    assert stream.counters.mapped == stream.counters.keyframes


@pytest.mark.parametrize("jump_ns", [-(10**18), -3600 * 10**9, 365 * DAY_NS])
async def test_clocks_may_jump_while_it_films(
    film: list[Frame], tmp_path: Path, caplog: pytest.LogCaptureFixture, jump_ns: int
) -> None:
    late = [replace(f, capture_ns=f.capture_ns + jump_ns, received_ns=f.received_ns + jump_ns) for f in film[5:]]
    frames = [*film[:5], *late]
    frames[7] = replace(frames[7], capture_ns=frames[6].capture_ns)  # and one stands still
    pool = PoolOfOne()
    with caplog.at_level(logging.INFO):
        stream, summary = await film_through(tmp_path, pool, frames, StreamOptions(world="flat"))
    assert stream.failure is None
    assert not pool.asked, "frames that bring their depth need no engine"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert stream.counters.tracked == len(frames)
    assert summary.num_keyframes >= 4
    assert stream.counters.mapped == stream.counters.keyframes


async def test_8k_and_empty_pictures_are_refused_at_once(tmp_path: Path) -> None:
    meta = {
        "world_from_camera": {"t": [0, 0, 0], "q_wxyz": [1, 0, 0, 0]},
        "intrinsics": {"fx": 7000, "fy": 7000, "cx": 3840, "cy": 2160, "width": 7680, "height": 4320},
    }
    huge = cv2.imencode(".jpg", np.zeros((4320, 7680, 3), np.uint8))[1].tobytes()
    async with served(tmp_path) as server:
        opened = await server.http.post("/v1/scenes/main/streams")
        address = opened.json()["frames"]
        for picture, says in ((huge, "at most"), (b"", "empty")):
            files = {"image": ("a.jpg", io.BytesIO(picture)), "meta": ("m.json", json.dumps(meta).encode())}
            began = time.process_time()
            answer = await server.http.post(address, files=files)
            assert answer.status_code in (400, 413, 422)
            assert answer.headers["content-type"] == "application/problem+json"
            assert says in answer.json()["detail"]
            assert time.process_time() - began < 1.0
        assert sum(map(len, server.scenes.posed.values())) == 0
