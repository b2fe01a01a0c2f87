"""Cues after a restart, and after the phone is gone that began the map: they work, or say why they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.metric import markers
from mapping.scene_map import SceneMap, StreamOptions
from mapping.transforms import Sim3, look_at
from streams.frame import StreamId
from tests.mapping.test_scene_map import visit_marker
from tests.mapping.walking import Phone, feed, off_room, surface_error_m

EDGE = np.array([[-0.4, 0.6, -1.0], [0.4, 0.6, -1.0]])


def of_two_phones() -> tuple[SceneMap, Phone, Phone]:
    """A map without scale that a phone began and a second one joined."""
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=2.0, seed=5)
    feed(scene, first, first.poses(4))
    feed(scene, second, second.poses(8))
    scene.align(second.stream, 0, off_room(scene, first) @ second.component_from_room.inverse())
    scene.fuse()
    assert scene.status.scale_source == "none"
    return scene, first, second


def test_who_is_left_carries_the_world_on_and_learns_its_scale() -> None:
    scene, first, second = of_two_phones()
    before, epoch = off_room(scene, second), scene.status.epoch
    scene.forget(first.stream)
    np.testing.assert_allclose(off_room(scene, second).apply(EDGE), before.apply(EDGE), atol=1e-9)
    a, b = before.apply(EDGE)
    scene.declare_distance(a, b, 0.8)
    change = scene.fuse()
    assert (change.epoch, change.reason) == (epoch + 1, "scale")
    assert scene.status.scale_source == "distance"
    assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.03)
    assert surface_error_m(scene, off_room(scene, second)) < 0.01


def test_what_the_first_phone_alone_had_seen_stays_when_another_learns_its_scale() -> None:
    shapes = []
    for delete in (False, True):
        scene, first, second = of_two_phones()
        feed(scene, first, [look_at([x, 1.5, 0.0], [-3.0, 1.2, x]) for x in (-0.5, -0.2, 0.1, 0.4)])
        place = off_room(scene, second)
        if delete:
            scene.forget(first.stream)
        scene.declare_distance(*place.apply(EDGE), 0.8)
        assert scene.fuse().reason == "scale"
        while scene.status.num_pending:
            scene.fuse()
        assert surface_error_m(scene, off_room(scene, second)) < 0.02
        window = scene.voxels.window((-80, -10, -80), (160, 60, 160))
        shapes.append((window.weight > 0) & (np.abs(window.tsdf_m) < 0.05))
    kept, deleted = shapes
    assert np.mean(deleted[kept]) > 0.9


def test_so_does_how_high_it_is_carried() -> None:
    scene, first, second = of_two_phones()
    scene.forget(first.stream)
    scene.declare_camera_height(second.stream, 1.5)
    scene.fuse()
    assert scene.status.scale_source == "camera_height"
    assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.08)


def test_so_does_a_marker_that_it_sees_later() -> None:
    scene, first, second = of_two_phones()
    scene.forget(first.stream)
    visit_marker(scene, second)
    feed(scene, second, second.poses(8))  # until the next look at what is known
    assert scene.status.scale_source == "marker"
    assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.03)


def test_a_metric_world_keeps_its_claims_when_its_first_phone_goes() -> None:
    scene, first, second = of_two_phones()
    a, b = off_room(scene, first).apply(EDGE)
    scene.declare_distance(a, b, 0.8)
    scene.fuse()
    before = scene.status
    scene.forget(first.stream)
    assert scene.fuse().new_from_old is None
    after = scene.status
    assert (after.scale_source, after.scale_sigma, after.epoch) == ("distance", before.scale_sigma, before.epoch)
    assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.03)


def restored(*, metric: bool = False) -> tuple[SceneMap, Sim3]:
    """A map of before a restart, with world_from_room."""
    scene, phone = SceneMap(), Phone("a", unit=0.4)
    feed(scene, phone, phone.poses(8))
    if metric:
        scene.declare_distance(*off_room(scene, phone).apply(EDGE), 0.8)
        scene.fuse()
    again = SceneMap()
    again.restore(scene.blocks(scene.voxels.block_keys()), scene.snapshot())
    return again, off_room(scene, phone)


def returned(scene: SceneMap, world_from_room: Sim3) -> Phone:
    """A phone that comes back, and is found where it is."""
    phone = Phone("b", unit=2.0, seed=5)
    feed(scene, phone, phone.poses(4))
    scene.align(phone.stream, 0, world_from_room @ phone.component_from_room.inverse())
    return phone


def test_a_restored_map_learns_its_scale_from_a_typed_distance() -> None:
    scene, world_from_room = restored()
    epoch, before = scene.status.epoch, world_from_room.scale
    assert abs(before - 1) > 0.1
    scene.declare_distance(*world_from_room.apply(EDGE), 0.8)
    change = scene.fuse()
    assert (change.epoch, change.reason) == (epoch + 1, "scale")
    assert change.new_from_old is not None
    assert change.new_from_old.scale * before == pytest.approx(1.0, rel=0.02)
    assert (scene.status.scale_source, scene.status.is_rebuilding) == ("distance", False)
    assert surface_error_m(scene, change.new_from_old @ world_from_room) < 0.02
    phone = returned(scene, change.new_from_old @ world_from_room)
    assert scene.fuse().new_from_old is None
    assert off_room(scene, phone).scale == pytest.approx(1.0, rel=0.02)
    with pytest.raises(ValueError, match="has its scale"):
        scene.declare_distance(*EDGE, 0.8)


def test_or_from_a_phone_that_comes_back_and_knows_it() -> None:
    scene, world_from_room = restored()
    phone = returned(scene, world_from_room)
    assert scene.fuse().new_from_old is None
    scene.declare_camera_height(phone.stream, 1.5)
    change = scene.fuse()
    assert change.reason == "scale"
    assert scene.status.scale_source == "camera_height"
    assert off_room(scene, phone).scale == pytest.approx(1.0, rel=0.08)
    assert surface_error_m(scene, off_room(scene, phone)) < 0.02
    assert scene.fuse().new_from_old is None, "what was fused since the restart stands where it should"
    assert scene.status.num_pending == 0


def test_or_from_one_that_brings_metric_poses() -> None:
    scene, world_from_room = restored()
    assert abs(world_from_room.scale - 1) > 0.1
    phone = Phone("lidar", posed=True)
    feed(scene, phone, phone.poses(4), fuse=False)
    scene.align(phone.stream, 0, world_from_room @ phone.component_from_room.inverse())
    assert scene.fuse().reason == "scale"
    assert scene.status.scale_source == "posed"
    assert off_room(scene, phone).scale == pytest.approx(1.0, rel=0.001)
    assert surface_error_m(scene, off_room(scene, phone)) < 0.02


def test_a_restored_metric_map_is_not_scaled_again() -> None:
    scene, world_from_room = restored(metric=True)
    with pytest.raises(ValueError, match="has its scale"):
        scene.declare_distance(*world_from_room.apply(EDGE), 0.9)
    phone = returned(scene, world_from_room)
    scene.declare_camera_height(phone.stream, 3.0)
    scene.declare_markers(markers.Config(size_m=0.2))
    assert scene.fuse().new_from_old is None
    assert scene.status.scale_source == "distance"


def test_a_map_whose_only_phone_was_deleted_learns_it_as_well() -> None:
    scene, phone = SceneMap(), Phone("a", unit=0.4)
    feed(scene, phone, phone.poses(8))
    world_from_room = off_room(scene, phone)
    scene.forget(phone.stream)
    assert scene.fuse().new_from_old is None
    scene.declare_distance(*world_from_room.apply(EDGE), 0.8)
    change = scene.fuse()
    assert change.new_from_old is not None
    assert surface_error_m(scene, change.new_from_old @ world_from_room) < 0.02


def test_no_name_of_a_deleted_phone_is_stored_with_the_world() -> None:
    scene = SceneMap()
    for name, world in (("lidar", None), ("robot", "house")):
        phone = Phone(name, posed=True)
        scene.join(phone.stream, StreamOptions(world=world))
        feed(scene, phone, phone.poses(4))
        if world is not None:
            scene.align(phone.stream, 0, Sim3.identity())
    assert set(scene.snapshot().named_worlds) == {"lidar", "house"}
    for name in ("lidar", "robot"):
        scene.forget(StreamId(name))
    assert set(scene.snapshot().named_worlds) == {"house"}
