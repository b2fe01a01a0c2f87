"""Questions on a live map: a room with a wall and a door, its tiles swapped and published as a scene does it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.sdf_world import Box, SdfWorld, room
from mapping.changes import MapChange
from mapping.transforms import Sim3, look_at
from mapping.volume.visibility import line_of_sight
from navmesh.incremental import Config as TilesConfig
from navmesh.incremental import Incremental
from navmesh.query import Query
from navmesh.recast import Agent
from server.api.contract import Busy, Conflict, Unprocessable
from server.api.queries_contract import (
    NearestQuestion,
    PathAnswer,
    PathQuestion,
    Question,
    RaycastQuestion,
    ReachableQuestion,
    ReachQuestion,
    VisibleQuestion,
)
from server.bus import encode
from server.bus.channel import Channel
from server.protocol import unpack_server
from server.queries import Config, Queries
from streams.frame import Intrinsics, StreamId

HUMAN, CAT = Agent(), Agent(name="cat", radius_m=0.1, height_m=0.3)
HERE, THERE, NOWHERE = (1.0, 0.0, 1.0), (5.0, 0.0, 5.0), (50.0, 0.0, 50.0)
DOOR = Box((2.9, 0.0, 2.5), (3.1, 2.0, 3.5))


class Map:
    """SdfWorld's stand-in for a SceneMap."""

    def __init__(self, voxels: SdfWorld) -> None:
        self.voxels, self.status = voxels, SimpleNamespace(epoch=0)

    def line_of_sight(self, eye_m: Any, target_m: Any) -> Any:
        return line_of_sight(self.voxels, eye_m, target_m)


class RoomScene:
    """As much of a scene as questions need; `write` runs in a thread of its own, as there."""

    def __init__(self) -> None:
        self.channel = Channel("main", "lineage")
        self.world = SdfWorld(room())
        self.writer, self.query_epoch, self.is_settled = self, 0, True
        self.map = Map(self.world)
        self.query = Query([HUMAN, CAT], self.world.voxel_size_m)
        self._tiles = Incremental(self.world, [HUMAN, CAT], TilesConfig(surfaces=False))
        self.swap_and_publish(np.empty((0, 3), np.int32))

    def swap_and_publish(self, blocks: Any, *, publish: bool = True) -> None:
        change = self._tiles.apply(MapChange(epoch=0, dirty_blocks=blocks))
        self.query.apply(change)
        for item in encode.tile_change(change) if publish else ():
            self.publish(item)

    def publish(self, item: encode.Publication | encode.Removal) -> None:
        self.channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)

    async def write(self, work: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(work)


@pytest.fixture
def queries() -> Any:
    made = Queries(Config(budget_s=60, sight_budget_s=60, patience_s=60))  # no luck with the machine's load
    yield made
    made.close()


async def ask(queries: Queries, scene: RoomScene, *questions: Question, epoch: int | None = None) -> Any:
    return (await queries.ask(scene, questions, epoch)).answers  # type: ignore[arg-type]


async def test_a_path_names_the_published_versions_it_rests_on(queries: Queries) -> None:
    scene = RoomScene()
    (before,) = await ask(queries, scene, PathQuestion(start=HERE, goal=THERE))
    assert (before.found, before.is_partial, before.reason, before.agent) == (True, False, None, "human")
    published = {entry.key: entry.ver for entry in scene.channel.entries()}
    assert before.tiles
    assert {tile.key: tile.ver for tile in before.tiles} == {tile.key: published[tile.key] for tile in before.tiles}
    assert before.tile_size_m == pytest.approx(3.2)
    scene.swap_and_publish(scene.world.add(Box((1.5, 0.0, 1.5), (2.0, 0.5, 2.0))))
    (after,) = await ask(queries, scene, PathQuestion(start=HERE, goal=THERE))
    newer = {tile.key: tile.ver for tile in after.tiles}
    assert newer[0, 0, "human"] == published[0, 0, "human"] + 1


async def test_an_answer_never_claims_a_version_newer_than_what_it_saw(queries: Queries) -> None:
    scene = RoomScene()
    known = {entry.key: entry.ver for entry in scene.channel.entries()}
    scene.swap_and_publish(scene.world.add(Box((1.5, 0.0, 1.5), (2.0, 0.5, 2.0))), publish=False)
    (answer,) = await ask(queries, scene, PathQuestion(start=HERE, goal=THERE))
    assert all(tile.ver <= known[tile.key] for tile in answer.tiles)


async def test_a_tile_published_while_the_answer_was_found_has_version_0(queries: Queries) -> None:
    scene = RoomScene()
    walk = scene.query.path
    publications = encode.tile_change(scene._tiles.apply(MapChange(0, dirty_blocks=scene.world.add(DOOR))))

    def path_while_publishing(*args: Any) -> Any:
        found = walk(*args)
        for item in publications:
            scene.publish(item)
        return found

    scene.query.path = path_while_publishing  # type: ignore[method-assign]
    (answer,) = await ask(queries, scene, PathQuestion(start=HERE, goal=THERE))
    changed = {item.key for item in publications}
    assert changed & {tile.key for tile in answer.tiles}
    assert all((tile.ver == 0) == (tile.key in changed) for tile in answer.tiles)


async def test_reach_names_polygons_by_the_tiles_they_are_rows_of(queries: Queries) -> None:
    scene = RoomScene()
    short, long, nowhere = await ask(
        queries,
        scene,
        ReachQuestion(start=HERE, walk_m=1.5),
        ReachQuestion(start=HERE, walk_m=30),
        ReachQuestion(start=NOWHERE, walk_m=30),
    )
    tiles = {entry.key: unpack_server(entry.frame)[1] for entry in scene.channel.entries() if entry.key[2] == "human"}
    assert {tile.key for tile in long.tiles} == set(tiles)
    assert {tile.key for tile in short.tiles} < set(tiles)
    for tile, polygon, walk_m in long.polygons:
        assert polygon < len(tiles[long.tiles[tile].key]["polys"])
        assert 0 <= walk_m <= 30
    assert (long.found, long.is_partial, long.polygons[0].walk_m) == (True, False, 0)
    assert (nowhere.found, nowhere.reason, nowhere.polygons) == (False, "start_off_mesh", ())


async def test_while_the_map_is_rebuilt_answers_say_so(queries: Queries) -> None:
    scene = RoomScene()
    questions = PathQuestion(start=HERE, goal=THERE), VisibleQuestion(point=(1, 1, 1), eye=(5, 1, 5))
    assert all(answer.is_settled for answer in await ask(queries, scene, *questions))
    scene.is_settled = False
    assert not any(answer.is_settled for answer in await ask(queries, scene, *questions))


async def test_a_closed_door_makes_the_way_partial_with_the_reason(queries: Queries) -> None:
    scene = RoomScene()
    scene.swap_and_publish(scene.world.add(DOOR))
    path, reachable = await ask(
        queries,
        scene,
        PathQuestion(start=HERE, goal=(3.6, 0, 3.0), within_m=3.0),
        ReachableQuestion(start=HERE, goal=THERE),
    )
    assert (path.found, path.is_partial, path.reason) == (True, True, "unreachable")
    assert path.points_m[-1][0] < 3.0
    assert (reachable.found, reachable.is_reachable, reachable.reason) == (True, False, "unreachable")


async def test_points_off_the_mesh_are_said_to_be(queries: Queries) -> None:
    scene = RoomScene()
    from_nowhere, to_nowhere, nearest, ray, reach = await ask(
        queries,
        scene,
        PathQuestion(start=NOWHERE, goal=HERE),
        PathQuestion(start=HERE, goal=NOWHERE),
        NearestQuestion(point=NOWHERE),
        RaycastQuestion(start=NOWHERE, goal=HERE),
        ReachableQuestion(start=HERE, goal=NOWHERE),
    )
    assert (from_nowhere.found, from_nowhere.reason, from_nowhere.points_m) == (False, "start_off_mesh", ())
    assert (to_nowhere.found, to_nowhere.reason) == (False, "goal_off_mesh")
    assert (nearest.found, nearest.point_m, nearest.tiles) == (False, None, ())
    assert (ray.found, ray.reason) == (False, "start_off_mesh")
    assert (reach.found, reach.reason) == (False, "goal_off_mesh")


async def test_nearest_and_raycast_stop_at_the_edge_of_the_floor(queries: Queries) -> None:
    scene = RoomScene()
    nearest, ray = await ask(
        queries, scene, NearestQuestion(point=(1.0, 0.4, 1.0)), RaycastQuestion(start=HERE, goal=(5.0, 0.0, 1.0))
    )
    assert nearest.distance_m == pytest.approx(0.4, abs=0.05)
    assert [tile.key for tile in nearest.tiles] == [(0, 0, "human")]
    assert ray.is_blocked  # by the wall
    assert ray.end_m[0] < 3.0
    assert ray.length_m == pytest.approx(ray.end_m[0] - 1.0, abs=0.05)


async def test_each_agent_has_its_own_answers_and_unknown_ones_are_named(queries: Queries) -> None:
    scene = RoomScene()
    under = Box((1.5, 0.5, 0.5), (2.0, 0.6, 1.5))
    scene.swap_and_publish(scene.world.add(under))
    human, cat = await ask(
        queries,
        scene,
        NearestQuestion(point=(1.75, 0, 1.0), within_m=0.1),
        NearestQuestion(point=(1.75, 0, 1.0), within_m=0.1, agent="cat"),
    )
    assert (human.found, cat.found, cat.agent) == (False, True, "cat")
    with pytest.raises(Unprocessable, match="human, cat") as refused:
        await ask(queries, scene, NearestQuestion(point=HERE, agent="giraffe"))
    assert refused.value.more == {"agents": ["human", "cat"]}


async def test_coordinates_of_another_epoch_are_refused(queries: Queries) -> None:
    scene = RoomScene()
    (answer,) = await ask(queries, scene, NearestQuestion(point=HERE), epoch=0)
    assert answer.epoch == 0
    scene.channel.move(Sim3(2.0, np.eye(3), np.zeros(3)), 1, "scale")
    with pytest.raises(Conflict) as refused:
        await ask(queries, scene, NearestQuestion(point=HERE), epoch=0)
    assert refused.value.more == {"epoch": 1}


async def test_a_map_that_moves_meanwhile_refuses(queries: Queries) -> None:
    scene = RoomScene()
    walk = scene.query.path

    def path_while_moving(*args: Any) -> Any:
        scene.channel.move(Sim3(2.0, np.eye(3), np.zeros(3)), 1, "scale")
        return walk(*args)

    scene.query.path = path_while_moving  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        await ask(queries, scene, PathQuestion(start=HERE, goal=THERE))


async def test_a_correction_that_is_not_published_yet_refuses_too(queries: Queries) -> None:
    scene = RoomScene()
    scene.query_epoch = 1  # its tiles are swapped already
    with pytest.raises(Conflict):
        await ask(queries, scene, PathQuestion(start=HERE, goal=THERE))
    scene.query_epoch, scene.map.status.epoch = 0, 1  # its voxels are fused already
    with pytest.raises(Conflict):
        await ask(queries, scene, VisibleQuestion(point=HERE, eye=THERE))


def pose_of(eye: tuple[float, float, float], target: tuple[float, float, float]) -> encode.Publication:
    world_from_camera = look_at(np.array(eye), np.array(target))
    return encode.pose(StreamId("phone"), 0, "tracked", world_from_camera, Intrinsics(500, 500, 320, 240, 640, 480))


async def test_what_a_camera_sees_is_what_no_wall_hides_inside_its_picture(queries: Queries) -> None:
    scene = RoomScene()
    eye, behind_wall = (1.0, 1.0, 1.0), (5.0, 1.0, 1.0)
    from_point, no_camera = await ask(
        queries, scene, VisibleQuestion(point=behind_wall, eye=eye), VisibleQuestion(point=behind_wall, camera="phone")
    )
    assert (from_point.found, from_point.state, from_point.reason) == (True, "occluded", "occluded")
    assert from_point.hit_m == pytest.approx((2.95, 1.0, 1.0), abs=0.12)
    assert [tile.key for tile in from_point.tiles] == [(0, 0), (1, 0)]
    assert (no_camera.found, no_camera.reason) == (False, "no_camera")
    scene.publish(pose_of(eye, behind_wall))
    ahead, aside = await ask(
        queries,
        scene,
        VisibleQuestion(point=behind_wall, camera="phone"),
        VisibleQuestion(point=(1.0, 1.0, 4.0), camera="phone"),
    )
    assert (ahead.state, aside.reason) == ("occluded", "outside_view")


async def test_lines_of_sight_do_not_wait_for_ever_for_a_busy_map() -> None:
    scene, queries, release = RoomScene(), Queries(Config(patience_s=0.05)), threading.Event()

    async def busy(work: Callable[[], Any]) -> Any:
        await asyncio.to_thread(release.wait, 10)
        return work()

    scene.write = busy  # type: ignore[method-assign]
    see, walk = await ask(queries, scene, VisibleQuestion(point=HERE, eye=THERE), NearestQuestion(point=HERE))
    release.set()
    assert (see.found, see.reason, walk.found) == (False, "out_of_time", True)
    queries.close()


async def test_a_batch_keeps_to_its_budget_and_too_many_requests_are_turned_away() -> None:
    scene, queries, release = RoomScene(), Queries(Config(budget_s=0.02, max_waiting=1)), threading.Event()
    nearest = scene.query.nearest

    def slow(*args: Any, **options: Any) -> Any:
        release.wait(10)
        time.sleep(0.03)
        return nearest(*args, **options)

    scene.query.nearest = slow  # type: ignore[method-assign]
    first = asyncio.create_task(ask(queries, scene, *[NearestQuestion(point=HERE)] * 3))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await ask(queries, scene, NearestQuestion(point=HERE))
    release.set()
    answers = await first
    assert [answer.reason for answer in answers] == [None, "out_of_time", "out_of_time"]
    queries.close()


async def test_paths_are_values_that_serialise_by_their_public_names(queries: Queries) -> None:
    (answer,) = await ask(queries, RoomScene(), PathQuestion(start=HERE, goal=THERE))
    assert isinstance(answer, PathAnswer)
    plain = answer.model_dump(mode="json", by_alias=True)
    assert {"points", "partial", "found", "epoch", "tiles", "tile_size_m", "length_m"} <= plain.keys()
