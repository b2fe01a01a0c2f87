"""Depth against a depth sensor: what is taken out (one unit per component) and what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.clips import Clip
from benchmarks.evaluation.depth import mark_depth, splat, true_depth
from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.session import Mapped, Played, Session
from mapping.changes import KeyframeId
from mapping.engines import ViewPrediction, WindowPrediction
from streams.frame import Intrinsics
from tests.mapping.painted_room import CAMERA, PaintedRoom, walk


def with_depth(session: Session, factor: float, hole: int = 0, bias: float = 0.0) -> Played:
    """The session's keyframes with true depth in another unit, the first `hole` rows unknown, a tenth of rows wrong."""
    played, room, poses = session.played[0], PaintedRoom(), walk(90)
    mapped = []
    for before in played.mapped:
        depth = room.depth(poses[before.tracked.seq]) * factor
        depth[-24:] *= 1.0 + bias
        depth[:hole] = 0.0
        sure = np.ones_like(depth)
        sure[-24:] = 0.3
        view = ViewPrediction(KeyframeId("k"), np.eye(4), CAMERA, depth, sure)
        mapped.append(Mapped(before.tracked, WindowPrediction((view,)), 0))
    return Played(played.phone, played.answers, mapped)


def test_perfect_depth_in_any_unit_is_perfect(painted_session: Session) -> None:
    marks = mark_depth(painted_session, with_depth(painted_session, 3.0))
    assert marks is not None
    assert marks.all_absrel < 0.01
    assert marks.all_within_10pct > 0.99
    assert marks.density == pytest.approx(1.0, abs=0.01)
    assert marks.sure_density == pytest.approx(0.9, abs=0.01)


def test_the_surest_four_fifths_are_the_headline(painted_session: Session) -> None:
    marks = mark_depth(painted_session, with_depth(painted_session, 1.0, bias=0.5))
    assert marks is not None
    assert marks.within_10pct > 0.99
    assert marks.all_within_10pct == pytest.approx(0.9, abs=0.01)
    assert marks.all_absrel == pytest.approx(0.05, abs=0.01)


def test_holes_count_against_density_only(painted_session: Session) -> None:
    marks = mark_depth(painted_session, with_depth(painted_session, 1.0, hole=120))
    assert marks is not None
    assert marks.density == pytest.approx(0.5, abs=0.02)
    assert marks.within_10pct > 0.99


def test_truth_comes_from_the_nearest_depth_frame(painted: Path) -> None:
    phone = Phone.of(Clip.open(painted))
    found = true_depth(phone, 12, 80, 60)
    assert found is not None
    expected = PaintedRoom().depth(walk(13)[12], CAMERA.scaled(80, 60))
    known = found > 0
    assert known.mean() > 0.95
    assert np.median(np.abs(found - expected)[known]) < 0.02


def test_a_narrower_lens_sees_the_middle(painted: Path) -> None:
    phone = replace(Phone.of(Clip.open(painted)), zoom=0.5)
    found = true_depth(phone, 0, 80, 60)
    assert found is not None
    whole = PaintedRoom().depth(walk(1)[0])
    assert found[30, 40] == pytest.approx(whole[120, 160], rel=0.02)
    assert found[1, 1] == pytest.approx(whole[62, 82], rel=0.03)


def test_the_nearest_surface_of_a_pixel_wins() -> None:
    camera = Intrinsics(1.0, 1.0, 1.0, 1.0, 2, 2)
    depth = splat(
        np.array([[0.5, 0.5, 3.0], [0.2, 0.2, 2.0], [0.2, 0.2, 2.05], [9.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), camera
    )
    assert depth.tolist() == [[0.0, 0.0], [0.0, pytest.approx(2.025)]]
