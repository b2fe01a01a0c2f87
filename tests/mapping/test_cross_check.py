"""Views that agree about depth, and views that do not."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.cross_check import PosedDepth, hear
from mapping.transforms import rigid
from streams.frame import Intrinsics

RNG = np.random.default_rng(5)
CAMERA = Intrinsics(50.0, 50.0, 32.0, 24.0, 64, 48)


def wall(x: float, depth: float, noise: float = 0.0) -> PosedDepth:
    """A wall `depth` before a camera that stands at x."""
    seen = np.full((48, 64), depth) * (1 + RNG.normal(0, noise, (48, 64)) if noise else 1)
    return PosedDepth(rigid(np.eye(3), [x, 0.0, 0.0]), CAMERA, seen.astype(np.float32))


def test_views_agree_about_one_wall_and_say_how_far_they_are_off() -> None:
    exact = hear(wall(0.0, 2.0), [wall(0.3, 2.0), wall(-0.3, 2.0)], 0.15)
    assert exact.agree[24, 32] == 2
    assert exact.agree[24, 0] == exact.agree[24, 63] == 1, "the other one is beyond the picture"
    assert exact.error.max() < 1e-6
    noisy = hear(wall(0.0, 2.0, 0.02), [wall(0.3, 2.0, 0.02)], 0.15)
    factor = noisy.factor(np.full((48, 64), 4.0, np.float32))
    assert factor == pytest.approx(4 * 0.02 * 2**0.5 * 0.6745, rel=0.1), "the median of |difference| of two normals"


def test_what_others_look_through_is_not_there_and_what_hides_it_says_nothing() -> None:
    person, behind = wall(0.0, 1.0), wall(0.1, 3.0)
    assert hear(person, [behind], 0.15).is_refuted[:, 5:].all()
    hidden = hear(behind, [person], 0.15)
    assert not hidden.is_refuted.any()
    assert not hidden.agree.any()
