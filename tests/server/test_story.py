"""The story with real parts: posed frames of the synthetic flat in, tiles on the bus and on the disk out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh

from benchmarks import synthetic
from mapping.store.scene_store import Config as StoreConfig
from mapping.store.scene_store import Store
from server.api.contract import Busy, CameraHeightCue, Conflict, NotFound, PosedOptions, StreamOptions, Unprocessable
from server.api.queries_contract import NearestAnswer, NearestQuestion
from server.bus.bus import Bus
from server.bus.channel import Entry, Move
from server.live import LiveStream
from server.protocol import Delta, unpack_server
from server.scenes import Config, Scenes
from server.workers.pool import Config as PoolConfig
from server.workers.pool import Pool
from streams.frame import DepthMap, Frame, GivenPose, Image, SceneId, StreamId

MAIN = SceneId("main")
RGBD = StreamId("rgbd")
PERIOD_NS = 200_000_000


@pytest.fixture(scope="module")
def film() -> list[Frame]:
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


def unmarked() -> Config:
    """Of scenes that do not look for the marker on the flat's wall, which puts everybody who saw it into one world."""
    return Config.model_validate({"each": {"map": {"map": {"marker": {"search": False}}}}})


async def mapped(scenes: Scenes, film: list[Frame]) -> Watcher:
    channel = scenes.bus.find(MAIN)
    assert channel is not None
    watcher = Watcher({}, [])
    channel.listen(watcher)
    stream = await scenes.replay(MAIN, RGBD, play(film), StreamOptions(world="flat"), is_patient=True)
    await stream.ended
    await scenes.settle(MAIN)
    return watcher


async def a_stranger_films(scenes: Scenes, film: list[Frame]) -> LiveStream:
    """To the end, by a camera whose poses mean nothing in the world that is there."""
    name = StreamId("stranger")
    frames = play([replace(frame, stream=name) for frame in film])
    stream = await scenes.replay(MAIN, name, frames, StreamOptions(world="elsewhere"), is_patient=True)
    await stream.ended
    return stream


def num_surface_triangles(path: Path) -> int:
    """Of the object `map` alone: OBJ and GLB hold the NavMesh beside it."""
    if path.suffix == ".obj":
        return path.read_text().partition("\no navmesh")[0].count("\nf ")
    loaded = trimesh.load(path, process=False)
    return len((loaded.geometry["map"] if isinstance(loaded, trimesh.Scene) else loaded).faces)


async def test_frames_become_tiles_paths_and_files(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path / "scenes")
    watcher = await mapped(scenes, film)
    layers = {layer for layer, _ in watcher.entries}
    assert {"points", "mesh", "nav", "occluder"} <= layers
    summary = scenes.scene(MAIN)
    assert summary.scale_source == "posed"
    assert summary.num_keyframes >= 3
    standing = [frame.pose.world_from_camera[:3, 3] for frame in film if frame.pose is not None]
    below = (float(standing[-1][0]), 0.0, float(standing[-1][2]))
    (floor,) = (await scenes.ask(MAIN, [NearestQuestion(point=below)], None)).answers
    assert isinstance(floor, NearestAnswer)
    assert floor.point_m is not None
    assert abs(floor.point_m[1]) < 0.15
    surfaces = set()
    for suffix in ("ply", "glb", "obj"):
        out = tmp_path / f"map.{suffix}"
        await scenes.export(MAIN, out)
        assert out.stat().st_size > 10_000
        surfaces.add(num_surface_triangles(out))
    assert len(surfaces) == 1, f"one surface, whatever the format: {surfaces}"
    await scenes.close()


class DepthWatcher(Watcher):
    """Notes the frames of the layer `depth`."""

    def on_entry(self, entry: Entry) -> None:
        if entry.layer == "depth":
            self.entries["depth", entry.ver] = entry


async def test_how_far_a_camera_saw_is_told_keyframe_by_keyframe_and_taken_back(
    film: list[Frame], tmp_path: Path
) -> None:
    scenes = await open_scenes(tmp_path)
    watcher = DepthWatcher({}, [])
    channel = scenes.bus.find(MAIN)
    assert channel is not None
    channel.listen(watcher)
    await mapped(scenes, film)
    *seen, gone = watcher.entries.values()
    assert gone.removed
    assert len(seen) >= 3
    for entry in seen:
        message, arrays = unpack_server(entry.frame)
        assert isinstance(message, Delta)
        frame = film[message.body["frame"]]
        assert frame.depth is not None
        assert frame.pose is not None
        own = cv2.resize(frame.depth.z_m, arrays["z"].shape[::-1], interpolation=cv2.INTER_NEAREST)
        known = (arrays["z"] > 0) & (own > 0)
        assert known.mean() > 0.5
        assert np.median(np.abs(arrays["z"][known] * message.body["step_m"] - own[known])) < 0.02
        np.testing.assert_allclose(message.body["world_from_camera"]["t"], frame.pose.world_from_camera[:3, 3])
        assert message.body["K"][4:] == list(arrays["z"].shape[::-1])
    await scenes.close()


async def test_what_was_acknowledged_is_served_after_a_restart(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path)
    watcher = await mapped(scenes, film)
    before = scenes.bus.find(MAIN)
    assert before is not None
    num_points = sum(entry.layer == "points" for entry in before.entries())
    await scenes.close()
    assert watcher.durable
    acknowledged = {k: e for k, e in watcher.entries.items() if k[0] in ("points", "mesh", "nav", "occluder")}
    assert all(entry.seq <= watcher.durable[-1] for entry in acknowledged.values())

    again = await open_scenes(tmp_path)
    channel = again.bus.find(MAIN)
    assert channel is not None
    assert channel.lineage == before.lineage
    assert channel.seq > before.seq, "sequence numbers must go on beyond what clients may have seen"
    for slot, entry in acknowledged.items():
        restored = channel.get(slot)  # type: ignore[arg-type]
        assert (restored is None) == entry.removed
        assert restored is None or restored.ver >= entry.ver
    assert again.scene(MAIN).scale_source == "posed"
    assert again.scene(MAIN).num_keyframes == num_points > 0
    await again.export(MAIN, tmp_path / "map.glb")
    assert len(cameras_of(tmp_path / "map.glb")) >= num_points, "where cameras were outlives the process"
    await again.settle(MAIN)
    assert {k for k, e in acknowledged.items() if k[0] == "nav" and not e.removed} <= {
        (e.layer, e.key) for e in channel.entries()
    }
    spot = film[-1].pose
    assert spot is not None
    below = NearestQuestion(point=(float(spot.world_from_camera[0, 3]), 0.0, float(spot.world_from_camera[2, 3])))
    assert (await again.ask(MAIN, [below], None)).answers[0].found
    await again.close()


def cameras_of(glb: Path) -> list[dict[str, object]]:
    data = glb.read_bytes()
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    cameras: list[dict[str, object]] = document.get("cameras", [])
    return cameras


async def test_a_forgotten_camera_leaves_the_surface_and_nothing_else(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path)
    watcher = await mapped(scenes, film)
    assert any(layer == "points" and not e.removed for (layer, _), e in watcher.entries.items())
    assert await scenes.delete_stream(RGBD)
    assert all(
        e.removed for (layer, _), e in watcher.entries.items() if layer in ("points", "pose", "thumbnail", "depth")
    )
    assert any(layer == "mesh" and not e.removed for (layer, _), e in watcher.entries.items())
    assert scenes.scene(MAIN).num_keyframes == 0
    assert not await scenes.delete_stream(RGBD)
    await scenes.close()


async def test_a_late_map_keeps_the_newest_keyframe_and_every_pose(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path)
    stream = await scenes.replay(MAIN, RGBD, play(film), StreamOptions(world="flat"), is_patient=False)
    await stream.ended
    assert stream.counters.frames == len(film)
    assert stream.counters.tracked == len(film)
    assert 1 <= stream.counters.mapped <= stream.counters.keyframes
    await scenes.close()


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


def test_the_film_looks_at_the_floor(film: list[Frame]) -> None:
    """What the tests above rest on."""
    assert all(frame.depth is not None and np.median(frame.depth.z_m) > 0.3 for frame in film)


async def test_a_camera_height_is_taken_only_for_a_camera_that_was_here(film: list[Frame], tmp_path: Path) -> None:
    scenes = await open_scenes(tmp_path)
    await mapped(scenes, film[:3])
    with pytest.raises(NotFound, match="zz"):
        await scenes.add_cue(MAIN, CameraHeightCue(kind="camera_height", stream="zz", height_m=1.5))
    await scenes.add_cue(MAIN, CameraHeightCue(kind="camera_height", stream=RGBD, height_m=1.5))
    assert scenes.scene(MAIN).scale_source == "posed"
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
