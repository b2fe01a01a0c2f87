"""The writer's half of a scene: what it publishes and saves while a new epoch comes in by slices."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from mapping.scene_map import Config as MapConfig
from mapping.store.records import StoredTile
from mapping.store.scene_store import Config as StoreConfig
from mapping.store.scene_store import Store
from server.bus.encode import Publication, Removal
from server.writer import Config, Writer
from tests.mapping.walking import Phone, off_room

NUM_KEYFRAMES = 6
CONFIG = Config(
    map=MapConfig(fuse_batch=2),
    store=StoreConfig(roll_up_process=False),
    tile_budget_s=60.0,
    surface_budget_s=60.0,
    keyframes_per_step=4,
)
TILE = StoredTile(layer="mesh", key=(0, 0), seq=1, ver=1, wire=b"tile")


def layers(publications: tuple[object, ...]) -> list[str]:
    return [item.layer for item in publications if isinstance(item, Publication)]


@pytest.mark.parametrize("retain", [False, True])
def test_pictures_reach_the_disk_only_where_the_store_is_told_to_keep_them(tmp_path: Path, retain: bool) -> None:
    config = CONFIG.model_copy(update={"store": StoreConfig(roll_up_process=False, retain_pixels=retain)})
    with contextlib.closing(Store.open(tmp_path, config.store)) as store:
        writer, phone = Writer("main", config, store), Phone("a", posed=True)
        for pose in phone.poses(2):
            writer.add(*phone.sees(pose), viewers=())
        writer.save("lineage", 10, [])
        store.commit()
        pictures = [keyframe.jpeg for keyframe in store.load().keyframes.values()]
    assert len(pictures) == 2
    assert all((picture is not None and picture.startswith(b"\xff\xd8")) == retain for picture in pictures)


def test_a_keyframe_gives_the_navmesh_first_and_what_it_looks_like_afterwards(tmp_path: Path) -> None:
    with contextlib.closing(Store.open(tmp_path, CONFIG.store)) as store:
        writer, phone = Writer("main", CONFIG, store), Phone("a", posed=True)
        (pose,) = phone.poses(1)
        step = writer.add(*phone.sees(pose), viewers=())
        assert set(layers(step.publications)) == {"nav"}
        assert step.wait_s == 0
        later = writer.build(())
        assert set(layers(later.publications)) == {"points", "thumbnail", "depth", "mesh", "occluder", "islands"}
        assert later.wait_s is None


def test_a_step_of_building_is_short_and_gets_on(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"surface_budget_s": 1e-9})
    with contextlib.closing(Store.open(tmp_path, config.store)) as store:
        writer, phone = Writer("main", config, store), Phone("a", posed=True)
        (pose,) = phone.poses(1)
        writer.add(*phone.sees(pose), viewers=())
        steps, meshes = 0, 0
        wait_s: float | None = 0.0
        while wait_s is not None:
            step = writer.build(())
            assert layers(step.publications).count("mesh") <= 1
            steps, meshes, wait_s = steps + 1, meshes + layers(step.publications).count("mesh"), step.wait_s
        assert 1 < meshes <= steps


def test_points_are_published_of_keyframes_that_are_kept_only(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"map": MapConfig(max_keyframes=3)})
    out: set[str] = set()
    with contextlib.closing(Store.open(tmp_path, config.store)) as store:
        writer, phone = Writer("main", config, store), Phone("a", posed=True)
        for pose in phone.poses(8):
            writer.add(*phone.sees(pose), viewers=())
            for item in writer.build(()).publications:
                if item.layer == "points":
                    (out.discard if isinstance(item, Removal) else out.add)(str(item.key[0]))
        assert out == set(writer.map.keyframe_poses())
    assert len(out) == 3


def test_a_new_epoch_is_published_and_saved_whole(tmp_path: Path) -> None:
    with contextlib.closing(Store.open(tmp_path, CONFIG.store)) as store:
        writer, phone = Writer("main", CONFIG, store), Phone("a", unit=0.4)
        for pose in phone.poses(NUM_KEYFRAMES):
            writer.add(*phone.sees(pose), viewers=())
        while writer.build(()).wait_s is not None:
            pass
        assert writer.is_settled
        assert writer.save("lineage", 10, [TILE])
        room = off_room(writer.map, phone)
        a, b = (room.apply(np.array(p)) for p in ([-0.4, 0.6, -1.0], [0.4, 0.6, -1.0]))
        writer.map.declare_distance(a, b, 0.8)

        step, points = writer.build(()), 0
        assert [move.reason for move in step.moves] == ["scale"]
        while writer.map.status.is_rebuilding:
            assert step.wait_s == 0
            assert not writer.is_settled
            assert set(layers(step.publications)) <= {"points"}, "tiles of half a volume"
            assert not writer.save("lineage", 20, [TILE])
            points += len(layers(step.publications))
            step = writer.build(())
        points += layers(step.publications).count("points")
        assert {"mesh", "nav"} <= set(layers(step.publications))
        assert points == NUM_KEYFRAMES, "each keyframe's points are told once"
        assert writer.save("lineage", 30, [])
        store.commit()
        state = store.load()
        now = writer.map.blocks(writer.map.voxels.block_keys())
        epoch = writer.map.status.epoch
    assert state.meta is not None
    assert (state.meta.epoch, state.meta.seq_ceiling) == (epoch, 30)
    assert state.tiles["mesh", (0, 0)].wire == b"tile"
    stored = state.blocks.all()
    assert set(map(tuple, stored.keys.tolist())) == set(map(tuple, now.keys.tolist()))


def test_where_cameras_were_outlives_a_restart_but_not_its_term(tmp_path: Path) -> None:
    with contextlib.closing(Store.open(tmp_path, CONFIG.store)) as store:
        writer, phone = Writer("main", CONFIG, store), Phone("a", unit=0.4)
        for pose in phone.poses(NUM_KEYFRAMES):
            writer.add(*phone.sees(pose), viewers=())
        writer.save("lineage", 10, [])
        store.commit()
        state = store.load()
        before = {c.name: c.world_from_camera for c in writer.export_scene().cameras}
        again = Writer("main", CONFIG, store)
        again.restore(state)
        after = {c.name: c.world_from_camera for c in again.export_scene().cameras}
        assert before.keys() == after.keys() != set()
        for name, world_from_camera in after.items():
            np.testing.assert_allclose(world_from_camera, before[name], atol=1e-9)
        newest_ns = max(keyframe.capture_ns for keyframe in state.keyframes.values())
        assert CONFIG.store.keyframe_ttl_s is not None
        again.expire(newest_ns + int(CONFIG.store.keyframe_ttl_s * 1e9) + 1)
        assert again.export_scene().cameras == ()


def test_what_was_there_before_a_restart_follows_a_map_that_learns_its_scale_after_it(tmp_path: Path) -> None:
    with contextlib.closing(Store.open(tmp_path, CONFIG.store)) as store:
        writer, phone = Writer("main", CONFIG, store), Phone("a", unit=0.4)
        for pose in phone.poses(NUM_KEYFRAMES):
            writer.add(*phone.sees(pose), viewers=())
        while writer.build(()).wait_s is not None:
            pass
        room = off_room(writer.map, phone)
        writer.save("lineage", 10, [])
        again = Writer("main", CONFIG, store)
        again.restore(store.load())
        before = {c.name: c.world_from_camera for c in again.export_scene().cameras}
        again.map.declare_distance(*room.apply(np.array([[-0.4, 0.6, -1.0], [0.4, 0.6, -1.0]])), 0.8)
        step = again.build(())
        (move,) = step.moves
        assert (move.reason, step.status.scale_source) == ("scale", "distance")
        assert "nav" in layers(step.publications), "nothing has to be fused anew first"
        again.save("lineage", 20, [])
        store.commit()
        third = Writer("main", CONFIG, store)
        third.restore(store.load())
    assert move.new_from_old is not None
    for known in (again, third):
        for camera in known.export_scene().cameras:
            np.testing.assert_allclose(
                camera.world_from_camera, move.new_from_old.apply_pose(before[camera.name]), atol=1e-9
            )
    assert third.map.status.scale_source == "distance"
    assert set(map(tuple, third.map.voxels.block_keys().tolist())) == set(
        map(tuple, again.map.voxels.block_keys().tolist())
    )
