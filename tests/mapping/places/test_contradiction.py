"""Two rooms that hold one table contradict each other; one room never does, whatever its depth is off by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.kept import Kept, packed
from mapping.places.contradiction import Config, contradicts, difference
from mapping.transforms import F64, Sim3, exp_so3, look_at
from streams.frame import DepthMap, Intrinsics, StreamId
from tests.mapping.painted_room import PaintedRoom

_CAMERA = Intrinsics(130.0, 130.0, 80.0, 60.0, 160, 120)
_A_FROM_ROOM = Sim3(0.4, exp_so3(np.array([0.3, -0.8, 0.2])), np.array([1.0, -2.0, 0.5]))
_B_FROM_ROOM = Sim3(2.5, exp_so3(np.array([-0.5, 0.1, 0.9])), np.array([-3.0, 0.4, 1.0]))
_B_FROM_A = _B_FROM_ROOM @ _A_FROM_ROOM.inverse()


def _walk(start: float) -> list[F64]:
    angles = start + 0.15 * np.arange(4)
    return [look_at([1.5 * np.sin(a), 1.4, -1.5], [0.5 * np.sin(a), 0.7, 0.3]) for a in angles]


def _films(room: PaintedRoom, name: str, start: float, *, exposure: float = 1.0, nearer: float = 1.0) -> list[Kept]:
    """Keyframes in a component's own frame and unit, with depth like that of an engine: 7 % off, outliers, holes."""
    random = np.random.default_rng(sum(name.encode()))
    component_from_room = _A_FROM_ROOM if name == "a" else _B_FROM_ROOM
    films = []
    for seq, pose in enumerate(_walk(start)):
        gray = np.clip(room.render(pose, _CAMERA) * exposure + random.normal(0, 3, (120, 160)), 0, 255)
        depth = _as_measured(room.depth(pose, _CAMERA) * np.float32(component_from_room.scale * nearer), random)
        rgb = np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
        films.append(
            Kept(
                KeyframeId(f"{name}/{seq}"), (StreamId(name), 0), component_from_room.apply_pose(pose), _CAMERA,
                *packed(DepthMap(depth, _CAMERA)), rgb,
            )
        )  # fmt: skip
    return films


def _as_measured(depth: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """A scale of the frame's own, waves of several per cent, a fifth of the patches anywhere, a tenth unknown."""
    waves = np.kron(random.normal(0, 0.05, (6, 8)), np.ones((20, 20)))
    patches = np.kron(random.random((24, 32)), np.ones((5, 5)))
    off = np.exp(waves + random.normal(0, 0.05))
    anywhere = np.kron(random.uniform(0.5, 2.0, (24, 32)), np.ones((5, 5)))
    measured = depth * np.where(patches < 0.2, anywhere, off)
    return np.where(patches > 0.9, 0.0, measured).astype(np.float32)


def _pairs(a: Sequence[Kept], b: Sequence[Kept]) -> list[tuple[Kept, Kept]]:
    return [(one, other) for one in a for other in b]


def _sharing_a_table(room: PaintedRoom, seed: int) -> PaintedRoom:
    other = PaintedRoom(seed)
    other._walls[6:] = room._walls[6:]
    return other


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    return PaintedRoom(3)


@pytest.mark.parametrize("exposure", [1.0, 0.6])
def test_one_room_does_not_contradict_itself(room: PaintedRoom, exposure: float) -> None:
    pairs = _pairs(_films(room, "a", 0.0), _films(room, "b", 0.1, exposure=exposure))
    found = difference(_B_FROM_A, pairs, Config())
    assert found.compared > 5_000
    assert not contradicts(_B_FROM_A, pairs)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_two_rooms_that_share_a_table_do(room: PaintedRoom, seed: int) -> None:
    pairs = _pairs(_films(room, "a", 0.0), _films(_sharing_a_table(room, seed), "b", 0.1))
    assert contradicts(_B_FROM_A, pairs)


@pytest.mark.parametrize("nearer", [0.5, 2.0])
def test_depth_that_is_far_off_is_no_contradiction(room: PaintedRoom, nearer: float) -> None:
    assert not contradicts(_B_FROM_A, _pairs(_films(room, "a", 0.0), _films(room, "b", 0.1, nearer=nearer)))


def test_plain_walls_say_nothing(room: PaintedRoom) -> None:
    a, b = _films(room, "a", 0.0), _films(_sharing_a_table(room, 7), "b", 0.1)
    for kept in (*a, *b):
        kept.rgb = np.random.default_rng(kept.seq).normal(128, 3, kept.rgb.shape).astype(np.uint8)
    assert not contradicts(_B_FROM_A, _pairs(a, b))


def test_it_is_the_same_from_the_other_side(room: PaintedRoom) -> None:
    a, b = _films(room, "a", 0.0), _films(_sharing_a_table(room, 7), "b", 0.1)
    there, back = (
        difference(_B_FROM_A, [(a[1], b[1])], Config()),
        difference(_B_FROM_A.inverse(), [(b[1], a[1])], Config()),
    )
    assert there.compared == pytest.approx(back.compared, rel=0.01)
    assert there.unlike == pytest.approx(back.unlike, rel=0.02)


def test_where_nothing_can_be_compared_nothing_is_contradicted(room: PaintedRoom) -> None:
    a, b = _films(room, "a", 0.0), _films(_sharing_a_table(room, 7), "b", 0.1)
    assert not contradicts(_B_FROM_A, [])
    for kept in b:
        kept.confidence = np.zeros_like(kept.confidence)
    assert not contradicts(_B_FROM_A, _pairs(a, b))
    for kept in b:
        kept.depth = np.zeros_like(kept.depth)
    assert not contradicts(_B_FROM_A, _pairs(a, b))
