"""A volume that was moved is what would have been fused there."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.transforms import F64, Sim3, exp_so3, look_at
from mapping.volume.moving import moved
from mapping.volume.tsdf import Config, Tsdf
from streams.frame import DepthMap, Intrinsics
from tests.mapping.room import render

K = Intrinsics.from_fov(160, 120)
EYES: list[F64] = [look_at([x, 1.3, 0.4], [0.3 * x, 0.4, -1.5]) for x in (-0.4, 0.0, 0.5)]
TURN = exp_so3(np.array([0.1, -0.4, 0.25]))


def fused(world_from_room: Sim3) -> Tsdf:
    """The room where it lies in a world."""
    volume = Tsdf(Config(truncation_m=0.15, max_depth_m=20.0, half_trust_m=20.0, dirty_m=0.0))
    for pose in EYES:
        rgb, depth = render(pose, K)
        volume.integrate(DepthMap(depth * np.float32(world_from_room.scale), K), world_from_room.apply_pose(pose), rgb)
    return volume


@pytest.mark.parametrize(
    "new_from_old",
    [
        *(Sim3(factor, np.eye(3), np.zeros(3)) for factor in (0.6, 0.97, 1.0, 1.3, 2.4)),
        Sim3(1.0, TURN, np.zeros(3)),
        Sim3(1.3, TURN, np.array([0.31, -0.2, 1.07])),
    ],
)
def test_surfaces_come_to_lie_where_the_new_world_has_them(new_from_old: Sim3) -> None:
    volume, truth = fused(Sim3.identity()), fused(new_from_old)
    made = Tsdf(Config(truncation_m=0.15))
    made.load(moved(volume, new_from_old))
    keys = truth.block_keys()
    assert made.num_blocks < 1.1 * len(keys), "no more room than depth would have taken"
    mine, theirs = made.lend(keys), truth.lend(keys)
    is_there = mine.rows >= 0
    weight, distance = theirs.weight[theirs.rows], theirs.tsdf_m[theirs.rows]
    has_surface = ((weight > 0.2) & (np.abs(distance) < 0.03)).any(axis=(1, 2, 3))
    assert is_there[has_surface].mean() > 0.98
    a, b = mine.tsdf_m[mine.rows[is_there]], theirs.tsdf_m[theirs.rows[is_there]]
    near = (mine.weight[mine.rows[is_there]] > 0.2) & (theirs.weight[theirs.rows[is_there]] > 0.2) & (np.abs(b) < 0.05)
    assert np.count_nonzero(near) > 2000
    assert np.median(np.abs(a - b)[near]) < 0.012
    assert np.mean(np.abs(a - b)[near] > 0.05) < 0.05


def test_where_nothing_moves_nothing_changes() -> None:
    volume = fused(Sim3.identity())
    same = moved(volume, Sim3.identity())
    before = volume.blocks(same.keys)
    known = before.weight >= 0.2
    np.testing.assert_allclose(same.tsdf_m[known], before.tsdf_m[known], atol=1e-5)
    np.testing.assert_allclose(same.weight[known], before.weight[known], rtol=1e-5)
    np.testing.assert_array_equal(same.rgb[known], before.rgb[known])
    assert not same.weight[~known].any()


def test_nothing_is_made_of_nothing() -> None:
    assert len(moved(Tsdf(), Sim3(2.0, np.eye(3), np.zeros(3))).keys) == 0
