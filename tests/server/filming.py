"""A posed camera films the synthetic flat into real scenes, and what the bus then says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import synthetic
from server.api.contract import StreamOptions
from server.bus.bus import Bus
from server.bus.channel import Entry, Move
from server.protocol import unpack_server
from server.scenes import Config, Scenes
from server.workers.pool import Config as PoolConfig
from server.workers.pool import Pool
from streams.frame import DepthMap, Frame, GivenPose, Image, SceneId, StreamId

MAIN = SceneId("main")

RGBD = StreamId("rgbd")

PERIOD_NS = 200_000_000


def make_film() -> list[Frame]:
    """A walk along the middle of one room with exact poses and depth, looking ahead and down."""
    flat = synthetic.build()
    walk = synthetic.walks()[0]
    small = synthetic.INTRINSICS.scaled(320, 240)
    frames = []
    for i in range(14):
        world_from_camera = walk.at(i * 0.5)
        view = flat.render(world_from_camera, small)
        depth = DepthMap(view.depth_m, small)
        pose = GivenPose(world_from_camera)
        at_ns = 10**18 + i * PERIOD_NS
        frames.append(Frame(RGBD, i, at_ns, at_ns, Image(rgb=view.rgb), small, pose=pose, depth=depth))
    return frames


@dataclass(eq=False)
class Watcher:
    """A listener that notes what the channel says."""

    entries: dict[tuple[str, Any], Entry]
    durable: list[int]

    def on_entry(self, entry: Entry) -> None:
        self.entries[entry.layer, entry.key] = entry

    def on_move(self, move: Move) -> None:
        self.entries.clear()

    def on_event(self, frame: bytes) -> None:
        message, _ = unpack_server(frame)
        if getattr(message, "name", "") == "durable":
            self.durable.append(message.data["seq"])  # type: ignore[union-attr]


async def play(frames: list[Frame]) -> AsyncIterator[Frame]:
    for frame in frames:
        yield frame


async def open_scenes(folder: Path, config: Config | None = None) -> Scenes:
    """Scenes whose pool never starts: frames with depth need no engine."""
    scenes = Scenes(config or Config(), folder, Pool(PoolConfig(), "classical"), Bus())
    await scenes.start(MAIN)
    return scenes


async def mapped(scenes: Scenes, film: list[Frame]) -> Watcher:
    channel = scenes.bus.find(MAIN)
    assert channel is not None
    watcher = Watcher({}, [])
    channel.listen(watcher)
    stream = await scenes.replay(MAIN, RGBD, play(film), StreamOptions(world="flat"), is_patient=True)
    await stream.ended
    await scenes.settle(MAIN)
    return watcher
