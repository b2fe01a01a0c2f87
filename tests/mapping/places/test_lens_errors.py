"""Pairs of two phones tell by how much their focal lengths differ, and where they stand once that is set right."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.places.lens_errors import LensShift, lens_errors, lens_shift
from mapping.places.pose_graph import Poses, adjoints
from mapping.places.similarity import Sights, refine
from mapping.transforms import F64, Sim3, exp_so3

FOCAL_PX = 500.0
B_FROM_A = Sim3(1.3, exp_so3(np.array([0.05, -0.1, 0.02])), np.array([0.3, -0.1, 0.15]))
DEPTH_SIGMA = 0.01
STATED = (0.01, 0.01)


def known_from_a(seed: int) -> F64:
    """(n, 3) what a camera sees, from near to far."""
    random = np.random.default_rng(seed)
    rays = np.column_stack([random.uniform(-0.5, 0.5, (150, 2)), np.ones(150)])
    return np.asarray(rays * random.uniform(1.0, 4.0, 150)[:, None])


def sights(points: F64, other_from_one: Sim3, error_one: float, error_other: float, seed: int) -> Sights:
    """Points of one camera as the other sees them, both by the focal length that they state."""
    local = other_from_one.apply(points)
    noise = np.random.default_rng(seed).normal(0, 0.5 / FOCAL_PX, (len(points), 2))
    xy = (local[:, :2] / local[:, 2:] + noise) / (1 + error_other)
    deeper = points * [1.0, 1.0, 1 + error_one]
    return Sights(deeper, np.broadcast_to(np.eye(3, 4), (len(points), 3, 4)), xy, np.full(len(points), FOCAL_PX))


def pair(error_a: float, error_b: float, seed: int = 0) -> tuple[Sim3, LensShift]:
    """What is found between two cameras, and what that says of their lenses."""
    forward = sights(known_from_a(seed), B_FROM_A, error_a, error_b, seed + 1)
    of_b = B_FROM_A.apply(known_from_a(seed + 2))
    backward = sights(of_b, B_FROM_A.inverse(), error_b, error_a, seed + 3)
    fit = refine(B_FROM_A, forward, backward, DEPTH_SIGMA)
    return fit.b_from_a, lens_shift(fit.b_from_a, forward, backward, DEPTH_SIGMA, STATED)


def off(b_from_a: Sim3) -> float:
    """How far the camera is from where it should be."""
    return float(np.linalg.norm(b_from_a.translation - B_FROM_A.translation))


@pytest.mark.parametrize(("error_a", "error_b"), [(0.01, -0.01), (-0.02, 0.0), (0.0, 0.0)])
def test_a_pair_tells_by_how_much_two_focal_lengths_differ(error_a: float, error_b: float) -> None:
    _, said = pair(error_a, error_b)
    assert said.difference == pytest.approx(error_b - error_a, abs=0.003)


def test_the_same_the_other_way_round_says_the_same() -> None:
    forward = sights(known_from_a(0), B_FROM_A, 0.01, -0.01, 1)
    backward = sights(B_FROM_A.apply(known_from_a(2)), B_FROM_A.inverse(), -0.01, 0.01, 3)
    b_from_a = refine(B_FROM_A, forward, backward, DEPTH_SIGMA).b_from_a
    priors = (0.03, 0.001)
    there, back = adjoints(Poses.of([b_from_a, b_from_a.inverse()]))
    said = lens_shift(b_from_a, forward, backward, DEPTH_SIGMA, priors)
    other = lens_shift(b_from_a.inverse(), backward, forward, DEPTH_SIGMA, priors[::-1])
    for swapped, known in ((said.swapped(back), other), (other.swapped(there), said)):
        np.testing.assert_allclose(swapped.moves, known.moves, atol=1e-6)
        assert swapped.difference == pytest.approx(known.difference, abs=1e-9)
        assert swapped.sigma == pytest.approx(known.sigma, rel=1e-9)
        assert swapped.priors == known.priors


def test_a_camera_stands_where_it_should_once_the_errors_are_known() -> None:
    found, said = pair(0.01, -0.01)
    turn, shift, growth = np.split(said.moves @ [0.01, -0.01], [3, 6])
    corrected = Sim3(float(np.exp(growth[0])), exp_so3(turn), shift) @ found
    assert off(found) > 0.02
    assert off(corrected) < 0.3 * off(found)


def test_all_pairs_together_tell_who_is_wrong() -> None:
    """Three phones that agree with each other outvote the fourth; what all are off by, nobody knows."""
    true = [0.0, 0.0, 0.0, 0.012]
    said = [(a, b, pair(true[a], true[b], 10 * (4 * a + b))[1]) for a in range(4) for b in range(a + 1, 4)]
    errors = lens_errors(said, 4)
    np.testing.assert_allclose(errors - errors.mean(), np.array(true) - np.mean(true), atol=0.0035)
    assert abs(errors.mean()) < 1e-6


def test_who_is_sure_of_his_lens_takes_none_of_the_blame() -> None:
    calibrated, stated, guessed = 0.001, 0.01, 0.03
    for surer, other, share in ((calibrated, stated, 0.02), (calibrated, guessed, 0.01), (stated, guessed, 0.12)):
        said = [(0, 1, LensShift(np.zeros((7, 2)), 0.02, 0.002, (surer, other)))] * 20
        errors = lens_errors(said, 2)
        assert errors[1] - errors[0] == pytest.approx(0.02, abs=0.001)
        assert 0 <= -errors[0] < share * 0.02


def test_a_pair_that_says_otherwise_is_not_heard() -> None:
    good = [(0, 1, LensShift(np.zeros((7, 2)), 0.01, 0.004, STATED))] * 6
    bad = [(0, 1, LensShift(np.zeros((7, 2)), -0.3, 0.004, STATED))] * 2
    errors = lens_errors([*good, *bad], 2)
    assert errors[1] - errors[0] == pytest.approx(0.01, abs=0.003)


def test_without_pairs_nobody_is_wrong() -> None:
    np.testing.assert_array_equal(lens_errors([], 3), np.zeros(3))
