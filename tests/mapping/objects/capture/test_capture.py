"""A mug on a box in a room (`benchmarks.capture`), filmed at half of the benchmark's size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import capture as scene_of
from mapping.objects.capture import carving, masks, poses, region
from mapping.objects.capture.capturing import STAGES, Captured, Config, capture
from mapping.objects.mesh import moved
from mapping.objects.quality import measure
from mapping.objects.view import View
from mapping.transforms import angle_between
from streams.frame import Intrinsics

K = Intrinsics.from_fov(260, 196)
SCENE = scene_of.build()


@pytest.fixture(scope="module")
def truth() -> list[View]:
    return [SCENE.view(pose, K) for pose in scene_of.poses(SCENE, 8)]


@pytest.fixture(scope="module")
def noisy(truth: list[View]) -> list[View]:
    """Without masks, with the noise of depth and poses that the goals speak of."""
    return scene_of.noisy([replace(view, mask=None) for view in truth], 7, 0.004, 1.0, 0.01)


def f1(found: Captured) -> float:
    return scene_of.f1(moved(found.mesh, found.world_from_mesh[:3, 3]), SCENE.thing)


def test_exact_masks_give_the_thing_where_it_is(truth: list[View]) -> None:
    found = capture(scene_of.noisy(truth, 3, 0.004), None, Config(texture_px=512))
    assert f1(found) > 0.97
    quality = measure(found.mesh, 8000)
    assert quality.problems == ()
    assert quality.bodies == 1
    low, high = SCENE.thing.bounds_m()
    foot = [(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2]
    assert np.linalg.norm(found.world_from_mesh[:3, 3] - foot) < 0.01
    assert found.agreement.mask_iou > 0.93
    assert found.agreement.psnr_db > 26


def test_a_box_drawn_in_one_keyframe_is_enough(truth: list[View], noisy: list[View]) -> None:
    stages: list[str] = []
    found = capture(noisy, scene_of.box_around(truth[0], 0, 3.0), Config(texture_px=512), between=stages.append)
    assert tuple(stages) == STAGES
    assert f1(found) > 0.95
    ious = [
        (a.mask & b.mask).sum() / (a.mask | b.mask).sum()
        for a, b in zip(found.views, truth, strict=True)  # type: ignore[operator]
    ]
    assert min(ious) > 0.85


def test_poses_agree_and_stay_where_they_were_given(truth: list[View], noisy: list[View]) -> None:
    def off(views: list[View] | tuple[View, ...]) -> float:
        """How much the poses differ between each other, in degrees, beyond what all share."""
        turns = [a.world_from_camera[:3, :3] @ b.world_from_camera[:3, :3].T for a, b in zip(views, truth, strict=True)]
        return float(np.degrees(np.mean([angle_between(turns[0], turn) for turn in turns[1:]])))

    better = poses.agreed(noisy)
    assert off(better) < 0.3 * off(noisy)
    moved_m = [
        np.linalg.norm(a.world_from_camera[:3, 3] - b.world_from_camera[:3, 3])
        for a, b in zip(better, truth, strict=True)
    ]
    assert max(moved_m) < 0.015
    exact = poses.agreed(truth)
    assert (
        max(
            angle_between(a.world_from_camera[:3, :3], b.world_from_camera[:3, :3])
            for a, b in zip(exact, truth, strict=True)
        )
        < 0.004
    )
    assert poses.agreed(noisy[:1]) == tuple(noisy[:1])


def at_of(view: View, place_m: tuple[float, float, float]) -> tuple[float, float]:
    """The pixel that shows a place of the scene, given in the mug-and-box's own frame."""
    from mapping.transforms import exp_so3, invert, project

    world = exp_so3(np.array([0, 0.4, 0])) @ np.array(place_m) + [0.8, 0.0, -0.5]
    camera = invert(view.world_from_camera)
    u, v = project((camera[:3, :3] @ world + camera[:3, 3])[None], view.intrinsics)[0]
    return float(u), float(v)


def test_a_click_takes_what_stands_on_the_surface_below_it(truth: list[View]) -> None:
    box_top_m = 0.20
    mug = region.find(truth, region.Click(0, *at_of(truth[0], (0.03, 0.26, 0.05))))
    assert mug.floor.at_zero_m == pytest.approx(box_top_m, abs=0.03)
    low, high = mug.bounds_m()
    assert max(high - low) < 0.16
    whole = region.find(truth, region.Click(0, *at_of(truth[0], (0.0, 0.10, 0.11))))
    assert whole.floor.height_m([0.8, 0, -0.5]) == pytest.approx(0.0, abs=0.005)
    assert whole.bounds_m()[1][1] == pytest.approx(0.31, abs=0.02)


def test_an_outline_means_the_same_as_a_box(truth: list[View]) -> None:
    mask = truth[2].mask
    assert mask is not None
    drawn = region.find(truth, region.Outline(2, mask))
    boxed = region.find(truth, scene_of.box_around(truth[2], 2, 3.0))
    assert np.allclose(drawn.bounds_m(), boxed.bounds_m(), atol=0.03)


def test_masks_follow_the_thing(truth: list[View]) -> None:
    bare = [replace(view, mask=None) for view in truth]
    found = masks.masked(bare, region.find(bare, scene_of.box_around(truth[0], 0, 3.0)))
    for mine, exact in zip(found, truth, strict=True):
        assert mine.mask is not None
        assert (mine.mask & exact.mask).sum() / (mine.mask | exact.mask).sum() > 0.9  # type: ignore[operator]


def test_what_cannot_be_captured_is_said(truth: list[View]) -> None:
    bare = [replace(view, mask=None) for view in truth]
    with pytest.raises(region.NothingThere, match=r"ground|level"):
        capture(bare, region.Click(0, 20.0, 180.0))
    with pytest.raises(region.NothingThere, match="no view 9"):
        capture(bare, region.Click(9, 0.0, 0.0))
    with pytest.raises(region.NothingThere, match="no depth"):
        capture([replace(view, depth_m=np.zeros_like(view.depth_m)) for view in bare], region.Click(0, 130.0, 98.0))
    with pytest.raises(region.NothingThere, match="mask"):
        capture(bare, None)
    with pytest.raises(region.NothingThere, match="more sides"):
        capture(bare[:1], scene_of.box_around(truth[0], 0))


def test_depth_alone_leaves_open_what_silhouettes_close(truth: list[View]) -> None:
    """The carved field is solid behind what is seen, and empty beside every silhouette."""
    low, high = SCENE.thing.bounds_m()
    field = carving.carve(truth, low, high, 0.006, region.Floor(0.0, 0.0, 0.0))
    inside = np.array([0.8, 0.05, -0.5])  # the middle of the box: no view sees it
    at = np.round((inside - field.origin_m) / field.voxel_m).astype(int)
    assert field.distance_m[tuple(at)] < 0
    assert field.distance_m[0].min() > 0
    assert field.distance_m[:, 0].min() > 0  # below the floor


def test_gaps_of_a_mask_and_what_stands_before_it_carve_nothing_away(truth: list[View]) -> None:
    """Where depth is unknown or ends early, a view says nothing; a mask that lost half of the thing does no harm."""
    damaged = []
    for number, view in enumerate(truth):
        assert view.mask is not None
        assert view.depth_m is not None
        mask, depth_m = view.mask.copy(), view.depth_m.copy()
        columns = np.nonzero(mask.any(axis=0))[0]
        left = columns[: len(columns) // 2]
        if number == 1:  # dark: no depth, so not in the mask
            mask[:, left], depth_m[:, left] = False, 0.0
        if number == 4:  # somebody stands in the way
            mask[:, left], depth_m[:, left] = False, 0.3
        damaged.append(replace(view, mask=mask, depth_m=depth_m))
    whole = capture(truth, None, Config(voxels=64, texture_px=64))
    assert f1(capture(damaged, None, Config(voxels=64, texture_px=64))) > f1(whole) - 0.02


def test_the_side_that_nobody_saw_does_not_run_on_behind_it(truth: list[View]) -> None:
    """From one side only, what is hidden ends with the hull of what was seen."""
    low, high = SCENE.thing.bounds_m()
    beyond_m = 0.3
    field = carving.carve(truth[:1], low - beyond_m, high + beyond_m, 0.008, region.Floor(0.0, 0.0, 0.0))
    solid_at = field.origin_m + np.argwhere(field.distance_m < 0) * field.voxel_m
    assert (solid_at >= low - 0.02).all()
    assert (solid_at <= high + 0.02).all()


def test_the_same_keyframes_give_the_same_mesh(noisy: list[View], truth: list[View]) -> None:
    pick, config = scene_of.box_around(truth[0], 0, 3.0), Config(voxels=48, texture_px=64)
    one, other = capture(noisy[:4], pick, config), capture(noisy[:4], pick, config)
    assert np.array_equal(one.mesh.vertices_m, other.mesh.vertices_m)
    assert one.mesh.texture is not None
    assert np.array_equal(one.mesh.texture, other.mesh.texture)
