"""The fused map: who founds the world, who joins it how, what corrections and better cues do to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.engines import ViewPrediction, WindowPrediction
from mapping.metric import markers
from mapping.scene_map import Config, SceneMap, StreamOptions
from mapping.transforms import F64, Sim3, angle_between, exp_so3, invert, look_at, rigid
from mapping.volume import tsdf
from streams.frame import StreamId
from tests.mapping.metric.test_markers import photo
from tests.mapping.room import render
from tests.mapping.walking import UP, K, Phone, feed, off_room, surface_error_m

Look = Callable[[np.ndarray], np.ndarray]


def test_a_posed_stream_is_taken_as_it_is() -> None:
    scene, phone = SceneMap(), Phone("lidar", posed=True)
    placed, fused = feed(scene, phone, phone.poses(1))
    np.testing.assert_allclose(placed.poses[KeyframeId("lidar/0")], phone.poses(1)[0])
    assert len(fused.dirty_blocks) > 50
    feed(scene, phone, phone.poses(6)[1:])
    assert surface_error_m(scene, Sim3.identity()) < 0.01
    status = scene.status
    assert (status.scale_source, status.gravity_source, status.epoch) == ("posed", "posed", 0)
    assert status.aligned == ((phone.stream, 0),)
    assert status.num_pending == 0


def test_a_phone_without_cues_founds_an_upright_world_of_honest_no_scale() -> None:
    scene, phone = SceneMap(), Phone("a")
    changes = feed(scene, phone, phone.poses(8))
    world_from_room = off_room(scene, phone)
    assert (world_from_room.rotation @ UP)[1] > np.cos(np.radians(1))
    assert scene.status.scale_source == "none"
    assert scene.status.scale_sigma == float("inf")
    assert scene.status.gravity_source in ("motion", "planes")
    assert surface_error_m(scene, world_from_room) < 0.02 * 2
    assert all(change.epoch <= scene.status.epoch for change in changes)
    first = scene.keyframe_poses()[KeyframeId("a/0")]
    assert first[2, 2] < 0, "the first camera looks along -Z"
    assert abs(first[0, 2]) < 0.05


def test_up_from_planes_where_no_sensor_helps() -> None:
    scene, phone = SceneMap(), Phone("a", up=False)
    changes = feed(scene, phone, phone.poses(13))
    assert scene.status.gravity_source == "planes"
    assert (off_room(scene, phone).rotation @ UP)[1] > np.cos(np.radians(3))
    moves = [change for change in changes if change.new_from_old is not None]
    assert moves
    assert moves[0].reason == "gravity"


def test_a_better_cue_opens_an_epoch_that_moves_everything_together() -> None:
    scene, phone = SceneMap(), Phone("a", unit=0.4)
    feed(scene, phone, phone.poses(4))
    before_poses, before = scene.keyframe_poses(), off_room(scene, phone)
    a, b = (before.apply(np.array(p)) for p in ([-0.4, 0.6, -1.0], [0.4, 0.6, -1.0]))
    scene.declare_distance(a, b, 0.8)
    change = scene.fuse()
    assert change.new_from_old is not None
    assert (change.epoch, change.reason) == (1, "scale")
    assert scene.status.scale_source == "distance"
    assert off_room(scene, phone).scale == pytest.approx(1.0, rel=0.03)
    for keyframe, pose in before_poses.items():
        np.testing.assert_allclose(change.poses[keyframe], change.new_from_old.apply_pose(pose), atol=1e-9)
    keys = set(map(tuple, change.dirty_blocks.tolist()))
    blocks = scene.blocks(scene.voxels.block_keys())
    shown = blocks.keys[(blocks.weight >= tsdf.Config().known_weight).any(axis=(1, 2, 3))]
    assert set(map(tuple, shown.tolist())) <= keys
    assert surface_error_m(scene, off_room(scene, phone)) < 0.01
    assert scene.fuse().new_from_old is None, "nothing new is known"


def test_camera_height_gives_metres() -> None:
    scene, phone = SceneMap(), Phone("a", unit=0.25)
    scene.join(phone.stream, StreamOptions(camera_height_m=1.5))
    feed(scene, phone, phone.poses(12))
    assert scene.status.scale_source == "camera_height"
    assert off_room(scene, phone).scale == pytest.approx(1.0, rel=0.06)


def test_a_stranger_without_a_link_is_answered_but_not_fused() -> None:
    scene, first, second = SceneMap(), Phone("a"), Phone("b", unit=2.0, seed=5)
    feed(scene, first, first.poses(4))
    blocks = scene.status.num_blocks
    changes = feed(scene, second, second.poses(4))
    assert scene.world_from_component(second.stream, 0) is None
    assert all(not change.poses and not len(change.dirty_blocks) for change in changes)
    assert scene.status.unaligned == ((second.stream, 0),)
    assert scene.status.num_blocks == blocks
    assert scene.keyframe_points(KeyframeId("b/0")) is None
    world_from_second = off_room(scene, first) @ second.component_from_room.inverse()
    change = scene.align(second.stream, 0, world_from_second)
    assert len(change.poses) == 4
    assert len(scene.fuse().dirty_blocks) > 0
    assert surface_error_m(scene, off_room(scene, first)) < 0.04
    with pytest.raises(ValueError, match="world itself"):
        scene.align(first.stream, 0, world_from_second)


def test_phones_that_start_together_share_the_world_once_both_are_metric() -> None:
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=1.7, seed=3)
    for phone in (first, second):
        scene.join(phone.stream, StreamOptions(start="shared", camera_height_m=1.5))
    feed(scene, first, first.poses(8))
    feed(scene, second, second.poses(10))
    ours, theirs = off_room(scene, first), off_room(scene, second)
    assert theirs.scale / ours.scale == pytest.approx(1.0, rel=0.08)
    assert angle_between(ours.rotation, theirs.rotation) < np.radians(1)


@cache
def views_of_marker() -> list[tuple[F64, np.ndarray, np.ndarray]]:
    """Poses before the marker on the wall, what one sees from there, and which of it is the marker's sheet."""
    room_from_marker, k = rigid(np.eye(3), [0.0, 1.2, -2.0]), K.scaled(640, 480)
    views = []
    for eye in [[0.6, 1.5, -1.1], [0.3, 1.6, -0.9], [-0.4, 1.5, -1.1], [-0.6, 1.4, -1.2], [-0.2, 1.7, -1.0]]:
        pose = look_at(eye, [0.05, 1.2, -2.0])
        sheet = photo(invert(pose) @ room_from_marker, k=k)
        rgb, _ = render(pose, K.scaled(320, 240))
        room = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (640, 480))
        views.append((pose, np.where(sheet == 140, room, sheet), sheet != 140))
    return views


def visit_marker(scene: SceneMap, phone: Phone, look: Look = lambda room: room) -> None:
    """Look at the marker on the wall from several sides, first thing after setting out; `look` repaints the room."""
    feed(scene, phone, phone.poses(3))
    for pose, gray, is_sheet in views_of_marker():
        tracked, frame, prediction = phone.sees(pose, np.where(is_sheet, gray, look(gray)))
        scene.observe(tracked, frame)
        scene.place(tracked, frame, prediction)
        scene.fuse()
    feed(scene, phone, phone.poses(8)[3:])


def test_a_marker_gives_metres_and_joins_two_phones() -> None:
    scene = SceneMap()
    phones = Phone("a", unit=0.4), Phone("b", unit=3.0, seed=8)
    for phone in phones:
        visit_marker(scene, phone)
    assert scene.status.scale_source == "marker"
    assert scene.status.unaligned == ()
    ours, theirs = (off_room(scene, phone) for phone in phones)
    assert ours.scale == pytest.approx(1.0, rel=0.02)
    assert theirs.scale == pytest.approx(1.0, rel=0.03)
    assert angle_between(ours.rotation, theirs.rotation) < np.radians(1.5)
    corner = np.array([0.4, 0.6, -1.0])
    assert np.linalg.norm(ours.apply(corner) - theirs.apply(corner)) < 0.05


def negative(room: np.ndarray) -> np.ndarray:
    return np.asarray(255 - room, np.uint8)


def plain(room: np.ndarray) -> np.ndarray:
    return np.full_like(room, 140)


@pytest.mark.parametrize("look", [negative, plain])
def test_a_marker_alone_joins_nobody(look: Look, caplog: pytest.LogCaptureFixture) -> None:
    """The same id on another wall, or on one that shows nothing else: it may be another print in another room."""
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=3.0, seed=8)
    visit_marker(scene, first)
    visit_marker(scene, second, look)
    assert scene.status.unaligned == ((second.stream, 0),)
    told = [record for record in caplog.records if "hangs twice" in record.getMessage()]
    assert len(told) == (look is negative)


def test_markers_are_passed_over_when_the_search_is_off_until_a_cue() -> None:
    scene, phone = SceneMap(Config(marker=markers.Config(search=False))), Phone("a", unit=0.4)
    visit_marker(scene, phone)
    assert scene.status.scale_source == "none"
    scene.declare_markers(markers.Config(size_m=0.16))
    visit_marker(scene, phone)
    assert scene.status.scale_source == "marker"


def test_a_size_that_is_said_late_counts_for_what_was_seen_before() -> None:
    scene, phone = SceneMap(Config(marker=markers.Config(size_m=0.08))), Phone("a", unit=0.4)
    visit_marker(scene, phone)
    assert off_room(scene, phone).scale == pytest.approx(0.5, rel=0.03)
    scene.declare_markers(markers.Config(size_m=0.16))
    scene.fuse()
    assert off_room(scene, phone).scale == pytest.approx(1.0, rel=0.03)
    joining = Phone("b", unit=3.0, seed=8)
    visit_marker(scene, joining)
    assert off_room(scene, joining).scale == pytest.approx(1.0, rel=0.03)


def test_a_restored_map_looks_for_what_was_declared() -> None:
    scene = SceneMap(Config(marker=markers.Config(size_m=0.08)))
    scene.declare_markers(markers.Config(size_m=0.16))
    visit_marker(scene, Phone("a", unit=0.4))
    again = SceneMap(Config(marker=markers.Config(size_m=0.08)))
    again.restore(scene.blocks(scene.voxels.block_keys()), scene.snapshot())
    joining = Phone("b", unit=3.0, seed=8)
    visit_marker(again, joining)
    assert off_room(again, joining).scale == pytest.approx(1.0, rel=0.03)


def test_camera_height_that_is_said_late_gives_metres_and_leaves_the_rest() -> None:
    scene, phone = SceneMap(), Phone("a", unit=0.4)
    feed(scene, phone, phone.poses(20))
    assert scene.status.scale_source == "none"
    scene.declare_camera_height(phone.stream, 1.5)
    scene.fuse()
    assert scene.status.scale_source == "camera_height"
    assert off_room(scene, phone).scale == pytest.approx(1.0, rel=0.05)


def test_a_posed_phone_keeps_its_own_metres_before_a_marker_of_another_size() -> None:
    scene, phone = SceneMap(Config(marker=markers.Config(size_m=0.2))), Phone("rgbd", posed=True)
    visit_marker(scene, phone)
    assert scene.status.scale_source == "posed"
    assert off_room(scene, phone).scale == pytest.approx(1.0, abs=1e-9)


def test_posed_streams_share_a_world_only_if_they_name_it() -> None:
    scene = SceneMap()
    same, other = Phone("x", posed=True), Phone("y", posed=True)
    scene.join(StreamId("founder"), StreamOptions(world="house"))
    scene.join(same.stream, StreamOptions(world="house"))
    for phone in (Phone("founder", posed=True), same, other):
        feed(scene, phone, phone.poses(2))
    assert scene.world_from_component(same.stream, 0) is not None
    assert scene.world_from_component(other.stream, 0) is None


def test_a_false_start_does_not_keep_the_world() -> None:
    scene, phone = SceneMap(), Phone("a")
    feed(scene, phone, phone.poses(2))
    phone.component, phone.component_from_room = 1, Phone("a", unit=0.8, seed=9).component_from_room
    changes = feed(scene, phone, phone.poses(6))
    assert scene.world_from_component(phone.stream, 0) is None
    assert surface_error_m(scene, off_room(scene, phone)) < 0.04
    assert next(change.reason for change in changes if change.new_from_old is not None) == "restart"


def test_memory_is_bounded_and_forgets_the_dullest() -> None:
    scene, phone = SceneMap(Config(max_keyframes=16)), Phone("a", posed=True)
    walk = phone.poses(8)
    feed(scene, phone, [*walk[:4], *[walk[3]] * 4, *walk[4:], *walk])
    assert scene.status.num_keyframes == 16
    kept = {int(name.split("/")[1]) for name in scene.keyframe_poses()}
    assert kept >= {0, 1, 2, 3}
    assert not kept & {4, 5, 6, 7}
    assert scene.status.num_pending == 0


def test_points_are_in_camera_axes_and_metres() -> None:
    scene, phone = SceneMap(), Phone("a", posed=True)
    feed(scene, phone, phone.poses(1))
    points = scene.keyframe_points(KeyframeId("a/0"), max_points=500)
    assert points is not None
    assert 250 <= len(points.points_camera_m) <= 500
    assert points.rgb.shape == points.points_camera_m.shape
    pose = phone.poses(1)[0]
    p = points.points_camera_m @ pose[:3, :3].T + pose[:3, 3]
    assert np.all((p > [-2.02, -0.02, -2.02]) & (p < [2.02, 2.52, 2.02]))
    assert scene.keyframe_points(KeyframeId("a/9")) is None


def test_goes_on_from_what_was_stored() -> None:
    scene, phone = SceneMap(), Phone("a", posed=True)
    scene.join(phone.stream, StreamOptions(world="house"))
    feed(scene, phone, phone.poses(3))
    again = SceneMap()
    again.restore(scene.blocks(scene.voxels.block_keys()), scene.snapshot())
    assert again.status.num_blocks == scene.status.num_blocks
    assert again.status.scale_source == "posed"
    back, stranger = Phone("b", posed=True), Phone("c")
    again.join(back.stream, StreamOptions(world="house"))
    for other in (back, stranger):
        feed(again, other, other.poses(3))
    assert again.world_from_component(back.stream, 0) is not None
    assert again.world_from_component(stranger.stream, 0) is None, "a settled world has no new founder"
    with pytest.raises(ValueError, match="first keyframe"):
        again.restore(tsdf.Tsdf().blocks(np.empty((0, 3), np.int32)), scene.snapshot())


def test_a_forgotten_phone_leaves_its_voxels_and_nothing_else() -> None:
    scene, phone = SceneMap(), Phone("a", posed=True)
    feed(scene, phone, phone.poses(3))
    blocks = scene.status.num_blocks
    assert len(scene.forget(phone.stream)) == 3
    assert not scene.knows(phone.stream)
    assert scene.keyframe_poses() == {}
    assert scene.status.num_blocks == blocks
    assert scene.fuse().new_from_old is None
    stranger = Phone("b")
    feed(scene, stranger, stranger.poses(2))
    assert scene.world_from_component(stranger.stream, 0) is None


def test_refuses_what_it_cannot_place() -> None:
    scene, phone = SceneMap(), Phone("a")
    tracked, frame, prediction = phone.sees(phone.poses(1)[0])
    scene.observe(replace(tracked, state="starting"), frame)
    assert not scene.knows(phone.stream), "it has turned, in the frame of a map to come"
    with pytest.raises(ValueError, match="not observed"):
        scene.place(tracked, frame, prediction)
    scene.observe(tracked, frame)
    with pytest.raises(ValueError, match="no depth"):
        scene.place(tracked, frame, None)
    lost = replace(tracked, state="lost", component_from_camera=None, seq=9)
    scene.observe(lost, replace(frame, seq=9))
    with pytest.raises(ValueError, match="not observed"):
        scene.place(lost, replace(frame, seq=9), prediction)
    with pytest.raises(ValueError, match="farther apart"):
        scene.declare_distance(np.zeros(3), np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="film first"):
        SceneMap().declare_distance(np.zeros(3), np.ones(3), 1.0)


def test_an_engine_with_a_frame_of_its_own_is_brought_to_the_trackers_unit() -> None:
    scene, phone = SceneMap(), Phone("a", unit=0.5)
    window_from_component = Sim3(7.0, exp_so3(np.array([0.2, 0.5, -0.1])), np.array([1.0, 2.0, 3.0]))
    views: list[ViewPrediction] = []
    for pose in phone.poses(6):
        tracked, frame, prediction = phone.sees(pose)
        assert prediction is not None
        own = prediction.views[0]
        assert own.depth is not None
        turned = window_from_component.apply_pose(own.window_from_camera)
        views.append(replace(own, window_from_camera=turned, depth=own.depth * np.float32(7.0)))
        scene.observe(tracked, frame)
        if len(views) < 2:
            with pytest.raises(ValueError, match="unit"):
                scene.place(tracked, frame, WindowPrediction(tuple(views)))
        else:
            scene.place(tracked, frame, WindowPrediction(tuple(views)))
        scene.fuse()
    assert surface_error_m(scene, off_room(scene, phone)) < 0.04
