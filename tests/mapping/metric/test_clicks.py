"""What a length between two clicks may be off, by the keyframes that see them."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.kept import Kept
from mapping.metric import clicks
from mapping.metric.scale import DEPTH_SIGMA
from mapping.transforms import F64, Sim3, look_at
from streams.frame import Intrinsics, StreamId
from tests.mapping.room import render

K = Intrinsics.from_fov(64, 48)
A, B = np.array([-0.35, 0.6, -1.05]), np.array([0.35, 0.6, -1.05])  # on top of the chest
WORLD = Sim3(0.5, np.eye(3), np.array([3.0, 1.0, 0.0]))
"""world_from_component, where the component's frame is the room's, in half metres."""


def views(num: int, noise: float = 0.0, confidence: int = 255) -> list[tuple[Kept, Sim3]]:
    """Keyframes around the chest whose depth is off by `noise` each, one way and the other."""
    errors = np.exp(noise * np.linspace(-1.5, 1.5, num))
    seen = []
    for n, error in enumerate(errors):
        pose = look_at([1.2 * np.sin(n), 1.6, 0.4 + 0.2 * np.cos(n)], [0.0, 0.5, -1.0])
        rgb, depth = render(pose, K)
        pose = pose.copy()
        pose[:3, 3] *= 2.0
        sure = np.full(depth.shape, confidence, np.uint8)
        depth = (2.0 * error * depth).astype(np.float16)
        seen.append((Kept(KeyframeId(f"a/{n}"), (StreamId("a"), 0), pose, K, depth, sure, rgb), WORLD))
    return seen


def sigma_m(seen: list[tuple[Kept, Sim3]], a: F64 = A, b: F64 = B) -> float:
    return clicks.length_sigma_m(WORLD.apply(2.0 * a), WORLD.apply(2.0 * b), seen)


def test_where_keyframes_agree_a_click_is_good_to_a_pixel() -> None:
    assert sigma_m(views(9)) < 0.04


def test_the_more_they_disagree_the_less_is_claimed() -> None:
    little, much = sigma_m(views(9, 0.05)), sigma_m(views(9, 0.15))
    assert sigma_m(views(9)) < little < 0.6 * much
    assert 0.02 < much < 0.5


@pytest.mark.parametrize("seen", [views(2), views(9, confidence=100)], ids=["two views", "nobody is sure"])
def test_where_nobody_can_disagree_it_is_a_share_of_the_way_there(seen: list[tuple[Kept, Sim3]]) -> None:
    assert DEPTH_SIGMA * 1.2 < sigma_m(seen) < DEPTH_SIGMA * 3.5


def test_who_sees_something_before_the_point_says_nothing_about_it() -> None:
    behind_the_chest = np.array([0.0, 0.0, -1.95])
    assert all(kept.surface_behind(2.0 * behind_the_chest) is None for kept, _ in views(1))
