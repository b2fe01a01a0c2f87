"""The story with real parts: posed frames of the synthetic flat in, tiles on the bus and on the disk out."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import trimesh

from server.api.queries_contract import NearestAnswer, NearestQuestion
from server.bus.channel import Entry
from server.protocol import Delta, unpack_server
from streams.frame import Frame
from tests.server.filming import MAIN, RGBD, Watcher, mapped, open_scenes


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


def test_the_film_looks_at_the_floor(film: list[Frame]) -> None:
    """What the tests above rest on."""
    assert all(frame.depth is not None and np.median(frame.depth.z_m) > 0.3 for frame in film)
