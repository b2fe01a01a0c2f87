"""When the world is worth moving, and where it goes then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapping.metric import anchor
from mapping.metric.anchor import Anchor
from mapping.metric.gravity import Gravity
from mapping.metric.scale import Scale
from mapping.transforms import F64, WORLD_UP, exp_so3, rigid

NONE = Scale(2.0, float("inf"), "none")


def direction(rng: np.random.Generator) -> F64:
    v = rng.normal(size=3)
    return np.asarray(v / np.linalg.norm(v))


def turned(up: F64, angle_deg: float) -> F64:
    axis = np.cross(up, [0.3, 0.5, -0.7])
    return exp_so3(np.radians(angle_deg) * axis / np.linalg.norm(axis)) @ up


@given(st.integers(0, 10_000))
def test_the_first_world_stands_upright_and_looks_ahead(seed: int) -> None:
    rng = np.random.default_rng(seed)
    up, camera = direction(rng), rigid(exp_so3(rng.normal(0, 1, 3)), rng.normal(0, 1, 3))
    made = anchor.first(Gravity(up, 5.0, "planes"), NONE, camera)
    rotation = made.world_from_component.rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation @ up, WORLD_UP, atol=1e-9)
    forward = rotation @ camera[:3, 2]
    assert abs(forward[0]) < 1e-6
    assert forward[2] < 1e-6
    assert made.world_from_component.scale == 2.0


def test_a_camera_that_looks_straight_down_still_has_a_front() -> None:
    made = anchor.first(Gravity(np.array([0.0, 0.0, -1.0]), 5.0, "planes"), NONE, np.eye(4))
    np.testing.assert_allclose(made.world_from_component.rotation @ [0, -1, 0], [0, 0, -1], atol=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(3.0, 60.0), st.floats(0.3, 3.0))
def test_moving_the_world_makes_the_new_up_up_and_carries_everything_along(
    seed: int, angle_deg: float, ratio: float
) -> None:
    rng = np.random.default_rng(seed)
    up = direction(rng)
    now = anchor.first(Gravity(up, 15.0, "cameras"), NONE, rigid(exp_so3(rng.normal(0, 1, 3)), [0, 0, 0]))
    better_up = turned(up, angle_deg)
    moved = anchor.better(now, Gravity(better_up, 1.0, "motion"), Scale(2.0 * ratio, 0.01, "marker"))
    assert moved is not None
    made, new_from_old, reason = moved
    np.testing.assert_allclose(made.world_from_component.rotation @ better_up, WORLD_UP, atol=1e-9)
    if abs(np.log(ratio)) > 0.04:
        assert reason == "scale"
        assert made.world_from_component.scale == pytest.approx(2.0 * ratio)
    point = rng.normal(size=3)
    np.testing.assert_allclose(
        new_from_old.apply(now.world_from_component.apply(point)), made.world_from_component.apply(point), atol=1e-9
    )


def standing(sigma_deg: float, scale: Scale) -> Anchor:
    return anchor.first(Gravity(WORLD_UP, sigma_deg, "planes"), scale, np.eye(4))


@pytest.mark.parametrize(
    ("angle_deg", "sigma_deg", "moves"),
    [
        (0.8, 0.5, False),  # too little to matter
        (1.5, 0.5, True),
        (20.0, 6.0, False),  # worse than what is known
        (4.0, 5.0, False),  # as good, but within its error
        (6.0, 5.0, True),
        (1.4, 3.0, False),
        (1.6, 3.0, True),  # clearly better: half its error is enough
    ],
)
def test_up_moves_the_world_only_for_a_reason(angle_deg: float, sigma_deg: float, moves: bool) -> None:
    now = standing(5.0, Scale(1.0, 0.05, "camera_height"))
    new = anchor.better(now, Gravity(turned(WORLD_UP, angle_deg), sigma_deg, "planes"), now.scale)
    assert (new is not None) == moves


@pytest.mark.parametrize(
    ("scale", "moves"),
    [
        (Scale(1.008, 0.001, "marker"), False),
        (Scale(1.02, 0.001, "marker"), True),
        (Scale(1.5, 0.2, "camera_height"), False),
        (Scale(9.0, float("inf"), "none"), False),
    ],
)
def test_scale_moves_the_world_only_for_a_reason(scale: Scale, moves: bool) -> None:
    now = standing(5.0, Scale(1.0, 0.05, "camera_height"))
    assert (anchor.better(now, now.gravity, scale) is not None) == moves


def test_agreeing_estimates_sharpen_the_claims_and_move_nothing() -> None:
    now = standing(5.0, NONE)
    sharper = anchor.reworded(now, Gravity(turned(WORLD_UP, 1.0), 0.8, "motion"), Scale(2.01, 0.02, "marker"))
    assert (sharper.gravity.source, sharper.gravity.sigma_deg) == ("motion", 0.8)
    assert (sharper.scale.source, sharper.scale.metres_per_unit) == ("marker", 2.0)
    assert sharper.world_from_component is now.world_from_component


def test_looks_come_often_at_first_and_never_stop() -> None:
    looks = [n for n in range(200) if anchor.is_time_to_look(n)]
    assert looks[:4] == [3, 6, 12, 24]
    assert max(np.diff(looks)) <= 48


def test_a_claim_that_somebody_contradicts_gives_way_to_one_that_is_less_sure() -> None:
    now = anchor.first(Gravity(WORLD_UP, 1.0, "motion"), Scale(1.3, 0.005, "marker"), np.eye(4))
    doubted = Scale(1.0, 0.17, "distance", ("marker",))
    assert anchor.better(now, now.gravity, Scale(1.0, 0.17, "distance")) is None
    moved = anchor.better(now, now.gravity, doubted)
    assert moved is not None
    assert moved[0].scale == doubted
    assert moved[1].scale == pytest.approx(1.0 / 1.3)


def test_new_doubt_is_told_even_where_nothing_moves() -> None:
    now = anchor.first(Gravity(WORLD_UP, 1.0, "motion"), Scale(1.0, 0.02, "distance"), np.eye(4))
    doubted = anchor.reworded(now, now.gravity, Scale(1.0, 0.17, "distance", ("marker",)))
    assert (doubted.scale.sigma, doubted.scale.contradicted_by) == (0.17, ("marker",))
    assert doubted.world_from_component is now.world_from_component
