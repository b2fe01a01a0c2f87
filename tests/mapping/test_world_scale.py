"""What one phone knows about metres helps all whose place in its world was recognised."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.component import Component
from mapping.kept import ComponentKey, KeptKeyframes
from mapping.places.ties import Tie
from mapping.transforms import Sim3, look_at
from mapping.world import World
from streams.frame import Frame, GivenPose, Image, StreamId

MINE, THEIRS = (StreamId("camera"), 0), (StreamId("headset"), 0)
THEIR_UNITS_PER_MINE = 2.5


def walk(world: World, key: ComponentKey, *, is_posed: bool, unit_m: float) -> Component:
    component = world.enter(key, is_posed=is_posed)
    for n in range(8):
        pose = look_at([0.2 * n / unit_m, 1.5 / unit_m, 0], [0.3 * n / unit_m, 1.2 / unit_m, -2 / unit_m])
        image = Image(rgb=np.zeros((4, 4, 3), np.uint8))
        frame = Frame(key[0], n, n, n, image, pose=GivenPose(pose) if is_posed else None)
        component.observe(frame, pose, np.array([[0, 0, -2.0 / unit_m]], np.float32), [])
    return component


@pytest.fixture
def world() -> World:
    made = World(KeptKeyframes(100))
    made.try_to_align(walk(made, MINE, is_posed=False, unit_m=THEIR_UNITS_PER_MINE))
    return made


def test_a_recognised_phone_with_metres_scales_the_world_it_comes_into(world: World) -> None:
    assert world.state.scale_source == "none"
    headset = walk(world, THEIRS, is_posed=True, unit_m=1.0)
    moved = world.hang([Tie(MINE, THEIRS, Sim3(THEIR_UNITS_PER_MINE, np.eye(3), np.array([1.0, 0.0, 0.0])), 50)])
    assert moved == [headset]
    step = world.reconsider()
    assert step is not None
    assert step[1] == "scale"
    assert world.state.scale_source == "posed"
    assert 0.01 < world.state.scale_sigma < 0.05
    mine, theirs = (world.components[key].world_from_component for key in (MINE, THEIRS))
    assert mine is not None
    assert theirs is not None
    assert mine.scale == pytest.approx(THEIR_UNITS_PER_MINE)
    assert theirs.scale == pytest.approx(1.0)


def test_a_distance_that_contradicts_the_headset_is_told(world: World) -> None:
    walk(world, THEIRS, is_posed=True, unit_m=1.0)
    world.hang([Tie(MINE, THEIRS, Sim3(THEIR_UNITS_PER_MINE, np.eye(3), np.zeros(3)), 50)])
    world.reconsider()
    world.declare_distance(np.zeros(3), np.array([1.0, 0.0, 0.0]), 1.6, 0.01)
    world.reconsider()
    assert world.state.scale_source == "posed"
    assert world.state.scale_contradicted_by == ("distance",)
    assert world.state.scale_sigma > 0.1


def test_a_recognised_phone_without_metres_tells_none(world: World) -> None:
    walk(world, THEIRS, is_posed=False, unit_m=1.0)
    world.hang([Tie(MINE, THEIRS, Sim3(THEIR_UNITS_PER_MINE, np.eye(3), np.zeros(3)), 50)])
    world.reconsider()
    assert world.state.scale_source == "none"
    assert world.state.scale_sigma == float("inf")


def test_cues_of_those_who_hang_are_taken_in_the_order_of_their_coming(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [(StreamId(f"phone-{n}"), 0) for n in range(8)]
    for key in others:
        walk(world, key, is_posed=False, unit_m=1.0)
    world.hang([Tie(MINE, key, Sim3.identity(), 50) for key in reversed(others)])
    asked: list[ComponentKey] = []
    monkeypatch.setattr("mapping.world.told_by", lambda them, *_: asked.extend(other.key for other in them) or [])
    world.reconsider()
    assert asked == others
