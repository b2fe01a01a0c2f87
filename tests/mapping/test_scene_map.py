"""The fused map: who founds the world, who joins it how, what corrections and better cues do to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from mapping.changes import KeyframeId, MapChange
from mapping.engines import ViewPrediction, WindowPrediction
from mapping.metric import markers
from mapping.scene_map import Config, SceneMap, StreamOptions
from mapping.tracking.tracker import Tracked
from mapping.transforms import F64, Sim3, angle_between, exp_so3, invert, look_at, rigid
from mapping.volume import tsdf
from streams.frame import DepthMap, Frame, GivenPose, Image, Intrinsics, Motion, StreamId
from tests.mapping.metric.test_markers import photo
from tests.mapping.room import render

K = Intrinsics.from_fov(160, 120)
UP = np.array([0.0, 1.0, 0.0])


class Phone:
    """Walks through the room and says what its tracker would say, in a component of its own frame and unit."""

    def __init__(self, name: str, *, unit: float = 0.4, posed: bool = False, up: bool = True, seed: int = 0) -> None:
        self.stream, self.posed, self.up = StreamId(name), posed, up
        rng = np.random.default_rng(seed)
        turn = exp_so3(rng.normal(0, 1, 3))
        self.component_from_room = Sim3.identity() if posed else Sim3(1 / unit, turn, rng.normal(0, 2, 3))
        self.component = 0
        self.seq = 0

    def poses(self, num: int) -> list[F64]:
        """world_from_camera in the room's own frame: a walk along an arc, looking at the chest and the floor."""
        angles = 0.12 * np.arange(num)
        return [look_at([np.sin(a), 1.5, 0.3 + np.cos(a)], [0.4 * np.sin(3 * a), 0.2, -1.0]) for a in angles]

    def sees(
        self, room_from_camera: F64, gray: np.ndarray | None = None
    ) -> tuple[Tracked, Frame, WindowPrediction | None]:
        rgb, depth = render(room_from_camera, K)
        pose = self.component_from_room.apply_pose(room_from_camera)
        motion = Motion(up_camera=room_from_camera[:3, :3].T @ UP) if self.up and not self.posed else None
        landmarks = (np.array([0, 0, 1.0]) * depth[::15, ::20].reshape(-1, 1)) @ room_from_camera[:3, :3].T
        landmarks = self.component_from_room.apply(landmarks + room_from_camera[:3, 3])
        k = K
        if gray is not None:
            rgb, k = np.repeat(gray[..., None], 3, axis=2), K.scaled(gray.shape[1], gray.shape[0])
        frame = Frame(
            self.stream, self.seq, self.seq * 10**8, self.seq * 10**8, Image(rgb=rgb), k, motion=motion,
            pose=GivenPose(pose) if self.posed else None, depth=DepthMap(depth, K) if self.posed else None,
        )  # fmt: skip
        tracked = Tracked(
            self.stream, self.seq, frame.capture_ns, "tracked", self.component, pose, k, True,
            landmarks_component=landmarks.astype(np.float32),
        )  # fmt: skip
        self.seq += 1
        if self.posed:
            return tracked, frame, None
        scaled = depth * np.float32(self.component_from_room.scale)
        view = ViewPrediction(KeyframeId(f"{self.stream}/{frame.seq}"), pose, K, scaled, np.ones_like(depth))
        return tracked, frame, WindowPrediction((view,))


def feed(scene: SceneMap, phone: Phone, poses: Iterable[F64], fuse: bool = True) -> list[MapChange]:
    changes = []
    for pose in poses:
        tracked, frame, prediction = phone.sees(pose)
        scene.observe(tracked, frame)
        changes.append(scene.place(tracked, frame, prediction))
        if fuse:
            changes.append(scene.fuse())
    return changes


def off_room(scene: SceneMap, phone: Phone) -> Sim3:
    """world_from_room as this phone's alignment implies it."""
    world_from_component = scene.world_from_component(phone.stream, phone.component)
    assert world_from_component is not None
    return world_from_component @ phone.component_from_room


def surface_error_m(scene: SceneMap, world_from_room: Sim3) -> float:
    """Median distance of the map's surface to the room's, in room metres."""
    from mapping.volume.surface import extract

    keys = scene.voxels.block_keys()
    low, high = keys.min(axis=0) * 8, (keys.max(axis=0) + 1) * 8
    window = scene.voxels.window(tuple(low.tolist()), tuple((high - low).tolist()))
    p = world_from_room.inverse().apply(extract(window, scene.voxels.voxel_size_m).vertices_m.astype(np.float64))
    assert len(p) > 2000
    lower, upper = np.array([[-0.4, 0.0, -1.6], [0.4, 0.6, -1.0]])
    chest = np.linalg.norm(np.maximum(np.maximum(lower - p, p - upper), 0), axis=1)
    walls = np.abs(np.stack([p[:, 0] + 2, 2 - p[:, 0], p[:, 1], 2.5 - p[:, 1], p[:, 2] + 2, 2 - p[:, 2]])).min(axis=0)
    return float(np.median(np.minimum(chest, walls)))


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


def test_a_new_epoch_comes_in_by_slices_and_ends_as_if_it_had_come_at_once() -> None:
    volumes = []
    for batch in (2, 100):
        scene, phone = SceneMap(Config(fuse_batch=batch)), Phone("a", unit=0.4)
        feed(scene, phone, phone.poses(7))
        while scene.status.num_pending:
            scene.fuse()
        before = off_room(scene, phone)
        a, b = (before.apply(np.array(p)) for p in ([-0.4, 0.6, -1.0], [0.4, 0.6, -1.0]))
        scene.declare_distance(a, b, 0.8)
        changes = [scene.fuse()]
        while scene.status.is_rebuilding:
            changes.append(scene.fuse())
        assert [change.new_from_old is not None for change in changes] == [True] + [False] * (len(changes) - 1)
        assert len(changes) == -(-7 // batch)
        assert set(changes[0].poses) == set(scene.keyframe_poses())
        assert not any(change.poses for change in changes[1:]), "the new epoch has told all poses"
        assert scene.status.num_pending == 0
        volumes.append(scene.blocks(scene.voxels.block_keys()))
    np.testing.assert_array_equal(volumes[0].keys, volumes[1].keys)
    np.testing.assert_array_equal(volumes[0].tsdf_m, volumes[1].tsdf_m)


def test_a_rebuilding_map_is_whole_once_the_phone_it_waits_for_is_forgotten() -> None:
    scene, phone = SceneMap(Config(fuse_batch=1)), Phone("a", unit=0.4)
    feed(scene, phone, phone.poses(5))
    before = off_room(scene, phone)
    scene.declare_distance(before.apply(np.zeros(3)), before.apply(np.ones(3)), 1.0)
    scene.fuse()
    assert scene.status.is_rebuilding
    scene.forget(phone.stream)
    scene.fuse()
    assert not scene.status.is_rebuilding


def test_camera_height_gives_metres() -> None:
    scene, phone = SceneMap(), Phone("a", unit=0.25)
    scene.join(phone.stream, StreamOptions(camera_height_m=1.5))
    feed(scene, phone, phone.poses(12))
    assert scene.status.scale_source == "camera_height"
    assert off_room(scene, phone).scale == pytest.approx(1.0, rel=0.06)


def test_a_correction_moves_poses_at_once_and_voxels_with_the_next_fuse() -> None:
    scene, phone = SceneMap(), Phone("a")
    poses = phone.poses(6)
    wrong = poses[3] @ rigid(exp_so3(np.array([0.0, 0.05, 0.0])), [0.15, 0.0, 0.0])
    for n, pose in enumerate(poses):
        tracked, frame, prediction = phone.sees(pose)
        if n == 3:
            assert prediction is not None
            astray = phone.component_from_room.apply_pose(wrong)
            tracked = replace(tracked, component_from_camera=astray)
            prediction = WindowPrediction((replace(prediction.views[0], window_from_camera=astray),))
        scene.observe(tracked, frame)
        scene.place(tracked, frame, prediction)
        scene.fuse()
    bad = surface_error_m(scene, off_room(scene, phone))
    right = phone.component_from_room.apply_pose(poses[3])
    corrected = {3: right, 4: phone.component_from_room.apply_pose(poses[4]), 77: right}
    tracked, frame, _ = phone.sees(phone.poses(7)[6])
    change = scene.correct(replace(tracked, corrected=corrected))
    assert set(change.poses) == {KeyframeId("a/3"), KeyframeId("a/4")}
    assert scene.status.num_pending == 1, "one of the two did not really move"
    assert len(scene.fuse().dirty_blocks) > 0
    assert scene.status.num_pending == 0
    assert surface_error_m(scene, off_room(scene, phone)) < bad

    fresh, again = SceneMap(), Phone("a")
    feed(fresh, again, poses)
    keys = fresh.voxels.block_keys()
    ours, theirs = scene.blocks(keys), fresh.blocks(keys)
    clear = np.minimum(theirs.weight[: len(ours.keys)], ours.weight) > 0.5
    assert len(ours.keys) == len(keys)
    assert np.quantile(np.abs(ours.tsdf_m - theirs.tsdf_m)[clear], 0.99) < 0.005


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


def visit_marker(scene: SceneMap, phone: Phone) -> None:
    """Look at the marker on the wall from several sides, first thing after setting out."""
    feed(scene, phone, phone.poses(3))
    room_from_marker = rigid(np.eye(3), [0.0, 1.2, -1.9])
    for eye in [[0.6, 1.5, -1.0], [0.3, 1.6, -0.8], [-0.4, 1.5, -1.0], [-0.6, 1.4, -1.1], [-0.2, 1.7, -0.9]]:
        pose = look_at(eye, [0.05, 1.2, -1.9])
        tracked, frame, prediction = phone.sees(pose, photo(invert(pose) @ room_from_marker, k=K.scaled(640, 480)))
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


def test_fusing_takes_small_steps() -> None:
    scene, phone = SceneMap(Config(fuse_batch=2)), Phone("a", posed=True)
    feed(scene, phone, phone.poses(5), fuse=False)
    left = []
    while scene.status.num_pending:
        scene.fuse()
        left.append(scene.status.num_pending)
    assert left == [3, 1, 0]


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


def test_lines_of_sight_end_at_the_chest_and_stay_unknown_where_nobody_looked() -> None:
    scene, phone = SceneMap(), Phone("a", posed=True)
    feed(scene, phone, phone.poses(6))
    eye = phone.poses(1)[0][:3, 3]
    on_the_chest, inside_it = np.array([0.0, 0.6, -1.2]), np.array([0.0, 0.1, -1.5])
    assert scene.line_of_sight(eye, on_the_chest).verdict == "visible"
    hidden = scene.line_of_sight(eye, inside_it)
    assert hidden.verdict == "occluded"
    assert hidden.blocker_m is not None
    front = eye + (inside_it - eye) * (hidden.blocker_m / hidden.distance_m)
    assert front[2] == pytest.approx(-1.0, abs=0.02)
    assert scene.line_of_sight(eye, np.add(eye, [0.0, 0.3, 1.5])).verdict == "unknown"


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
    with pytest.raises(ValueError, match="poses of their own"):
        SceneMap().declare_distance(np.zeros(3), np.ones(3), 1.0)


def test_a_second_look_replaces_the_first_in_the_volume() -> None:
    scene, phone = SceneMap(Config()), Phone("a")
    for n, pose in enumerate(phone.poses(5)):
        tracked, frame, prediction = phone.sees(pose)
        assert prediction is not None
        (view,) = prediction.views
        assert view.depth is not None
        first = replace(view, depth=view.depth * np.float32(0.8)) if n == 2 else view
        if n == 2:
            better = view
        answer = WindowPrediction((better, first)) if n == 4 else WindowPrediction((first,))
        scene.observe(tracked, frame)
        change = scene.place(tracked, frame, answer)
        scene.fuse()
        assert (KeyframeId("a/2") in change.poses) == (n in (2, 4)), "who looked again is told again"
    plain, other = SceneMap(Config()), Phone("a")
    feed(plain, other, other.poses(5))
    again, once = scene.voxels.window((-40, -10, -60), (80, 60, 80)), plain.voxels.window((-40, -10, -60), (80, 60, 80))
    known = (again.weight > 0) & (once.weight > 0)
    assert known.sum() > 2000
    assert np.sum(again.tsdf_m < 0) == pytest.approx(np.sum(once.tsdf_m < 0), rel=0.02), "nothing solid is left behind"
    assert np.mean(np.abs(again.tsdf_m - once.tsdf_m)[known] < 0.005) > 0.98


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
