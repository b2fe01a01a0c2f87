"""A mirror and a screen in the synthetic flat."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import synthetic
from benchmarks.synthetic.panes import mirrored, screened
from benchmarks.synthetic.plan import Picture
from mapping.transforms import look_at, project

PANE = Picture("pane", "+z", (-1.6, 1.45, -3.497), (1.3, 1.3), "")
CAMERA = synthetic.INTRINSICS.scaled(320, 240)


@pytest.fixture(scope="module")
def flat() -> synthetic.Flat:
    return synthetic.build()


def test_a_mirror_shows_the_room_the_other_way_round_and_nothing_else_changes(flat: synthetic.Flat) -> None:
    """What is seen at the image of a place looks as that place does from the image of the eye."""
    pose = look_at([-2.4, 1.5, -1.6], [-1.6, 1.4, -3.5])
    view = flat.render(pose, CAMERA)
    seen = mirrored(flat, PANE, view)
    np.testing.assert_array_equal(seen.depth_m, view.depth_m)
    changed = np.any(seen.rgb != view.rgb, axis=2)
    corners = np.array([[-1.6 + x, 1.45 + y, -3.5] for x in (-0.65, 0.65) for y in (-0.65, 0.65)])
    local = (corners - pose[:3, 3]) @ pose[:3, :3]
    pixels = project(local, CAMERA)
    v, u = np.nonzero(changed)
    assert 0.05 < changed.mean() < 0.6
    assert u.min() >= pixels[:, 0].min() - 1
    assert u.max() <= pixels[:, 0].max() + 1
    assert v.min() >= pixels[:, 1].min() - 1
    # The ray to the pane's middle goes on, reflected, to a place of the room that a camera on the pane sees there.
    middle = np.array(PANE.center)
    direction = (middle - pose[:3, 3]) / np.linalg.norm(middle - pose[:3, 3])
    onwards = direction * [1, 1, -1]
    there = flat.render(look_at(middle + 0.01 * onwards, middle + onwards), CAMERA).rgb
    u0, v0 = project(((middle - pose[:3, 3]) @ pose[:3, :3])[None], CAMERA)[0].astype(int)
    colour = seen.rgb[v0 - 2 : v0 + 3, u0 - 2 : u0 + 3].reshape(-1, 3).mean(axis=0)
    # Nearer to it the same patch is larger.
    expected = there[112:128, 152:168].reshape(-1, 3).mean(axis=0)
    assert np.abs(colour - expected).max() < 40


def test_a_mirror_seen_from_behind_the_wall_or_not_at_all_is_no_mirror(flat: synthetic.Flat) -> None:
    away = flat.render(look_at([-2.4, 1.5, -2.0], [-2.4, 1.4, 0.0]), CAMERA)
    assert mirrored(flat, PANE, away) is away


def test_a_screen_shows_a_picture_upright(flat: synthetic.Flat) -> None:
    film = np.zeros((40, 40, 3), np.uint8)
    film[:20, :, 0], film[20:, :, 1] = 255, 255
    seen = screened(PANE, flat.render(look_at([-1.6, 1.45, -1.8], [-1.6, 1.45, -3.5]), CAMERA), film).rgb
    assert tuple(seen[90, 160]) == (255, 0, 0)
    assert tuple(seen[150, 160]) == (0, 255, 0)
