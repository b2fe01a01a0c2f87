"""Frames that were answered before the map could tell where they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mapping.tracking.tracked import Backfilled, Tracked
from mapping.transforms import Sim3, exp_so3, rigid
from server.api.contract import StreamOptions
from server.bus.bus import Bus
from server.bus.channel import Entry, Move
from server.late import EVENT, Late
from server.protocol import unpack_server
from server.scenes import Config, Scenes
from server.workers.pool import Config as PoolConfig
from server.workers.pool import Pool
from streams.datachannel import LatePoses, PoseAnswer, write_message
from streams.frame import Frame, Intrinsics, SceneId, StreamId
from tests.mapping.painted_room import PaintedRoom, frame, walk

CAMERA = Intrinsics(500, 500, 320, 240, 640, 480)
WORLD = Sim3(2.0, exp_so3(np.array([0.0, 0.5, 0.0])), np.array([1.0, 0.0, -1.0]))


def tracked(seq: int, *, component: int = 0, backfilled: tuple[Backfilled, ...] = ()) -> Tracked:
    """What the tracker says of a posed frame."""
    return Tracked(StreamId("s"), seq, seq, "tracked", component, np.eye(4), CAMERA, backfilled=backfilled)


def early() -> tuple[Backfilled, ...]:
    """Two frames that waited."""
    return tuple(Backfilled(seq, 10**18 + seq, rigid(np.eye(3), np.array([0.1 * seq, 0, 0]))) for seq in (3, 4))


def test_the_phone_hears_at_once_in_its_own_frame_and_everybody_when_it_is_aligned() -> None:
    late = Late()
    news = late.for_phone(tracked(5, backfilled=early()), None)
    assert news is not None
    assert not news.is_aligned
    assert [pose.capture_ns for pose in news.poses] == ["1000000000000000003", "1000000000000000004"]
    assert news.poses[1].world_from_camera.t == (0.4, 0.0, 0.0)
    assert late.for_all(tracked(5), None) is None
    assert late.for_phone(tracked(6), None) is None
    poses = late.for_all(tracked(7), WORLD)
    assert poses is not None
    assert [pose["frame"] for pose in poses] == [3, 4]
    np.testing.assert_allclose(poses[1]["t"], WORLD.apply(np.array([[0.4, 0.0, 0.0]]))[0], atol=1e-5)
    assert late.for_all(tracked(8), WORLD) is None, "told once"


def test_a_phone_that_is_aligned_already_hears_in_the_world() -> None:
    news = Late().for_phone(tracked(5, backfilled=early()), WORLD)
    assert news is not None
    assert news.is_aligned
    np.testing.assert_allclose(news.poses[0].world_from_camera.t, WORLD.apply(np.array([[0.3, 0, 0]]))[0], atol=1e-5)


def test_poses_of_a_component_that_was_left_are_not_told_as_another_ones() -> None:
    late = Late()
    late.for_phone(tracked(5, component=1, backfilled=early()), None)
    assert late.for_all(tracked(6, component=0), WORLD) is None
    assert late.for_all(tracked(7, component=1), WORLD) is not None


def test_all_a_tracker_can_remember_fits_one_message() -> None:
    many = tuple(Backfilled(seq, 10**18 + seq, rigid(np.eye(3), np.full(3, -1234.56789))) for seq in range(40))
    news = Late().for_phone(tracked(40, backfilled=many), None)
    assert news is not None
    assert len(write_message(news)) < 8192


class Ear:
    """A listener that hears of late poses."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def on_entry(self, entry: Entry) -> None:
        pass

    def on_move(self, move: Move) -> None:
        pass

    def on_event(self, frame: bytes) -> None:
        message, _ = unpack_server(frame)
        if getattr(message, "name", "") == EVENT:
            self.heard.append(message.data)  # type: ignore[union-attr]


async def test_a_scene_tells_the_phone_after_its_first_pose_and_everybody_in_the_world(tmp_path: Path) -> None:
    room, told, ear, begins = PaintedRoom(seed=3), list[object](), Ear(), asyncio.Event()

    async def film() -> AsyncIterator[Frame]:
        await begins.wait()
        for seq, pose in enumerate(walk(60)[:30]):
            yield replace(frame(room.render(pose), seq), stream=StreamId("s"))

    main = SceneId("main")
    bus = Bus()
    scenes = Scenes(Config(), tmp_path / "scenes", Pool(PoolConfig(), "classical"), bus)
    await scenes.start(main)
    channel = bus.find(main)
    assert channel is not None
    channel.listen(ear)
    stream = await scenes.replay(main, StreamId("s"), film(), StreamOptions(), is_patient=True)
    stream.send = told.append
    begins.set()
    await stream.ended
    await scenes.close()

    assert stream.failure is None
    (late,) = [message for message in told if isinstance(message, LatePoses)]
    before = [m for m in told[: told.index(late)] if isinstance(m, PoseAnswer)]
    assert before[-1].state == "tracked"
    assert [pose.capture_ns for pose in late.poses] == [m.capture_ns for m in before[:-1]]
    assert stream.counters.late == len(late.poses) > 0
    (news,) = ear.heard
    assert news["stream"] == "s"
    assert [pose["frame"] for pose in news["poses"]] == list(range(len(late.poses)))
