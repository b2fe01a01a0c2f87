"""What stands in the volume: corrections, second looks and new epochs, in small steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.engines import WindowPrediction
from mapping.fusion import Fusion
from mapping.kept import Kept, KeptKeyframes, packed
from mapping.scene_map import Config, SceneMap
from mapping.transforms import Sim3, exp_so3, look_at, rigid
from mapping.volume import tsdf
from mapping.volume.moving import moved
from streams.frame import DepthMap, StreamId
from tests.mapping.room import render
from tests.mapping.walking import K, Phone, feed, off_room, surface_error_m


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


def test_fusing_takes_small_steps() -> None:
    scene, phone = SceneMap(Config(fuse_batch=2)), Phone("a", posed=True)
    feed(scene, phone, phone.poses(5), fuse=False)
    left = []
    while scene.status.num_pending:
        scene.fuse()
        left.append(scene.status.num_pending)
    assert left == [3, 1, 0]


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


def test_what_a_moved_world_holds_is_taken_back_from_where_it_stands() -> None:
    """A correction waits while the world turns: the volume ends as if the keyframe had always been where it is now."""
    quarter = Sim3(1.0, np.round(exp_so3(np.array([0.0, np.pi / 2, 0.0]))), np.zeros(3))
    astray, right = (look_at([x, 1.3, 0.4], [0.3, 0.4, -1.5]) for x in (-0.5, 0.3))
    volumes = []
    for first in (astray, right):
        world, kept = Sim3.identity(), KeptKeyframes(5)
        rgb, depth = render(first, K)
        one = Kept(KeyframeId("a/0"), (StreamId("a"), 0), first, K, *packed(DepthMap(depth, K)), rgb)
        kept.add(one)
        fusion = Fusion(tsdf.Config(), kept, lambda _: world)  # noqa: B023
        fusion.wait(one)
        fusion.step(fusion.pending())
        one.component_from_camera, one.depth = right, render(right, K)[1].astype(np.float16)
        world = quarter
        fusion.load(fusion.volume.blocks(fusion.volume.block_keys()))  # as if there were more in it
        fusion.follow(quarter)
        fusion.wait(one)
        fusion.step(fusion.pending())
        volumes.append(fusion.volume.window((-60, -10, -60), (120, 60, 120)))
    mine, always = volumes
    num = np.count_nonzero(always.weight)
    assert num > 2000
    assert np.count_nonzero(np.abs(mine.weight - always.weight) > 1e-3) < 0.005 * num
    assert np.count_nonzero(np.abs(mine.tsdf_m - always.tsdf_m) > 1e-3) < 0.005 * num


def test_voxels_whose_keyframes_had_to_go_turn_with_the_world() -> None:
    turned = Sim3(1.2, exp_so3(np.array([0.0, 0.3, 0.1])), np.zeros(3))
    world, kept = Sim3.identity(), KeptKeyframes(1)
    fusion = Fusion(tsdf.Config(), kept, lambda _: world)
    for seq, x in enumerate((-0.5, 0.3)):
        pose = look_at([x, 1.3, 0.4], [4.0 * x, 0.4, -1.5])
        rgb, depth = render(pose, K)
        one = Kept(KeyframeId(f"a/{seq}"), (StreamId("a"), 0), pose, K, *packed(DepthMap(depth, K)), rgb)
        gone = kept.add(one)
        fusion.wait(one)
        fusion.step(fusion.pending())
        if gone is not None:
            fusion.forget(gone)
    before, world = moved(fusion.volume, turned), turned
    fusion.follow(turned)
    assert (fusion.pending(), fusion.is_rebuilding) == ([], False)
    np.testing.assert_array_equal(fusion.volume.block_keys(), before.keys)
    np.testing.assert_array_equal(fusion.volume.blocks(before.keys).tsdf_m, before.tsdf_m)
