"""What operators do about a NavMesh and see of it: requests of a real client to a server with a real scene."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.copies import load
from benchmarks.sdf_world import Box, SdfWorld, room
from mapping.changes import MapChange
from navmesh.incremental import Incremental
from server.bus.bus import Bus
from server.config import Settings
from server.metrics import Metrics
from server.scene import Scene
from server.scenes import Config, Scenes
from server.web import identify, serving
from server.workers.pool import Config as PoolConfig
from server.workers.pool import Pool
from streams.frame import SceneId

MAIN = SceneId("main")
PLATFORM = (0.4, 0.0, 0.4)
URL = "/v1/scenes/main/navmesh/reread"


@contextlib.asynccontextmanager
async def serving_a_scene(folder: Path) -> AsyncIterator[tuple[Scene, httpx.AsyncClient]]:
    """A real scene whose volume tests write, and a client of its server."""
    settings = Settings.model_validate(
        {"data_dir": folder, "http": {"host": "127.0.0.1", "port": 0}, "tls": {"enabled": False}}
    )
    scenes = Scenes(Config(), folder / "scenes", Pool(PoolConfig(), "classical"), Bus())
    await scenes.start(MAIN)
    async with (
        serving(settings, scenes, identify(settings), Metrics()) as port,
        httpx.AsyncClient(base_url=f"http://localhost:{port}", timeout=60) as http,
    ):
        yield scenes._find(MAIN), http
    await scenes.close()


async def seen(scene: Scene, world: SdfWorld, blocks: NDArray[np.int32]) -> None:
    """Let blocks of the map look as those of a world do, as a keyframe would."""

    def write() -> None:
        load(scene.writer.map.voxels, world, blocks)  # type: ignore[arg-type]
        scene.writer._tiles.mark(MapChange(scene.channel.epoch, dirty_blocks=blocks))

    await scene.write(write)
    await scene.upkeep.settle()


def nav_versions(scene: Scene) -> dict[object, int]:
    return {entry.key: entry.ver for entry in scene.channel.entries() if entry.layer == "nav"}


async def test_rereading_brings_up_what_was_too_shallow_and_sends_only_that(tmp_path: Path) -> None:
    world = SdfWorld([*room(4.0), Box(PLATFORM, (1.7, 0.25, 3.0))])
    async with serving_a_scene(tmp_path) as (scene, http):
        await seen(scene, world, world.block_keys())
        before = nav_versions(scene)
        assert (await http.post(URL)).json() == {"num_changed": 0}
        assert nav_versions(scene) == before
        await seen(scene, world, world.add(Box(PLATFORM, (1.7, 0.27, 3.0))))
        assert nav_versions(scene) == before, "2 cm changed a tile at once: the test would show nothing"
        num_changed = (await http.post(URL)).json()["num_changed"]
        after = nav_versions(scene)
        assert num_changed == sum(after[key] != before.get(key) for key in after) > 0
        assert (await http.post(URL)).json() == {"num_changed": 0}


async def test_tiles_that_nobody_can_walk_on_are_seen_from_outside(tmp_path: Path) -> None:
    world = SdfWorld(room(4.0))
    async with serving_a_scene(tmp_path) as (scene, http):
        await seen(scene, world, world.block_keys())
        assert 'nav_tiles_refused{scene="main"} 0.0' in (await http.get("/metrics")).text
        [tile, *_] = Incremental(world, scene.config.map.agents, scene.config.map.tiles).step().nav
        await scene.write(scene.writer.query.set, [replace(tile, blob=tile.blob[:100])])
        assert 'nav_tiles_refused{scene="main"} 1.0' in (await http.get("/metrics")).text
        assert (await http.get("/v1/scenes/main")).json()["num_tiles_refused"] == 1


async def test_maps_that_are_empty_or_not_there_can_be_asked_for_it(tmp_path: Path) -> None:
    async with serving_a_scene(tmp_path) as (_, http):
        assert (await http.post(URL)).json() == {"num_changed": 0}
        assert (await http.post("/v1/scenes/nowhere/navmesh/reread")).status_code == 404
        assert (await http.get(URL)).status_code == 405
        routes = (await http.get("/openapi.json")).json()["paths"]
        assert list(routes["/v1/scenes/{scene}/navmesh/reread"]) == ["post"]
