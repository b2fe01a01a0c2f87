"""The volume: what is seen becomes solid or free, what is not seen stays unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.changes import BLOCK_VOXELS, VoxelWindow
from mapping.transforms import look_at, rigid
from mapping.volume.surface import extract
from mapping.volume.tsdf import Blocks, Config, Tsdf
from streams.frame import DepthMap, Intrinsics
from tests.mapping.room import CHEST, render

K = Intrinsics.from_fov(160, 120)
EYE = rigid(np.eye(3), [0.0, 0.0, 0.0])
PLAIN = Config(half_trust_m=100.0)


def wall(z_m: float) -> DepthMap:
    return DepthMap(np.full((K.height, K.width), z_m, np.float32), K)


def around(tsdf: Tsdf, point_m: tuple[float, float, float], radius: int = 0) -> VoxelWindow:
    x, y, z = (int(np.floor(c / tsdf.voxel_size_m)) - radius for c in point_m)
    return tsdf.window((x, y, z), (2 * radius + 1,) * 3)


def everything(tsdf: Tsdf) -> VoxelWindow:
    keys = tsdf.block_keys()
    low = keys.min(axis=0) * BLOCK_VOXELS
    shape = (keys.max(axis=0) + 1) * BLOCK_VOXELS - low
    return tsdf.window(tuple(low.tolist()), tuple(shape.tolist()))


def test_a_wall_is_where_it_was_seen() -> None:
    tsdf = Tsdf(PLAIN)
    dirty = tsdf.integrate(wall(1.52), EYE, np.full((120, 160, 3), 200, np.uint8))
    assert sorted(map(tuple, dirty.tolist())) == sorted(map(tuple, tsdf.block_keys().tolist()))
    column = tsdf.window((0, 0, 24), (1, 1, 12))
    distances = 1.52 - (np.arange(24, 36) + 0.5) * 0.05
    known = column.weight[0, 0] > 0
    assert known.tolist() == (distances > -0.15).tolist()
    np.testing.assert_allclose(column.tsdf_m[0, 0][known], np.clip(distances[known], None, 0.15), atol=1e-5)
    surface = extract(everything(tsdf), tsdf.voxel_size_m)
    assert np.abs(surface.vertices_m[:, 2] - 1.52).max() < 1e-3
    assert np.all(surface.rgb == 200)


def test_distance_to_a_slanted_wall_is_measured_across_it() -> None:
    tsdf = Tsdf(PLAIN)
    pose = look_at([0.0, 1.5, 0.0], [0.0, 0.0, -1.2])
    _, depth = render(pose, K, furniture=())
    tsdf.integrate(DepthMap(depth, K), pose, None)
    column = tsdf.window((0, -2, -24), (1, 6, 1))
    heights = (np.arange(-2, 4) + 0.5) * 0.05
    np.testing.assert_allclose(column.tsdf_m[0, :, 0], np.clip(heights, -0.15, 0.15), atol=0.01)


def test_pixels_without_depth_carve_nothing_and_make_nothing() -> None:
    tsdf = Tsdf(PLAIN)
    tsdf.integrate(wall(1.5), EYE, None)
    before = everything(tsdf)
    assert len(tsdf.integrate(wall(0.0), EYE, None)) == 0
    after = everything(tsdf)
    np.testing.assert_array_equal(before.tsdf_m, after.tsdf_m)
    np.testing.assert_array_equal(before.weight, after.weight)


def test_behind_what_is_seen_nothing_is_known() -> None:
    tsdf = Tsdf(PLAIN)
    tsdf.integrate(wall(3.0), EYE, None)
    far = around(tsdf, (0.0, 0.0, 3.0), 1)
    tsdf.integrate(wall(1.0), EYE, None)
    np.testing.assert_array_equal(around(tsdf, (0.0, 0.0, 3.0), 1).tsdf_m, far.tsdf_m)
    assert not around(tsdf, (0.0, 0.0, 1.3), 0).weight.any()


def test_moved_things_vanish_once_they_are_looked_through() -> None:
    tsdf = Tsdf(PLAIN)
    for _ in range(40):
        tsdf.integrate(wall(1.5), EYE, None)
    assert around(tsdf, (0.0, 0.0, 1.53)).tsdf_m < 0
    for _ in range(12):
        tsdf.integrate(wall(3.0), EYE, None)
    ghost = tsdf.window((-4, -4, 24), (8, 8, 10))
    assert np.all(ghost.tsdf_m[ghost.weight > 0] > 0)


def test_free_space_makes_no_blocks_away_from_surfaces() -> None:
    tsdf = Tsdf(PLAIN)
    tsdf.integrate(wall(3.0), EYE, None)
    nearest_m = tsdf.block_keys()[:, 2].min() * BLOCK_VOXELS * tsdf.voxel_size_m
    assert nearest_m >= 3.0 - 0.15 - 0.4


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_withdraw_undoes_integrate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tsdf = Tsdf(Config(known_weight=1e-4))
    poses = [look_at([rng.uniform(-1, 1), 1.4, 1.2], [rng.uniform(-1, 1), 0.8, -2.0]) for _ in range(3)]
    maps = [DepthMap(render(pose, K)[1], K) for pose in poses]
    for depth, pose in zip(maps[:2], poses[:2], strict=True):
        tsdf.integrate(depth, pose, None)
    before = tsdf.blocks(tsdf.block_keys())
    tsdf.integrate(maps[2], poses[2], None)
    tsdf.withdraw(maps[2], poses[2])
    after = tsdf.blocks(before.keys)
    np.testing.assert_allclose(after.weight, before.weight, atol=2e-3)
    heavy = before.weight > 0.05
    np.testing.assert_allclose(after.tsdf_m[heavy], before.tsdf_m[heavy], atol=1e-3)
    added = tsdf.blocks(tsdf.block_keys()[len(before.keys) :])
    assert not (added.weight > 2e-3).any()


def test_weights_are_capped_and_colours_follow() -> None:
    tsdf = Tsdf(Config(max_weight=4.0))
    for level in (10, 250):
        for _ in range(60):
            tsdf.integrate(wall(1.5), EYE, np.full((120, 160, 3), level, np.uint8))
    voxel = around(tsdf, (0.0, 0.0, 1.48))
    assert voxel.weight == pytest.approx(4.0)
    assert voxel.rgb.min() > 240


def test_a_block_is_dirty_only_when_it_moved_noticeably() -> None:
    tsdf = Tsdf(Config(dirty_m=0.002))
    assert len(tsdf.integrate(wall(1.5), EYE, None)) > 0
    for _ in range(30):
        tsdf.integrate(wall(1.5), EYE, None)
    assert len(tsdf.integrate(wall(1.5), EYE, None)) == 0
    reports = [len(tsdf.integrate(wall(1.51), EYE, None)) for _ in range(12)]
    assert any(reports), "small moves add up"
    assert not all(reports)


def test_edges_of_things_are_trusted_less() -> None:
    z = wall(5.0).z_m.copy()
    z[:, 80:] = 4.0
    tsdf = Tsdf(Config(half_trust_m=100.0, known_weight=0.01))
    tsdf.integrate(DepthMap(z, K), EYE, None)
    row = tsdf.window((0, 0, 79), (12, 1, 1)).weight.ravel()
    assert row[0] < 0.2
    assert row[8] > 0.9


def test_a_room_comes_out_as_it_is() -> None:
    tsdf = Tsdf(PLAIN)
    for angle in np.arange(0, 2 * np.pi, 0.5):
        eye = np.array([0.6 * np.sin(angle), 1.5, 0.6 * np.cos(angle) + 0.3])
        pose = look_at(eye, eye + np.array([np.sin(angle + 2.5), -0.5, np.cos(angle + 2.5)]))
        rgb, depth = render(pose, K)
        tsdf.integrate(DepthMap(depth, K), pose, rgb)
    surface = extract(everything(tsdf), tsdf.voxel_size_m)
    p = surface.vertices_m
    lower, upper = np.array(CHEST)
    to_chest = np.linalg.norm(np.maximum(np.maximum(lower - p, p - upper), 0), axis=1)
    to_walls = np.abs(np.stack([p[:, 0] + 2, 2 - p[:, 0], p[:, 1], 2.5 - p[:, 1], p[:, 2] + 2, 2 - p[:, 2]])).min(
        axis=0
    )
    off = np.minimum(to_chest, to_walls)
    assert len(p) > 5000
    assert np.quantile(off, 0.5) < 0.005
    assert np.quantile(off, 0.99) < 0.04


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.integers(-60, 60), st.integers(-60, 60), st.integers(-60, 60)))
def test_any_window_shows_the_same_voxels(origin: tuple[int, int, int]) -> None:
    tsdf = Tsdf(Config(known_weight=1e-6))
    tsdf.integrate(wall(1.5), rigid(np.eye(3), [-1.0, -1.0, -1.5]), np.full((120, 160, 3), 7, np.uint8))
    whole = tsdf.window((-80, -80, -80), (168, 168, 168))
    part = tsdf.window(origin, (19, 8, 21))
    x, y, z = (c + 80 for c in origin)
    np.testing.assert_array_equal(part.tsdf_m, whole.tsdf_m[x : x + 19, y : y + 8, z : z + 21])
    np.testing.assert_array_equal(part.weight, whole.weight[x : x + 19, y : y + 8, z : z + 21])
    np.testing.assert_array_equal(part.rgb, whole.rgb[x : x + 19, y : y + 8, z : z + 21])


def test_blocks_survive_being_saved_and_loaded() -> None:
    tsdf = Tsdf()
    tsdf.integrate(wall(1.5), EYE, np.full((120, 160, 3), 50, np.uint8))
    saved = tsdf.blocks(tsdf.block_keys())
    other = Tsdf()
    other.integrate(wall(0.9), EYE, None)
    other.load(saved)
    again = other.blocks(saved.keys)
    for name in ("keys", "tsdf_m", "weight", "rgb"):
        np.testing.assert_array_equal(getattr(again, name), getattr(saved, name))
    assert len(other.blocks(np.array([[99, 99, 99]], np.int32)).keys) == 0


def test_clear_forgets_everything_and_tells_what_it_was() -> None:
    tsdf = Tsdf()
    tsdf.integrate(wall(1.5), EYE, None)
    keys = tsdf.block_keys()
    np.testing.assert_array_equal(tsdf.clear(), keys)
    assert tsdf.num_blocks == 0
    assert not tsdf.window((-8, -8, 24), (16, 16, 16)).weight.any()
    tsdf.integrate(wall(1.5), EYE, None)
    np.testing.assert_array_equal(tsdf.block_keys(), keys)


def test_growing_keeps_what_was_there() -> None:
    tsdf = Tsdf(PLAIN)
    for step in range(12):
        tsdf.integrate(wall(2.5), rigid(np.eye(3), [step * 2.5, 0.0, 0.0]), None)
    assert tsdf.num_blocks > 1050, "the pools have grown"
    for step in range(12):
        assert around(tsdf, (step * 2.5, 0.0, 2.47)).weight > 0


def test_a_full_volume_goes_on_with_what_it_has() -> None:
    tsdf = Tsdf(Config(max_blocks=20))
    tsdf.integrate(wall(1.5), EYE, None)
    assert tsdf.is_full
    assert tsdf.num_blocks == 20
    weight = tsdf.blocks(tsdf.block_keys()).weight.sum()
    tsdf.integrate(wall(1.5), EYE, None)
    assert tsdf.num_blocks == 20
    assert tsdf.blocks(tsdf.block_keys()).weight.sum() > weight
    with pytest.raises(ValueError, match="max_blocks"):
        tsdf.load(_one_block())


def _one_block() -> Blocks:
    shape = (1, BLOCK_VOXELS, BLOCK_VOXELS, BLOCK_VOXELS)
    return Blocks(
        np.array([[500, 0, 0]], np.int32), np.zeros(shape, np.float32), np.ones(shape, np.float32),
        np.zeros((*shape, 3), np.uint8),
    )  # fmt: skip


def test_refuses_what_does_not_fit() -> None:
    tsdf = Tsdf()
    with pytest.raises(ValueError, match="intrinsics"):
        tsdf.integrate(DepthMap(np.ones((5, 5), np.float32), K), EYE, None)
    with pytest.raises(ValueError, match="rgb"):
        tsdf.integrate(wall(1.0), EYE, np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="finite"):
        tsdf.integrate(wall(1.0), EYE * np.nan, None)
    one = _one_block()
    with pytest.raises(ValueError, match="fit"):
        tsdf.load(Blocks(one.keys, one.tsdf_m[:, :4], one.weight, one.rgb))


def test_a_camera_absurdly_far_away_is_harmless() -> None:
    tsdf = Tsdf()
    assert len(tsdf.integrate(wall(1.0), rigid(np.eye(3), [1e9, 0.0, 0.0]), None)) == 0
    assert tsdf.num_blocks == 0
