"""Which recognised pairs the graph hears: what fits the map, and what several agree on; the rest is only remembered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.places.agreement import Seen
from mapping.places.lens_errors import LensShift
from mapping.places.links import Links, fits
from mapping.places.place import place_of
from mapping.places.pose_graph import Poses
from mapping.places.similarity import Sights, refine
from mapping.places.verification import verify
from mapping.transforms import Sim3, exp_so3
from streams.frame import StreamId
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import Phone, walk

A, B = KeyframeId("a/0"), KeyframeId("b/0")
ROWS = {A: 0, B: 1}


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Two phones that saw one place; their frames are the room's."""
    room = PaintedRoom()
    phones = [Phone(name, room) for name in "ab"]
    for phone in phones:
        phone.component_from_room = Sim3.identity()
    a, b = (place_of(*phone.sees(pose)) for phone, pose in zip(phones, walk(3)[::2], strict=True))
    assert a is not None
    assert b is not None
    pair = verify(a.features, b.features)
    assert pair is not None
    return Seen(a.keyframe, a.component, b.keyframe, b.component, pair)


@pytest.fixture
def nodes() -> list[Sim3]:
    return [Sim3.from_rigid(pose) for pose in walk(3)[::2]]


def off(nodes: list[Sim3], turn_deg: float) -> list[Sim3]:
    turned = Sim3(1.0, exp_so3(np.array([0.0, np.radians(turn_deg), 0.0])), np.zeros(3))
    return [nodes[0], nodes[1] @ turned]


def test_a_pair_that_fits_is_heard(seen: Seen, nodes: list[Sim3]) -> None:
    links = Links()
    links.add([seen])
    heard = links.heard(ROWS, Poses.of(nodes))
    assert (heard.a.tolist(), heard.b.tolist()) == ([0], [1])
    assert fits(seen.pair, *nodes)


def test_a_pair_is_heard_as_sure_as_pixels_and_young_landmarks_make_it(seen: Seen) -> None:
    """Two pixels, three percent of each depth; a percent of all depths, .15 degrees and a percent of shift together."""
    truth, chi2 = seen.pair.b_from_a, []
    for seed in range(60):
        random = np.random.default_rng(seed)
        forward = astray(seen.pair.forward, truth, random)
        backward = astray(seen.pair.backward, truth.inverse(), random)
        fit = refine(truth, forward, backward, depth_sigma=0.03)
        shift = random.normal(0, 0.01 * seen.pair.median_depth_b, 3)
        young = Sim3(float(np.exp(random.normal(0, 0.01))), exp_so3(random.normal(0, np.radians(0.15), 3)), shift)
        pair = replace(seen.pair, b_from_a=young @ fit.b_from_a, information=fit.information, lenses=None)
        links, nodes = Links(), Poses.of([truth, Sim3.identity()])
        links.add([replace(seen, pair=pair)])
        heard = links.heard(ROWS, nodes)
        error = heard.errors(nodes)[0]
        chi2.append(float(error @ heard.information[0] @ error))
    assert 5.5 < np.mean(chi2) < 9.0, "it has seven degrees of freedom"


def astray(exact: Sights, other_from_one: Sim3, random: np.random.Generator) -> Sights:
    local = other_from_one.apply(exact.points)
    xy = local[:, :2] / local[:, 2:] + random.normal(0, 2.0, (len(local), 2)) / exact.focal_px[:, None]
    return replace(exact, points=exact.points * (1 + random.normal(0, 0.03, (len(local), 1))), xy=xy)


def test_a_pair_that_says_otherwise_is_heard_once_several_agree(seen: Seen, nodes: list[Sim3]) -> None:
    links, astray = Links(), off(nodes, 12.0)
    links.add([seen])
    assert not fits(seen.pair, *astray)
    assert len(links.heard(ROWS, Poses.of(astray))) == 0
    links.believe([seen.swapped()])
    assert len(links.heard(ROWS, Poses.of(astray))) == 1
    links.add([seen])
    assert len(links.heard(ROWS, Poses.of(astray))) == 1, "seen again it is still believed"


def test_a_pair_that_is_known_otherwise_by_now_is_news(seen: Seen, nodes: list[Sim3]) -> None:
    links = Links()
    links.add([seen])
    links.heard(ROWS, Poses.of(nodes))
    moved = Sim3(1.1, np.eye(3), np.zeros(3)) @ seen.pair.b_from_a
    links.add([replace(seen, pair=replace(seen.pair, b_from_a=moved))])
    assert links.is_due(1)


def test_a_pair_is_heard_through_the_lenses_that_all_agree_on(seen: Seen, nodes: list[Sim3]) -> None:
    """Both say that b's focal length is stated 2 % too long, so where a stood is off along the line of sight."""
    moves = np.zeros((7, 2))
    moves[5] = -1.5, 1.5
    shifted = replace(seen, pair=replace(seen.pair, lenses=LensShift(moves, 0.02, 0.002, (0.01, 0.01))))
    links = Links()
    links.add([shifted, replace(shifted, a=KeyframeId("a/1"))])
    told = links.heard({**ROWS, KeyframeId("a/1"): 2}, Poses.of([*nodes, nodes[0]]))
    off = told.b_from_a.position - seen.pair.b_from_a.translation
    np.testing.assert_allclose(off, np.tile([0.0, 0.0, 0.03], (2, 1)), atol=0.001)


def test_bending_is_due_when_enough_is_new(seen: Seen, nodes: list[Sim3]) -> None:
    links = Links()
    assert not links.is_due(1)
    links.add([seen])
    assert links.is_due(10)
    assert not links.is_due(100)
    links.heard(ROWS, Poses.of(nodes))
    links.add([seen])
    assert not links.is_due(1), "the same again is no news"


def test_a_phone_that_is_forgotten_takes_its_pairs_along(seen: Seen, nodes: list[Sim3]) -> None:
    links = Links()
    links.add([seen, replace(seen, a=KeyframeId("c/0"))])
    links.forget(StreamId("a"))
    assert len(links.heard(ROWS, Poses.of(nodes))) == 0
    assert len(links.heard({KeyframeId("c/0"): 0, B: 1}, Poses.of(nodes))) == 1
