"""One phone films what it should not, beside one that films a room: the other one's map is as if it had been alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.offline import Offline
from mapping import engines
from mapping.scene_map import SceneMap
from mapping.transforms import F64
from navmesh.recast import Agent
from streams.frame import Frame, StreamId
from tests.mapping.painted_room import CAMERA, PaintedRoom, frame, walk

NUM = 48
PATH = walk(2 * NUM)[::2]
GOOD, BAD = StreamId("good"), StreamId("bad")
Gray = NDArray[np.uint8]


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    return PaintedRoom(seed=3)


@pytest.fixture(scope="module")
def good(room: PaintedRoom) -> list[Gray]:
    return [room.render(pose) for pose in PATH]


@pytest.fixture(scope="module")
def elsewhere() -> list[Gray]:
    other = PaintedRoom(seed=5)
    return [other.render(pose) for pose in PATH]


@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """What a map holds in the end."""

    keys: NDArray[np.int32]
    voxels: tuple[NDArray[np.generic], ...]
    poses: dict[str, F64]
    merged: bool

    @classmethod
    def by(cls, scene_map: SceneMap) -> Left:
        """Of the good phone's and of all voxels."""
        keys = scene_map.voxels.block_keys()
        keys = keys[np.lexsort(keys.T)]
        blocks = scene_map.blocks(keys)
        poses = {key: pose for key, pose in scene_map.keyframe_poses().items() if key.startswith(f"{GOOD}/")}
        return cls(keys, (blocks.tsdf_m, blocks.weight), poses, any(key[0] == BAD for key in scene_map.status.aligned))

    def assert_same_as(self, other: Left) -> None:
        assert self.poses.keys() == other.poses.keys()
        for key, pose in self.poses.items():
            np.testing.assert_array_equal(pose, other.poses[key])
        np.testing.assert_array_equal(self.keys, other.keys)
        for mine, theirs in zip(self.voxels, other.voxels, strict=True):
            np.testing.assert_array_equal(mine, theirs)


async def film(good: list[Gray], bad: list[Frame]) -> Left:
    """Both phones' frames in turns, the good one's first."""
    offline = Offline(engines.create("classical"), Agent())
    offline.join(GOOD)
    offline.join(BAD)
    for i, image in enumerate(good):
        offline.see(replace(frame(image, i), stream=GOOD))
        if i < len(bad):
            offline.see(replace(bad[i], stream=BAD))
    offline.settle()
    return Left.by(offline.map)


@pytest.fixture(scope="module")
async def alone(good: list[Gray]) -> Left:
    left = await film(good, [])
    assert len(left.poses) >= 4
    assert len(left.keys) > 50
    return left


def wall(i: int) -> Gray:
    """White paint in soft light, with a sensor's noise."""
    light = np.linspace(225, 245, CAMERA.width)[None] + np.linspace(0, -6, CAMERA.height)[:, None]
    return np.clip(light + np.random.default_rng(i).normal(0, 1.5, light.shape), 0, 255).astype(np.uint8)


def noise(i: int) -> Gray:
    return np.random.default_rng(i).integers(0, 255, (CAMERA.height, CAMERA.width), np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        lambda room, i: room.render(PATH[20]),
        lambda room, i: np.full((CAMERA.height, CAMERA.width), 255 * (i // 5 % 2), np.uint8),
        lambda room, i: noise(i),
        lambda room, i: wall(i),
        lambda room, i: np.full((1, 1), 9, np.uint8),
    ],
    ids=["frozen", "black and over-exposed", "noise", "white wall", "one pixel"],
)
async def test_what_shows_nothing_leaves_nothing(
    room: PaintedRoom, good: list[Gray], alone: Left, picture: Callable[[PaintedRoom, int], Gray]
) -> None:
    bad = []
    for i in range(NUM):
        image = picture(room, i)
        bad.append(frame(image, i, camera=CAMERA.scaled(image.shape[1], image.shape[0])))
    left = await film(good, bad)
    assert not left.merged
    left.assert_same_as(alone)


async def test_a_film_of_another_place_on_a_screen_stays_a_map_of_its_own(
    good: list[Gray], elsewhere: list[Gray], alone: Left
) -> None:
    left = await film(good, [frame(image, i) for i, image in enumerate(elsewhere)])
    assert not left.merged
    left.assert_same_as(alone)


async def test_a_screen_in_another_room_that_shows_this_one_does_not_join(
    good: list[Gray], elsewhere: list[Gray], alone: Left
) -> None:
    """A monitor that fills a third of the picture plays what the good phone films: it is no place of this room."""
    shown = []
    for i, (around, inside) in enumerate(zip(elsewhere, good, strict=True)):
        picture = around.copy()
        picture[60:180, 80:240] = cv2.resize(inside, (160, 120), interpolation=cv2.INTER_AREA)
        shown.append(frame(picture, i))
    left = await film(good, shown)
    assert not left.merged
    left.assert_same_as(alone)


async def test_no_clock_of_a_phone_moves_the_map_of_another(
    good: list[Gray], elsewhere: list[Gray], alone: Left
) -> None:
    """Its time repeats, runs backwards, and jumps by a day."""
    stamps = [10**18 - (i % 3) * 10**8 + (i // 20) * 86_400 * 10**9 for i in range(NUM)]
    bad = [replace(frame(image, i), capture_ns=stamps[i]) for i, image in enumerate(elsewhere)]
    (await film(good, bad)).assert_same_as(alone)


@pytest.mark.parametrize("factor", [0.65, 1.5])
async def test_a_phone_that_is_wrong_about_its_lens_stays_alone_with_its_bent_map(
    room: PaintedRoom, good: list[Gray], alone: Left, factor: float
) -> None:
    wrong = replace(CAMERA, fx=factor * CAMERA.fx, fy=factor * CAMERA.fy)
    left = await film(good, [frame(room.render(pose), i, camera=wrong) for i, pose in enumerate(PATH)])
    assert not left.merged
    left.assert_same_as(alone)


async def test_a_phone_that_is_hardly_wrong_joins(room: PaintedRoom, good: list[Gray]) -> None:
    near = replace(CAMERA, fx=1.08 * CAMERA.fx, fy=1.08 * CAMERA.fy)
    assert (await film(good, [frame(room.render(pose), i, camera=near) for i, pose in enumerate(PATH)])).merged
