"""All ties at once: errors are shared out, and a tie that contradicts the others is not heard."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.kept import ComponentKey
from mapping.places.graph import Edge, settle
from mapping.transforms import Sim3, exp_so3
from streams.frame import StreamId
from tests.mapping.places.filming import turned_about

KEYS: list[ComponentKey] = [(StreamId(name), 0) for name in "abcd"]


def random_place(random: np.random.Generator) -> Sim3:
    return Sim3(float(np.exp(random.normal(0, 0.5))), exp_so3(random.normal(0, 1, 3)), random.normal(0, 2, 3))


def edge(truth: dict[ComponentKey, Sim3], a: ComponentKey, b: ComponentKey, wrong: Sim3 | None = None) -> Edge:
    """A true tie; `wrong` moves the points of b in the world."""
    world = np.random.default_rng(len(a[0])).normal(0, 1, (30, 3))
    there = world if wrong is None else wrong.apply(world)
    return Edge(a, b, truth[a].inverse().apply(world), truth[b].inverse().apply(there), 100.0)


@pytest.fixture
def truth() -> dict[ComponentKey, Sim3]:
    random = np.random.default_rng(0)
    return {key: random_place(random) for key in KEYS}


def shaken(truth: dict[ComponentKey, Sim3]) -> dict[ComponentKey, Sim3]:
    random = np.random.default_rng(1)
    shake = {k: Sim3(1.02, exp_so3(random.normal(0, 0.02, 3)), random.normal(0, 0.02, 3)) for k in KEYS[1:]}
    return {KEYS[0]: truth[KEYS[0]]} | {key: move @ truth[key] for key, move in shake.items()}


def test_components_come_to_lie_where_all_ties_want_them(truth: dict[ComponentKey, Sim3]) -> None:
    a, b, c, d = KEYS
    edges = [edge(truth, *pair) for pair in ((a, b), (b, c), (c, d), (d, a))]
    found = settle(shaken(truth), KEYS[1:], edges)
    assert set(found) == {b, c, d}
    for key, place in found.items():
        assert max(turned_about(place, truth[key])) < 1e-4


def test_a_tie_that_contradicts_the_others_is_not_heard(truth: dict[ComponentKey, Sim3]) -> None:
    a, b, c, _ = KEYS
    wrong = Sim3(1.0, exp_so3(np.array([0.0, 0.6, 0.0])), np.array([1.0, 0.0, 0.5]))
    edges = [edge(truth, a, b), edge(truth, b, c), edge(truth, a, c), edge(truth, a, c, wrong)]
    for key, place in settle(shaken(truth), [b, c], edges).items():
        shift, angle_deg, stretch = turned_about(place, truth[key])
        assert (shift < 0.02, angle_deg < 0.5, stretch < 0.02) == (True, True, True)


def test_without_ties_nothing_moves(truth: dict[ComponentKey, Sim3]) -> None:
    assert settle(truth, [KEYS[1]], [])[KEYS[1]] is truth[KEYS[1]]
