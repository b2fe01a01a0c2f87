"""What every geometry engine must do, whatever it is made of. Its test subclasses this with a fixture `engine`.

Exactness is each engine's own matter; here is what the map and the workers rely on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mapping.alignment import fit_cameras
from mapping.changes import KeyframeId
from mapping.engines import GeometryEngine, View, ViewPrediction, Window, WindowPrediction
from mapping.transforms import F64, look_at, rigid
from streams.frame import Intrinsics
from tests.mapping.room import render

K = Intrinsics.from_fov(160, 120)
PORTRAIT = Intrinsics.from_fov(120, 160)


def walk(n: int) -> F64:
    return look_at([0.3 + 0.1 * n, 1.4, 1.5], [-0.1 + 0.05 * n, 0.7, -1.5])


def view(n: int, k: Intrinsics = K, *, unit: float = 1.0, stream: str = "s") -> View:
    """What a tracker whose unit is `unit` metres says of a camera on its walk, in memory that nobody may write to."""
    pose = walk(n)
    rgb, depth = render(pose, k)
    pixels = np.random.default_rng(n).integers(0, [k.width, k.height], (80, 2))
    rays = np.column_stack([(pixels + 0.5 - [k.cx, k.cy]) / [k.fx, k.fy], np.ones(80)])
    points = (rays * depth[pixels[:, 1], pixels[:, 0], None]) @ pose[:3, :3].T + pose[:3, 3]
    rgb.flags.writeable = False
    return View(
        KeyframeId(f"{stream}/{n}"), rgb, k, rigid(pose[:3, :3], pose[:3, 3] / unit), (points / unit).astype(np.float32)
    )


def window(*numbers: int, unit: float = 1.0) -> Window:
    return Window(tuple(view(n, unit=unit) for n in numbers))


class EngineContract:
    """Subclass it with a fixture `engine`: warm, and left as it was by every test."""

    def test_the_newest_view_has_depth_and_every_answer_is_for_a_view_that_was_asked_about(
        self, engine: GeometryEngine
    ) -> None:
        asked = window(0, 1, 2, 3)
        answers = engine.predict(asked).views
        names = [answer.keyframe for answer in answers]
        assert names == [v.keyframe for v in asked.views if v.keyframe in names], "oldest first"
        assert names[-1] == "s/3"
        assert answers[-1].depth is not None
        for answer in answers:
            assert_well_formed(answer)

    def test_poses_that_are_known_stay(self, engine: GeometryEngine) -> None:
        asked = window(0, 1, 2)
        for answer in engine.predict(asked).views:
            [same] = [v for v in asked.views if v.keyframe == answer.keyframe]
            np.testing.assert_array_equal(answer.window_from_camera, same.prior_window_from_camera)

    def test_the_unit_is_the_tracker_s(self, engine: GeometryEngine) -> None:
        metres, quarters = (newest(engine.predict(window(0, 1, 2, unit=unit))) for unit in (1.0, 0.25))
        both = (metres > 0) & (quarters > 0)
        assert both.any()
        assert np.median(quarters[both] / metres[both]) == pytest.approx(4.0, rel=0.02)

    def test_views_without_poses_are_posed_among_each_other(self, engine: GeometryEngine) -> None:
        bare = tuple(replace(v, prior_window_from_camera=None, landmarks_window=None) for v in window(0, 2, 4).views)
        answers = engine.predict(Window(bare)).views
        assert answers[-1].keyframe == "s/4"
        for answer in answers:
            assert_well_formed(answer)
        if len(answers) == 3:
            poses = np.array([answer.window_from_camera for answer in answers])
            assert fit_cameras(poses, np.array([walk(n) for n in (0, 2, 4)])) is None or np.isfinite(poses).all()

    def test_a_view_alone_is_answered_or_refused_but_never_a_crash(self, engine: GeometryEngine) -> None:
        try:
            answers = engine.predict(window(1)).views
        except ValueError:
            return
        assert_well_formed(answers[-1])

    def test_intrinsics_may_be_unknown(self, engine: GeometryEngine) -> None:
        answers = engine.predict(Window(tuple(replace(v, intrinsics=None) for v in window(0, 1, 2).views))).views
        assert_well_formed(answers[-1])

    def test_a_phone_may_be_turned_upright(self, engine: GeometryEngine) -> None:
        answers = engine.predict(Window((view(0), view(1), view(2, PORTRAIT), view(3, PORTRAIT)))).views
        assert_well_formed(answers[-1])
        assert answers[-1].intrinsics.height > answers[-1].intrinsics.width, "nothing is cut off to make it fit"

    def test_cameras_keep_their_field_of_view_at_the_size_of_the_depth_map(self, engine: GeometryEngine) -> None:
        answer = engine.predict(window(0, 1, 2)).views[-1]
        k = answer.intrinsics
        np.testing.assert_allclose([k.fx / k.width, k.fy / k.height], [K.fx / K.width, K.fy / K.height], rtol=1e-6)

    def test_an_answer_depends_on_its_window_not_on_others(self, engine: GeometryEngine) -> None:
        before = newest(engine.predict(window(0, 1, 2)))
        engine.predict(window(5, 6, 7))
        engine.predict(window(1, 2, 3))
        after = newest(engine.predict(window(0, 1, 2)))
        known = (before > 0) & (after > 0)
        assert known.sum() > 0.9 * max((before > 0).sum(), (after > 0).sum())
        np.testing.assert_allclose(np.median(after[known] / before[known]), 1.0, rtol=1e-3)

    def test_answers_are_the_caller_s_own(self, engine: GeometryEngine) -> None:
        """What is returned may be written to, and no later window changes it."""
        first = newest(engine.predict(window(0, 1, 2)))
        copy = first.copy()
        engine.predict(window(1, 2, 3))
        np.testing.assert_array_equal(first, copy)
        first[:] = 0
        assert newest(engine.predict(window(0, 1, 2))).any()

    def test_what_cannot_be_a_window_is_refused(self, engine: GeometryEngine) -> None:
        good = view(0)
        for bad in (
            (),
            (replace(good, rgb=good.rgb[..., 0]),),
            (replace(good, rgb=good.rgb.astype(np.float32)),),  # type: ignore[arg-type]
            (replace(good, intrinsics=K.scaled(10, 10)),),
            (good, replace(view(1), prior_window_from_camera=np.full((4, 4), np.nan))),
        ):
            with pytest.raises(ValueError):
                engine.predict(Window(bad))


def newest(prediction: WindowPrediction) -> np.ndarray:
    depth = prediction.views[-1].depth
    assert depth is not None
    return depth


def assert_is_pose(matrix: F64) -> None:
    assert matrix.shape == (4, 4)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-6)
    assert np.linalg.det(matrix[:3, :3]) > 0
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])
    assert np.isfinite(matrix).all()


def assert_well_formed(answer: ViewPrediction) -> None:
    assert_is_pose(answer.window_from_camera)
    if answer.own_from_camera is not None:
        assert_is_pose(answer.own_from_camera)
    if answer.descriptor is not None:
        assert np.linalg.norm(answer.descriptor) == pytest.approx(1.0, abs=1e-3)
    if answer.depth is None:
        return
    assert answer.confidence is not None
    assert answer.depth.shape == answer.confidence.shape == (answer.intrinsics.height, answer.intrinsics.width)
    assert answer.depth.dtype == answer.confidence.dtype == np.float32
    assert np.isfinite(answer.depth).all()
    assert (answer.depth >= 0).all()
    assert ((answer.confidence >= 0) & (answer.confidence <= 1)).all()
    assert not answer.confidence[answer.depth == 0].any(), "nobody is sure of what is unknown"
