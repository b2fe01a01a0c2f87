"""A volume in another unit is what would have been fused in that unit."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.transforms import F64, look_at
from mapping.volume.stretching import stretched
from mapping.volume.tsdf import Config, Tsdf
from streams.frame import DepthMap, Intrinsics
from tests.mapping.room import render

K = Intrinsics.from_fov(160, 120)
EYES: list[F64] = [look_at([x, 1.3, 0.4], [0.3 * x, 0.4, -1.5]) for x in (-0.4, 0.0, 0.5)]


def fused(unit: float) -> Tsdf:
    """The room, every length times `unit`."""
    volume = Tsdf(Config(truncation_m=0.15, max_depth_m=20.0, half_trust_m=20.0, dirty_m=0.0))
    for pose in EYES:
        rgb, depth = render(pose, K)
        moved = pose.copy()
        moved[:3, 3] *= unit
        volume.integrate(DepthMap(depth * np.float32(unit), K), moved, rgb)
    return volume


@pytest.mark.parametrize("factor", [0.6, 0.97, 1.0, 1.3, 2.4])
def test_surfaces_come_to_lie_where_they_are_in_the_other_unit(factor: float) -> None:
    volume, truth = fused(1.0), fused(factor)
    made = Tsdf(Config(truncation_m=0.15))
    made.load(stretched(volume, factor))
    keys = truth.block_keys()
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


def test_the_same_unit_changes_nothing() -> None:
    volume = fused(1.0)
    same = stretched(volume, 1.0)
    before = volume.blocks(same.keys)
    known = before.weight >= 0.2
    np.testing.assert_allclose(same.tsdf_m[known], before.tsdf_m[known], atol=1e-5)
    np.testing.assert_array_equal(same.rgb[known], before.rgb[known])


def test_nothing_is_made_of_nothing() -> None:
    assert len(stretched(Tsdf(), 2.0).keys) == 0
