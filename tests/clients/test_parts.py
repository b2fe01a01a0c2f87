"""What a client asks for besides polygons, and nothing else, is what it is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from clients import layers, sdk
from navmesh.detail import detail_of
from navmesh.tiles import NavTile
from server.protocol import Part
from tests.clients.live_floor import Floor, live_floor, tiles_of


async def received(floor: Floor, parts: list[Part]) -> dict[tuple[int | str, ...], sdk.Put]:
    async with asyncio.timeout(20), sdk.connect(floor.url) as client:
        scene = client.subscribe("main", ["nav"], parts=parts)
        await scene.complete()
        return dict(scene.tiles["nav"])


def tile_of(floor: Floor, key: tuple[int | str, ...]) -> NavTile:
    return next(tile for tile in floor.tiles if (*tile.key, tile.agent) == key)


async def test_polygons_alone_unless_more_is_asked_for(tmp_path: Path) -> None:
    async with live_floor(tmp_path) as floor:
        bare = await received(floor, [])
        assert len(bare) == len(floor.tiles)
        for key, put in bare.items():
            floor_tile, walkable = tile_of(floor, key), layers.walkable(put)
            assert set(put.arrays) == {"verts", "polys", "neighbours", "areas"}
            assert (walkable.blob, walkable.detail_m) == (b"", None)
            np.testing.assert_array_equal(walkable.areas, floor_tile.areas)
        for key, put in (await received(floor, ["blob"])).items():
            assert layers.walkable(put).blob == tile_of(floor, key).blob
            assert "detail_tris" not in put.arrays


async def test_details_cover_the_polygons_and_move_with_the_map(tmp_path: Path) -> None:
    async with live_floor(tmp_path) as floor:
        world_now = np.diag([2.0, 2.0, 2.0, 1.0])
        world_now[:3, 3] = 1.0, 0.0, -1.0
        for key, put in (await received(floor, ["detail"])).items():
            still, moved = layers.walkable(put).detail_m, layers.walkable(put, world_now).detail_m
            assert still is not None
            assert moved is not None
            assert len(still) == len(detail_of(tile_of(floor, key)).tris)
            np.testing.assert_allclose(moved, 2 * still + world_now[:3, 3], atol=1e-5)
            turns = np.cross(still[:, 1] - still[:, 0], still[:, 2] - still[:, 0])[:, 1]
            outlines = [polygon[:, [0, 2]] for polygon in layers.walkable(put).polygons_m]
            area_m2 = sum(abs(p[:, 0] @ np.roll(p[:, 1], -1) - p[:, 1] @ np.roll(p[:, 0], -1)) / 2 for p in outlines)
            assert turns.sum() / 2 == pytest.approx(area_m2, rel=1e-3)


async def test_a_client_that_comes_back_gets_the_same_parts(tmp_path: Path) -> None:
    async with live_floor(tmp_path) as floor, asyncio.timeout(20), sdk.connect(floor.url) as client:
        scene = client.subscribe("main", ["nav"], parts=["blob"])
        await scene.complete()
        assert client._socket is not None
        await client._socket.close()
        await scene.complete()
        floor.publish(tiles_of(door_z_m=7.6))
        async for update in scene:
            if isinstance(update, sdk.Put):
                assert layers.walkable(update).blob == tile_of(floor, update.key).blob
                break


async def test_a_part_that_does_not_exist_is_refused_at_once(tmp_path: Path) -> None:
    async with live_floor(tmp_path, ()) as floor, sdk.connect(floor.url) as client:
        with pytest.raises(ValueError, match="detail, blob"):
            client.subscribe("main", ["nav"], parts=["sound"])  # type: ignore[list-item]
