"""The tracker's small machines, one property each."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.tracking import patches
from mapping.tracking.flow import Pyramid, follow, fresh_corners
from mapping.tracking.lens import Lens
from mapping.tracking.local_map import LocalMap, Node
from mapping.tracking.places import describe, solve
from mapping.tracking.pose import fit_pose, project
from mapping.tracking.turn import Thumbnail, difference, turn_between
from mapping.tracking.view import look
from mapping.transforms import F64, angle_between, exp_so3, rigid
from mapping.transforms import project as project_camera
from streams.frame import Intrinsics
from tests.mapping.painted_room import CAMERA, PaintedRoom, frame, walk


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    return PaintedRoom(3)


def turned(pose: F64, degrees: float, axis: int = 1) -> F64:
    return pose @ rigid(exp_so3(np.radians(degrees) * np.eye(3)[axis]), np.zeros(3))


@given(st.floats(-0.25, 0.25), st.floats(0.5, 2.0), st.floats(0.8, 1.25))
def test_lens_undoes_itself_and_agrees_with_the_house(k1: float, zoom: float, aspect: float) -> None:
    camera = Intrinsics(500 * zoom, 500 * zoom * aspect, 310.0, 250.0, 640, 480, k1)
    lens = Lens(camera, 500.0)
    points = np.random.default_rng(0).uniform([-0.4, -0.3, 1], [0.4, 0.3, 1], (50, 3))
    house = project_camera(points, camera)  # centres at +0.5
    np.testing.assert_allclose(lens.pixels(500.0 * points[:, :2]), house - 0.5, atol=2e-3)
    np.testing.assert_allclose(lens.ideal(house - 0.5), 500.0 * points[:, :2], atol=0.5)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 12))
def test_pose_is_found_from_a_poor_guess_among_wrong_points(seed: int, num_wrong: int) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform([-2, -1.5, 2], [2, 1.5, 5], (60, 3))
    rotation = exp_so3(random.normal(0, 0.1, 3))
    true = np.column_stack([rotation, random.normal(0, 0.2, 3)])
    pixels = project(true, points, 500.0)[:, :2] + random.normal(0, 0.3, (60, 2))
    pixels[:num_wrong] += random.choice([-1, 1], (num_wrong, 2)) * random.uniform(15, 80, (num_wrong, 2))
    guess = np.column_stack([exp_so3(random.normal(0, 0.01, 3)) @ rotation, true[:, 3] + random.normal(0, 0.02, 3)])
    fit = fit_pose(guess, points, pixels, 500.0)
    assert np.linalg.norm(fit.camera_from_map[:, 3] - true[:, 3]) < 0.02
    assert not fit.inlier[:num_wrong].any()
    assert fit.inlier[num_wrong:].mean() > 0.95


def test_pose_without_a_guess() -> None:
    random = np.random.default_rng(0)
    points = random.uniform([-2, -1.5, 2], [2, 1.5, 5], (80, 3))
    true = np.column_stack([exp_so3(np.array([0.3, -0.5, 0.2])), [0.3, -0.2, 0.5]])
    pixels = project(true, points, 500.0)[:, :2]
    pixels[:30] = random.uniform(-300, 300, (30, 2))
    fit = solve(points, pixels, 500.0, min_inliers=20)
    assert fit is not None
    np.testing.assert_allclose(fit.camera_from_map, true, atol=1e-3)
    assert solve(points[:30], pixels[:30], 500.0, min_inliers=20) is None


def test_uncertainty_grows_when_points_cluster() -> None:
    points = np.random.default_rng(0).uniform([-1, -1, 2], [1, 1, 4], (60, 3))
    near = 0.02 * points + [0, 0, 3]
    sigmas = []
    for p in (points, near):
        fit = fit_pose(np.eye(3, 4), p, project(np.eye(3, 4), p, 500.0)[:, :2], 500.0)
        sigmas.append(np.sqrt(np.trace(fit.covariance[:3, :3])))
    assert sigmas[1] > 10 * sigmas[0]


@pytest.mark.parametrize("degrees", [-9.0, -2.0, 0.0, 3.0, 9.0])
def test_thumbnails_tell_the_turn(room: PaintedRoom, degrees: float) -> None:
    pose = walk(1)[0]
    before, after = (Thumbnail.of(room.render(p), CAMERA.fx) for p in (pose, turned(pose, degrees)))
    found, error = turn_between(before, after, [np.eye(3)])
    # A camera that turns by R sees points turn by its inverse.
    assert np.degrees(angle_between(found, exp_so3(np.array([0.0, -np.radians(degrees), 0.0])))) < 0.6
    assert error < 0.3


def test_likeness_prefers_the_same_place(room: PaintedRoom) -> None:
    poses = walk(100)
    here, near, far = (Thumbnail.of(room.render(p), CAMERA.fx) for p in (poses[0], poses[4], turned(poses[0], 90.0)))
    assert difference(here, here) == pytest.approx(0.0, abs=1e-6)
    assert difference(here, near) < difference(here, far)


def test_corners_keep_their_distance(room: PaintedRoom) -> None:
    image = room.render(walk(1)[0])
    first = fresh_corners(image, np.empty((0, 2), np.float32), 60)
    more = fresh_corners(image, first, 60)
    assert len(first) == 60
    gap = np.linalg.norm(first[:, None] - more[None], axis=2)
    assert gap.min() > 9  # spacing, less what sub-pixel refinement moves
    assert len(fresh_corners(np.full((240, 320), 77, np.uint8), first[:0], 60)) == 0
    assert len(fresh_corners(image, first, 0)) == 0


def test_flow_agrees_with_geometry_and_knows_when_it_does_not(room: PaintedRoom) -> None:
    poses = walk(3)
    before, after = (Pyramid.build(room.render(p)) for p in (poses[0], turned(poses[0], 1.5)))
    corners = fresh_corners(before.gray, np.empty((0, 2), np.float32), 100)
    there, good = follow(before, after, corners, corners)
    lens = Lens(CAMERA, CAMERA.fx)
    rays = np.column_stack([lens.ideal(corners) / CAMERA.fx, np.ones(len(corners))])
    expected = lens.pixels(project(np.eye(3, 4), rays @ exp_so3(np.array([0, np.radians(1.5), 0])), CAMERA.fx)[:, :2])
    assert good.mean() > 0.7
    assert np.median(np.linalg.norm(there - expected, axis=1)[good]) < 0.15
    noise = Pyramid.build(np.random.default_rng(0).integers(0, 255, before.gray.shape).astype(np.uint8))
    assert follow(before, noise, corners, corners)[1].mean() < 0.15


@pytest.mark.parametrize(("degrees", "zoom", "gain"), [(0, 1.0, 1.0), (25, 1.0, 0.6), (0, 1.4, 1.0), (-15, 0.8, 0.8)])
def test_patches_are_found_turned_scaled_and_dimmed(
    room: PaintedRoom, degrees: float, zoom: float, gain: float
) -> None:
    image = Pyramid.build(room.render(walk(1)[0]))
    corners = fresh_corners(image.gray, np.empty((0, 2), np.float32), 40, border_px=40)
    looks = patches.cut(image.gray, image.half, corners)
    around = cv2.getRotationMatrix2D((160.0, 120.0), degrees, zoom)
    bent = cv2.warpAffine(image.gray, around, (320, 240), flags=cv2.INTER_LINEAR)
    other = Pyramid.build(np.asarray(bent * gain + 12, np.uint8))
    expected = corners @ around[:, :2].T + around[:, 2]
    warps = np.tile(np.linalg.inv(around[:, :2]), (len(corners), 1, 1))
    found = np.empty((len(corners), 2))
    seeds = expected + np.random.default_rng(0).uniform(-2, 2, expected.shape)
    origins = corners.astype(np.float64)
    scores = patches.align(looks, origins, warps, other.gray, other.half, seeds, True, found)
    sure = scores > 0.8
    assert sure.mean() > 0.5
    assert np.median(np.linalg.norm(found - expected, axis=1)[sure]) < 0.3


def test_descriptors_match_across_a_roll(room: PaintedRoom) -> None:
    image = room.render(walk(1)[0])
    around = cv2.getRotationMatrix2D((160.0, 120.0), 30, 1.0)
    rolled = np.asarray(cv2.warpAffine(image, around, (320, 240)), np.uint8)
    corners = fresh_corners(image, np.empty((0, 2), np.float32), 80, border_px=50)
    there = (corners @ around[:, :2].T + around[:, 2]).astype(np.float32)
    a, b = describe(image, corners), describe(rolled, there)
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(a.descriptors, b.descriptors)
    right = [a.corner[m.queryIdx] == b.corner[m.trainIdx] for m in matches if m.distance < 64]
    assert len(right) > 40
    assert np.mean(right) > 0.7


def test_a_map_forgets_rather_than_grows() -> None:
    """Nodes that see the same landmarks as others go first; what nobody sees any more is used again."""
    local_map = LocalMap(500.0, max_nodes=40)
    image, lens = Pyramid.build(np.zeros((240, 320), np.uint8)), Lens(CAMERA, CAMERA.fx)
    thumbnail = Thumbnail.of(image.gray, CAMERA.fx)
    for k in range(300):
        node = Node(
            k, thumbnail, np.empty(0, np.int64), np.empty((0, 2)), np.empty((0, 32), np.uint8), np.empty(0, np.int64)
        )
        index = local_map.add_node(node, np.eye(3, 4))
        node.landmarks = local_map.add_landmarks(index, image, lens, np.full((50, 2), 100.0, np.float32))
        node.pixels = np.zeros((50, 2))
        local_map.placed[node.landmarks] = True
        local_map.forget(node.landmarks)
    alive = [n for n in local_map.nodes if n.thumbnail is not None]
    assert len(alive) == 40
    assert len(local_map.nodes) == len(local_map.poses) <= 80
    assert local_map.nodes[0] in alive  # the gauge
    assert local_map.nodes[-20:] == alive[-20:]
    assert local_map.capacity <= 4096
    ids = np.concatenate([n.landmarks for n in alive])
    assert len(np.unique(ids)) == len(ids)
    assert (local_map.support()[ids] == 1).all()


def test_views_are_bounded_and_keep_their_scale() -> None:
    big = look(
        frame(np.zeros((2160, 3840), np.uint8), 0, camera=None), max_side_px=640, long_side_fov_deg=66, before=None
    )
    assert big.image.gray.shape == (360, 640)
    assert big.intrinsics.width == 3840
    smaller = look(
        frame(np.zeros((720, 1280), np.uint8), 1, camera=None), max_side_px=640, long_side_fov_deg=66, before=big
    )
    assert smaller.image.gray.shape == (360, 640)
    upright = look(
        frame(np.zeros((1280, 720), np.uint8), 2, camera=None), max_side_px=640, long_side_fov_deg=66, before=big
    )
    assert upright.image.gray.shape == (640, 360)
    assert upright.lens.focal_px == big.lens.focal_px
    assert upright.lens.intrinsics.fx == pytest.approx(big.lens.intrinsics.fx)
