"""The whole NavMesh over HTTP and by the command: the very tiles that clients were sent."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from mapping.store.records import SceneMeta, StoredTile
from mapping.store.scene_store import Config as StoreConfig
from mapping.store.scene_store import Store
from mapping.transforms import Sim3
from navmesh import exporters
from navmesh.tiles import TileKey
from server.__main__ import app
from server.auth import Grant, Role
from server.bus import encode
from server.bus.channel import Channel
from tests.server.fakes import served
from tests.server.test_encode import nav_tile

KEYS = [TileKey(-1, 4), TileKey(0, 4)]
TILES = [nav_tile(key) for key in KEYS]
WHOLE = {name: exporters.create(name).encode(exporters.whole(TILES, "human")) for name in exporters.available()}


def publish(channel: Channel) -> None:
    for tile in TILES:
        channel.publish(encode.nav(tile), capture_ns=1, infer_ns=2, now_ns=3)


async def test_a_running_server_gives_what_it_published_last(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        channel = server.scenes.bus.find("main")
        assert channel is not None
        assert (await server.http.get("/v1/scenes/main/navmesh.bin")).status_code == 404
        publish(channel)
        for suffix, data in WHOLE.items():
            answer = await server.http.get(f"/v1/scenes/main/navmesh.{suffix}", params={"agent": "human"})
            assert answer.status_code == 200
            assert answer.content == data
            assert f"main.{suffix}" in answer.headers["content-disposition"]
        giant = await server.http.get("/v1/scenes/main/navmesh.obj?agent=giant")
        assert giant.status_code == 404
        assert "there are human" in giant.json()["detail"]
        assert (await server.http.get("/v1/scenes/none/navmesh.obj")).status_code == 404
        assert (await server.http.get("/v1/scenes/main/navmesh.fbx")).status_code == 422

        pose_only = server.identity.tokens.issue(
            Grant("main", Role.SUBSCRIBE, frozenset({"pose"})), 60, int(time.time())
        )
        headers = {"Authorization": f"Bearer {pose_only}"}
        assert (await server.http.get("/v1/scenes/main/navmesh.obj", headers=headers)).status_code == 403

        channel.move(Sim3(2.0, np.eye(3), np.zeros(3)), 1, "marker")
        assert (await server.http.get("/v1/scenes/main/navmesh.obj")).status_code == 404, (
            "tiles of a world that is gone"
        )


def test_the_command_reads_the_store(tmp_path: Path) -> None:
    channel = Channel("flat", "lineage")
    publish(channel)
    meta = SceneMeta(
        lineage="lineage", epoch=0, voxel_size_m=0.05, truncation_m=0.2, scale_source="posed", gravity_source="posed",
        seq_ceiling=9, attributes={},
    )  # fmt: skip
    store = Store.open(tmp_path / "scenes" / "flat", StoreConfig())
    store.append(
        meta, *(StoredTile(layer=e.layer, key=e.key, seq=e.seq, ver=e.ver, wire=e.frame) for e in channel.entries())
    )
    store.close()
    for name, options in (("nav.bin", []), ("nav.glb", ["--what", "navmesh"]), ("nav.obj", ["--what", "navmesh"])):
        out = tmp_path / name
        done = CliRunner().invoke(app, ["export", "flat", str(out), "--data-dir", str(tmp_path), *options])
        assert done.exit_code == 0, done.output
        assert out.read_bytes() == WHOLE[out.suffix[1:]]
    refused = ["export", "flat", str(tmp_path / "a.bin"), "--agent", "giant", "--data-dir", str(tmp_path)]
    assert "no agent 'giant'" in CliRunner().invoke(app, refused).output
