"""Metres per unit from stated cues, or honestly none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapping.metric import scale
from mapping.metric.scale import Scale


def test_agreeing_cues_are_weighed_by_their_errors() -> None:
    fused = scale.fuse([Scale(2.0, 0.01, "marker"), Scale(2.1, 0.05, "camera_height")])
    assert fused is not None
    assert 2.0 < fused.metres_per_unit < 2.01
    assert fused.sigma < 0.01
    assert fused.source == "marker"


@given(st.lists(st.tuples(st.floats(0.9, 1.1), st.floats(0.01, 0.2)), min_size=1, max_size=6))
def test_fusing_never_leaves_the_range_of_the_cues_nor_hides_a_conflict(cues: list[tuple[float, float]]) -> None:
    fused = scale.fuse([Scale(factor, sigma, "distance") for factor, sigma in cues])
    assert fused is not None
    assert min(f for f, _ in cues) - 1e-9 <= fused.metres_per_unit <= max(f for f, _ in cues) + 1e-9
    if not fused.contradicted_by:
        assert fused.sigma <= min(sigma for _, sigma in cues) + 1e-9


WRONG_MARKER = Scale(1.3, 0.005, "marker")
TYPED = Scale(1.0, 0.02, "distance")
CARRIED = Scale(1.02, 0.08, "camera_height")


def test_a_marker_of_the_wrong_size_does_not_outweigh_what_people_measured() -> None:
    fused = scale.fuse([WRONG_MARKER, TYPED, CARRIED])
    assert fused is not None
    assert fused.metres_per_unit == pytest.approx(1.0, abs=0.01)
    assert fused.source == "distance"
    assert fused.contradicted_by == ("marker",)
    assert fused.sigma > 3 * TYPED.sigma


def test_many_markers_of_one_print_run_are_one_witness() -> None:
    alone, many = scale.fuse([WRONG_MARKER, TYPED]), scale.fuse([*[WRONG_MARKER] * 6, TYPED])
    assert alone is not None
    assert many is not None
    assert alone.source == many.source == "distance"
    assert many.sigma == pytest.approx(alone.sigma)


def test_a_mistyped_distance_loses_against_two_who_agree() -> None:
    fused = scale.fuse([Scale(10.0, 0.02, "distance"), Scale(1.0, 0.01, "marker"), CARRIED])
    assert fused is not None
    assert fused.metres_per_unit == pytest.approx(1.0, abs=0.01)
    assert fused.contradicted_by == ("distance",)


@pytest.mark.parametrize("factor", [1.2, 1.5, 3.0])
def test_who_claims_less_after_a_conflict_covers_either_being_right(factor: float) -> None:
    fused = scale.fuse([TYPED, Scale(factor, 0.01, "marker")])
    assert fused is not None
    assert 0.5 * np.log(factor) < fused.sigma < np.log(factor)


def test_the_more_who_agree_the_less_a_conflict_costs() -> None:
    few, more = scale.fuse([TYPED, WRONG_MARKER]), scale.fuse([TYPED, TYPED, CARRIED, WRONG_MARKER])
    assert few is not None
    assert more is not None
    assert more.sigma < 0.8 * few.sigma


def test_a_cue_passed_on_through_a_tie() -> None:
    """Where one of the other's units is two of ours, ours is half as long."""
    told = Scale(3.0, 0.03, "marker").through(2.0, 0.04)
    assert told == Scale(1.5, pytest.approx(0.05), "marker")  # type: ignore[arg-type]


def test_without_cues_the_scale_is_nominal_and_says_so() -> None:
    assert scale.fuse([]) is None
    made_up = scale.nominal(np.array([0.5, 0.5, 0.4, np.nan, 0.0, 0.6]))
    assert made_up.metres_per_unit == pytest.approx(5.0)
    assert made_up.source == "none"
    assert made_up.sigma == float("inf")
    assert scale.nominal(np.array([])).metres_per_unit == 1.0


def test_a_typed_distance_is_no_surer_than_the_maps_depth() -> None:
    cue = scale.from_distance(0.5, 0.001, 2.0)
    assert cue.metres_per_unit == pytest.approx(4.0)
    assert scale.DEPTH_SIGMA < cue.sigma < 1.05 * scale.DEPTH_SIGMA
    assert scale.from_distance(0.5, 0.05, 2.0).sigma == pytest.approx(np.hypot(0.1, scale.DEPTH_SIGMA), rel=0.01)
    for length in (0.0, 0.1):
        with pytest.raises(ValueError, match="farther apart"):
            scale.from_distance(length, 0.06, 2.0)
    for distance in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive"):
            scale.from_distance(1.0, 0.001, distance)


def test_many_distances_lower_the_error_down_to_what_they_share() -> None:
    one, many = Scale(2.0, 0.15, "distance"), scale.fuse([Scale(2.0, 0.15, "distance")] * 3)
    crowd = scale.fuse([one] * 1000)
    assert many is not None
    assert crowd is not None
    assert many.sigma == pytest.approx(0.15 / np.sqrt(3))
    assert crowd.sigma == pytest.approx(scale.DEPTH_SIGMA)


@pytest.mark.parametrize("unit", [0.3, 1.0, 7.0])
def test_camera_height_measures_down_to_the_floor_not_to_the_tables(unit: float) -> None:
    rng = np.random.default_rng(2)
    floor, table = rng.normal(-1.5, 0.02, 4000), rng.normal(-0.75, 0.02, 6000)
    stray = rng.uniform(-2.5, 0.3, 150)
    heights = np.concatenate([floor, table, stray]) / unit
    cameras = rng.normal(0.0, 0.05, 30) / unit
    cue = scale.from_camera_height(heights, cameras, 1.5)
    assert cue is not None
    assert cue.metres_per_unit == pytest.approx(unit, rel=0.03)
    assert 0.03 < cue.sigma < 0.15


def test_camera_height_needs_a_floor() -> None:
    assert scale.from_camera_height(np.full(20, -1.0), np.zeros(3), 1.5) is None
    assert scale.from_camera_height(np.full(2000, 1.0), np.zeros(3), 1.5) is None
