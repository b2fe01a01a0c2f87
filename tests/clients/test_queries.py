"""The SDK's questions against the server's real routes, and against a whole server with a map of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.http import Http, HttpError
from clients.mirror import Put
from clients.queries import Nearest, Queries, Visible
from clients.sdk import connect
from server.api.queries_contract import NearestQuestion, PathQuestion, ReachQuestion, VisibleQuestion
from tests.clients.posed_rooms import DOOR_Z_M, HERE, THERE, WALL_X_M, Film
from tests.server.fakes import served


async def test_every_method_asks_what_it_says(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        ask = Queries(Http(f"http://localhost:{server.port}"), "main")
        path = await ask.path((0, 0, 0), (1, 0, 2.5), agent="human", within_m=2, epoch=0)
        assert path.points_m == ((0, 0, 0), (1, 0, 2.5))
        asked = PathQuestion(start=(0, 0, 0), goal=(1, 0, 2.5), agent="human", within_m=2)
        assert server.scenes.asked[-1] == (asked,)
        assert (await ask.raycast((0, 0, 0), (1, 0, 0))).is_blocked
        assert not (await ask.reachable((0, 0, 0), (1, 0, 0))).is_reachable
        await ask.nearest((0, 20, 0), islands=False, within_m=2)
        assert server.scenes.asked[-1] == (NearestQuestion(point=(0, 20, 0), within_m=2, may_be_island=False),)
        reach = await ask.reach((0, 0, 0), 5, within_m=0.5)
        assert [(one.tile, one.polygon, one.walk_m) for one in reach.polygons] == [(0, 3, 0), (0, 1, 1.5)]
        assert reach.is_settled
        assert server.scenes.asked[-1] == (ReachQuestion(start=(0, 0, 0), walk_m=5, within_m=0.5),)
        nearest = await ask.nearest((0, 9, 0), within_m=0.5)
        assert (nearest.found, nearest.point_m, nearest.reason) == (False, None, "goal_off_mesh")
        assert server.scenes.asked[-1] == (NearestQuestion(point=(0, 9, 0), within_m=0.5),)
        assert (await ask.visible((0, 1, 0), camera="phone")).state == "visible"
        assert server.scenes.asked[-1] == (VisibleQuestion(point=(0, 1, 0), camera="phone"),)
        both = await ask.ask(
            [{"kind": "visible", "point": (0, 1, 0), "from": (1, 1, 1)}, {"kind": "nearest", "point": (0, 0, 0)}]
        )
        assert [type(answer) for answer in both] == [Visible, Nearest]


async def test_a_refusal_says_what_the_server_said(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        ask = Queries(Http(f"http://localhost:{server.port}"), "none")
        with pytest.raises(HttpError, match="no scene 'none'") as refused:
            await ask.nearest((0, 0, 0))
        assert refused.value.status == 404
        with pytest.raises(HttpError, match="camera") as unclear:
            await Queries(Http(f"http://localhost:{server.port}"), "main").visible((0, 0, 0))
        assert unclear.value.status == 422


async def test_a_whole_server_knows_the_way_around_a_wall_and_what_it_hides(live_server: Any) -> None:
    with httpx.Client(base_url=live_server.url, verify=False, timeout=60) as http:
        Film(http, "asked").until(is_reachable=True)
    async with connect(live_server.url, ca=live_server.ca) as client:
        ask = client.queries("asked")
        (agent,) = await ask.agents()
        assert (agent.name, agent.radius_m) == ("human", 0.25)
        path = await ask.path(HERE, THERE)
        assert (path.found, path.is_partial, path.reason) == (True, False, None)
        corners = [z for x, _, z in path.points_m if abs(x - WALL_X_M) < 0.5]
        assert corners
        assert all(DOOR_Z_M[0] < z < DOOR_Z_M[1] for z in corners)
        short, long = await ask.reach(HERE, 1.0), await ask.reach(HERE, 30.0)
        assert 0 < len(short.polygons) < len(long.polygons)
        assert long.polygons[0].walk_m == 0
        assert {tile.key for tile in path.tiles} <= {tile.key for tile in long.tiles}
        ray = await ask.raycast(HERE, THERE)
        assert ray.is_blocked
        assert ray.end_m is not None
        assert ray.end_m[0] < WALL_X_M
        hidden = await ask.visible((4.5, 1.0, 1.0), eye_m=(1.5, 1.0, 1.0))
        assert hidden.state == "occluded"
        assert hidden.hit_m is not None
        assert hidden.hit_m[0] == pytest.approx(WALL_X_M, abs=0.2)

        scene = client.subscribe("asked", ["nav"])
        held: dict[tuple[int | str, ...], int] = {}
        async for update in scene:
            if isinstance(update, Put):
                held[tuple(update.key)] = update.version
            if path.tiles and all(held.get(tile.key, 0) >= tile.version for tile in path.tiles):
                break
        assert scene.epoch == path.epoch
        with pytest.raises(HttpError, match="human") as unknown:
            await ask.path(HERE, THERE, agent="giraffe")
        assert unknown.value.status == 422
        with pytest.raises(HttpError, match="epoch") as moved:
            await ask.path(HERE, THERE, epoch=path.epoch + 7)
        assert moved.value.status == 409
