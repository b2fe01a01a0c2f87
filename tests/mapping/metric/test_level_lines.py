"""Level edges: what runs in few directions of the compass tells which way is up."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.metric import level_lines
from mapping.transforms import F64, exp_so3

UP = np.array([0.0, 1.0, 0.0])


def off_deg(up: F64) -> float:
    return float(np.degrees(np.arccos(np.clip(up @ UP, -1, 1))))


def edges(along: F64, rng: np.random.Generator, noise_deg: float = 0.5) -> F64:
    """Normals (n, 3) of the planes that edges along (n, 3), seen from anywhere, span with their cameras."""
    towards = rng.normal(size=along.shape)
    normals = np.cross(along, towards) + np.radians(noise_deg) * rng.normal(size=along.shape)
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def kitchen(rng: np.random.Generator, *, upright: int = 0, clutter: int = 300, compass_deg: float = 35.0) -> F64:
    """Counters and shelves that run in two directions, few upright edges, and clutter that runs anyhow."""
    angle = np.radians(compass_deg)
    one, other = np.array([np.cos(angle), 0, np.sin(angle)]), np.array([-np.sin(angle), 0, np.cos(angle)])
    along = np.repeat([one, other, UP], [200, 120, upright], axis=0)
    return np.concatenate([edges(along, rng), edges(rng.normal(size=(clutter, 3)), rng)])


@pytest.mark.parametrize("tilt_deg", [-6.0, -2.0, 0.0, 3.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_level_edges_alone_tell_up_to_a_tenth_of_their_noise(tilt_deg: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    normals = kitchen(rng)
    axis = np.array([np.cos(seed), 0.0, np.sin(seed)])
    guess = exp_so3(np.radians(tilt_deg) * axis) @ UP
    found = level_lines.sharpen(normals, np.ones(len(normals)), guess)
    assert off_deg(found) < 0.25
    assert off_deg(found) <= abs(tilt_deg) + 0.25


def test_it_does_not_matter_in_which_frame() -> None:
    normals = kitchen(np.random.default_rng(1), upright=40)
    weights = np.random.default_rng(2).uniform(0.2, 1.0, len(normals))
    turn, guess = exp_so3(np.array([1.3, -0.4, 2.0])), exp_so3(np.array([0.05, 0.0, 0.02])) @ UP
    here = level_lines.sharpen(normals, weights, guess)
    there = level_lines.sharpen(normals @ turn.T, weights, turn @ guess)
    np.testing.assert_allclose(there, turn @ here, atol=2e-3)


def test_rooms_need_not_be_square() -> None:
    rng = np.random.default_rng(4)
    directions = [np.array([np.cos(a), 0, np.sin(a)]) for a in np.radians([10.0, 58.0, 130.0])]
    normals = np.concatenate([edges(np.repeat(directions, 120, axis=0), rng), edges(rng.normal(size=(200, 3)), rng)])
    weights = np.ones(len(normals))
    found = level_lines.sharpen(normals, weights, exp_so3(np.radians([3.0, 0.0, -2.0])) @ UP)
    assert off_deg(found) < 0.25
    shared = level_lines.shared_directions(normals, weights, found)
    assert sorted(round(float(np.degrees(np.arctan2(d[2], d[0]))) % 180) for d in shared) == [10, 58, 130]


def test_the_right_up_fits_best_and_clutter_fits_nowhere() -> None:
    rng = np.random.default_rng(5)
    normals = kitchen(rng, upright=60)
    weights = np.ones(len(normals))
    right, wrong = (level_lines.fitting(normals, weights, up) for up in (UP, exp_so3(np.radians([8.0, 0, 5.0])) @ UP))
    assert right > 0.4
    assert wrong < 0.7 * right
    anyhow = edges(rng.normal(size=(2000, 3)), rng)
    assert level_lines.fitting(anyhow, np.ones(2000), UP) < 0.1
    assert len(level_lines.shared_directions(anyhow, np.ones(2000), UP)) == 0
    assert off_deg(level_lines.sharpen(np.empty((0, 3)), np.empty(0), UP)) == 0.0
