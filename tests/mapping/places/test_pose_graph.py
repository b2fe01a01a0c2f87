"""A graph of keyframes gives way where its edges say so: loops are closed, wrong edges not heard, fixed nodes stay."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.places.pose_graph import Edges, Poses, optimise
from mapping.transforms import Sim3, exp_so3, look_at
from tests.mapping.places.filming import turned_about

NUM = 24


def circle() -> list[Sim3]:
    """world_from_camera of a walk around a room, back to where it began."""
    angles = np.linspace(0, 2 * np.pi, NUM)
    return [Sim3.from_rigid(look_at([2 * np.cos(a), 1.5, 2 * np.sin(a)], [0, 1, 0])) for a in angles]


def between(truth: list[Sim3], pairs: list[tuple[int, int]], noise: Sim3 | None = None, *, sure: bool) -> Edges:
    """Edges a -> b as they truly are, each off by the same motion."""
    a, b = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    off = noise or Sim3.identity()
    told = [off @ truth[j].inverse() @ truth[i] for i, j in pairs]
    information = np.tile(np.eye(7) / 0.01**2, (len(pairs), 1, 1))
    return Edges(a, b, Poses.of(told), information, np.full(len(pairs), np.inf if sure else 140.0))


def both(one: Edges, other: Edges) -> Edges:
    return Edges(
        np.concatenate([one.a, other.a]), np.concatenate([one.b, other.b]),
        Poses.of(one.b_from_a.each() + other.b_from_a.each()),
        np.concatenate([one.information, other.information]), np.concatenate([one.doubt, other.doubt]),
    )  # fmt: skip


def dead_reckoned(steps: Edges, first: Sim3) -> list[Sim3]:
    poses = [first]
    for b_from_a in steps.b_from_a.each():
        poses.append(poses[-1] @ b_from_a.inverse())
    return poses


def only_first() -> NDArray[np.bool_]:
    return np.asarray(np.arange(NUM) == 0)


def errors_m(found: list[Sim3], truth: list[Sim3]) -> np.ndarray:
    return np.array([np.linalg.norm(a.translation - b.translation) for a, b in zip(found, truth, strict=True)])


@pytest.fixture
def truth() -> list[Sim3]:
    return circle()


@pytest.fixture
def steps(truth: list[Sim3]) -> Edges:
    """What a tracker says that drifts steadily, in scale, too."""
    drift = Sim3(1.01, exp_so3(np.array([0.0, 0.01, 0.003])), np.array([0.01, 0.0, 0.0]))
    return between(truth, [(k, k + 1) for k in range(NUM - 1)], drift, sure=True)


def test_a_loop_that_is_closed_shares_out_what_the_tracker_drifted(truth: list[Sim3], steps: Edges) -> None:
    astray = dead_reckoned(steps, truth[0])
    assert errors_m(astray, truth).max() > 0.5
    closing = between(truth, [(NUM - 1, 0), (NUM - 2, 1)], sure=False)
    found = optimise(Poses.of(astray), both(steps, closing), only_first()).each()
    assert errors_m(found, truth).max() < 0.15
    shift, angle_deg, stretch = turned_about(found[-1], truth[-1])
    assert (shift < 0.05, angle_deg < 2.0, stretch < 0.02) == (True, True, True)


def test_an_edge_that_contradicts_the_others_is_not_heard(truth: list[Sim3]) -> None:
    steps = between(truth, [(k, k + 1) for k in range(NUM - 1)], sure=True)
    wrong = between(
        truth, [(20, 3)], Sim3(1.0, exp_so3(np.array([0.0, 0.3, 0.0])), np.array([1.0, 0, 0.5])), sure=False
    )
    right = between(truth, [(NUM - 1, 0), (NUM - 2, 1), (NUM - 3, 0)], sure=False)
    found = optimise(Poses.of(truth), both(both(steps, right), wrong), only_first()).each()
    assert errors_m(found, truth).max() < 0.02


def test_nodes_that_stay_stay(truth: list[Sim3], steps: Edges) -> None:
    closing = between(truth, [(NUM - 1, 0)], sure=True)
    stays = only_first() | (np.arange(NUM) == 5)
    found = optimise(Poses.of(dead_reckoned(steps, truth[0])), both(steps, closing), stays)
    astray = Poses.of(dead_reckoned(steps, truth[0]))
    np.testing.assert_array_equal(found.position[stays], astray.position[stays])
    assert np.linalg.norm(found.position[12] - astray.position[12]) > 0.05


def test_without_edges_nothing_moves(truth: list[Sim3], steps: Edges) -> None:
    nodes = Poses.of(truth)
    assert optimise(nodes, steps.only(np.zeros(len(steps), np.bool_)), only_first()) is nodes


def test_cameras_that_ride_on_others_pull_them_along_where_they_are_pulled(truth: list[Sim3]) -> None:
    """What is told of riders is told of those they ride on, just as surely."""
    rides_on = np.arange(NUM) // 3 * 3
    poses = Poses.of(truth)
    node_from_camera = poses[rides_on].inverse() @ poses
    off = Sim3(1.05, exp_so3(np.array([0.02, 0.01, 0.03])), np.array([0.05, -0.02, 0.01]))
    edges = between(truth, [(22, 1), (17, 5), (4, 3)], off, sure=False)
    told = edges.told_by(rides_on, node_from_camera)
    assert list(zip(told.a.tolist(), told.b.tolist(), strict=True)) == [(21, 0), (15, 3)], "4 rides on 3 itself"
    mine, theirs = edges.errors(poses)[:2], told.errors(poses)
    for k in range(2):
        before, after = mine[k] @ edges.information[k] @ mine[k], theirs[k] @ told.information[k] @ theirs[k]
        assert after == pytest.approx(before, rel=0.03)
