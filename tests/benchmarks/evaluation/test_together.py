"""Two phones in one map, put there by somebody who knows the truth, or who is wrong about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.clips import Clip
from benchmarks.crowd import judge
from benchmarks.evaluation.cutting import interleaved, jittered
from benchmarks.evaluation.fast import play_fast
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.session import Played, Session
from benchmarks.evaluation.shared_view import SharedViews, shared_times_s
from benchmarks.evaluation.together import misplaced
from benchmarks.trajectory import align_by_orientation
from mapping.changes import KeyframeId
from mapping.placing import keyframe_id
from mapping.scene_map import SceneMap
from mapping.transforms import F64, Sim3, exp_so3
from streams.frame import StreamId


class KnownMap(SceneMap):
    """Puts every component where the truth has it, but one phone where `error` takes it; or leaves it out."""

    def __init__(self, session: Session, error: Sim3 | None) -> None:
        super().__init__()
        *_, last = session.played
        self._places = {}
        for played in session.played:
            for component, truth_from_component in by_truth(played).items():
                moved = truth_from_component if played is not last or error is None else error @ truth_from_component
                if played is not last or error is not None:
                    self._places[played.phone.name, component] = moved
        self._keyframes = [(p.phone.name, m.tracked) for p in session.played for m in p.mapped]

    def world_from_component(self, stream: StreamId, component: int, seq: int | None = None) -> Sim3 | None:
        return self._places.get((stream, component))

    def keyframe_poses(self) -> dict[KeyframeId, F64]:
        return {
            keyframe_id(stream, tracked.seq): world.apply_pose(tracked.component_from_camera)
            for stream, tracked in self._keyframes
            if (world := self.world_from_component(stream, tracked.component)) is not None
            and tracked.component_from_camera is not None
        }


def by_truth(played: Played) -> dict[int, Sim3]:
    """truth_from_component of each component with a few poses."""
    pairs: dict[int, list[tuple[F64, F64]]] = {}
    for answer in played.answers:
        pose, true = answer.tracked.component_from_camera, played.phone.true_pose(answer.tracked.seq)
        if pose is not None and true is not None:
            pairs.setdefault(answer.tracked.component, []).append((pose, true))
    return {
        component: align_by_orientation(np.stack([a for a, _ in found]), np.stack([b for _, b in found]))
        for component, found in pairs.items()
        if len(found) >= 3
    }


@pytest.fixture(scope="module")
def tracked(painted: Path) -> Session:
    """Two phones side by side, each tracked in a component of its own; nothing is mapped."""
    return play_fast(jittered(interleaved(Clip.open(painted), 2), 0), Options(with_map=False))


def in_one_map(tracked: Session, error: Sim3 | None) -> Session:
    for index, played in enumerate(tracked.played):
        played.aligned_s = float(index)
    return replace(tracked, map=KnownMap(tracked, error))


class CorrectedMap(KnownMap):
    """Has the last phone's keyframes elsewhere than it was told, by a fifth of a metre."""

    def keyframe_poses(self) -> dict[KeyframeId, F64]:
        last = self._keyframes[-1][0]
        poses = super().keyframe_poses()
        for keyframe, pose in poses.items():
            if keyframe.startswith(f"{last}/"):
                pose[:3, 3] += [0.2, 0.0, 0.0]
        return poses


def test_frames_ride_on_their_keyframes_as_the_map_has_them(tracked: Session) -> None:
    clip = tracked.played[0].phone.clip
    session = in_one_map(tracked, Sim3.identity())
    as_told = judge(session, clip)
    assert as_told["inter_phone_mapped_m"] == pytest.approx(as_told["inter_phone_m"], abs=0.01)
    corrected = judge(replace(session, map=CorrectedMap(tracked, Sim3.identity())), clip)
    assert corrected["inter_phone_mapped_m"] == pytest.approx(0.2, abs=0.03)
    assert corrected["inter_phone_m"] < 0.05


def test_a_right_merge_shows_a_small_error(tracked: Session) -> None:
    figures = judge(in_one_map(tracked, Sim3.identity()), tracked.played[0].phone.clip)
    assert figures["merged"] == 2
    assert figures["inter_phone_m"] < 0.04
    assert figures["inter_phone_deg"] < 2.0
    assert figures["joint_ate_m"] < 0.05
    assert figures["merged_s"] == [0.0, 1.0]
    assert figures["shared_frames"] == [pytest.approx(15, abs=1)]
    assert figures["after_ten_shared_s"] == [pytest.approx(1.0 - 19 / 30, abs=0.04)]


def test_a_wrong_merge_shows_how_wrong_it_is(tracked: Session) -> None:
    error = Sim3(1.0, exp_so3(np.array([0.0, np.radians(12.0), 0.0])), np.array([0.4, 0.0, 0.0]))
    session = in_one_map(tracked, error)
    figures = judge(session, tracked.played[0].phone.clip)
    assert figures["inter_phone_m"] > 0.15
    assert figures["inter_phone_deg"] == pytest.approx(12.0, abs=2.0)
    off = misplaced(session, *session.played)
    assert off is not None
    assert off[0] > 0.15
    assert off[1] == pytest.approx(12.0, abs=2.0)


def test_phones_that_were_not_merged_have_no_error(tracked: Session) -> None:
    session = in_one_map(tracked, None)
    session.played[1].aligned_s = None
    figures = judge(session, tracked.played[0].phone.clip)
    assert figures["merged"] == 0
    assert figures["inter_phone_m"] is None
    assert figures["joint_ate_m"] is None
    assert figures["shared_frames"] == [None]
    assert misplaced(session, *session.played) is None


def test_only_what_another_phone_saw_before_is_shared(painted: Path) -> None:
    clip = Clip.open(painted)
    views = SharedViews([clip])
    a, b = interleaved(clip, 2)
    times = shared_times_s(b, [a], views)
    assert len(times) == len(b.frames)
    assert shared_times_s(a, [b], views)[0] > 0.0
    assert float(np.diag(views.between(a, a)).min()) > 0.5
