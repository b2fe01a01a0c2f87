"""How walks are judged: by what bending did to them, for better or worse."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from benchmarks.evaluation.session import Session
from benchmarks.loops import judge
from mapping.scene_map import SceneMap
from mapping.transforms import Sim3
from streams.frame import StreamId


class Bent:
    """A map that moves everything from one frame on."""

    def __init__(self, real: SceneMap, first: int, shift_m: float) -> None:
        self.real, self.first, self.shift_m = real, first, shift_m

    def world_from_component(self, stream: StreamId, component: int, seq: int | None = None) -> Sim3 | None:
        place = self.real.world_from_component(stream, component)
        if place is None or seq is None or seq < self.first:
            return place
        return Sim3(1.0, np.eye(3), np.array([self.shift_m * place.scale, 0.0, 0.0])) @ place


def bent(session: Session, first: int, shift_m: float) -> Session:
    return replace(session, map=cast("SceneMap", Bent(session.map, first, shift_m)))


def test_a_walk_that_nothing_bends_is_as_it_was_tracked(painted_session: Session) -> None:
    figures = judge(bent(painted_session, 0, 0.0), painted_session.played[0])
    assert figures["frames"] > 60
    assert figures["ate_bent_m"] == figures["ate_tracked_m"]
    assert (figures["bent_m"], figures["false"]) == (0.0, False)


def test_a_walk_that_is_torn_in_two_was_bent_wrong(painted_session: Session) -> None:
    figures = judge(bent(painted_session, 50, 2.0), painted_session.played[0])
    assert figures["ate_bent_m"] > 2 * figures["ate_tracked_m"]
    assert figures["bent_m"] > 0.1
    assert figures["false"]


def test_a_real_session_holds_no_false_loop(painted_session: Session) -> None:
    assert not judge(painted_session, painted_session.played[0])["false"]
