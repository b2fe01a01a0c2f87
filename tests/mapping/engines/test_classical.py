"""The classical engine: depth where two views can know it, unknown everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping import engines
from mapping.alignment import fit_cameras
from mapping.changes import KeyframeId
from mapping.engines import GeometryEngine, View, ViewPrediction, Window
from mapping.engines.classical.confidence import confidence
from mapping.engines.classical.config import Config
from mapping.engines.classical.sweep import NO_SCORE, fill_in
from mapping.engines.classical.views import choose_sources, depth_range, prepare
from mapping.transforms import F64, exp_so3, look_at, rigid
from streams.frame import Intrinsics
from tests.mapping.room import render

K = Intrinsics.from_fov(320, 240)


@pytest.fixture(scope="module")
def engine() -> GeometryEngine:
    made = engines.create("classical")
    made.warm_up()
    return made


def walk(num: int, step_m: float = 0.08) -> list[F64]:
    return [look_at([0.3 + step_m * n, 1.4, 1.5], [-0.1 + 0.5 * step_m * n, 0.7, -1.5]) for n in range(num)]


@cache
def photo(pose: bytes, contrast: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return render(np.frombuffer(pose).reshape(4, 4), K, contrast=contrast)


def views(poses: Sequence[F64], *, contrast: float = 1.0, name: str = "s", unit: float = 1.0) -> tuple[View, ...]:
    """Views of the room, the tracker's unit being `unit` metres."""
    made = []
    for n, pose in enumerate(poses):
        rgb, depth = photo(pose.tobytes(), contrast)
        scaled = rigid(pose[:3, :3], pose[:3, 3] / unit)
        rays = np.random.default_rng(n).integers(0, [K.width, K.height], (80, 2))
        z = depth[rays[:, 1], rays[:, 0], None]
        points = np.column_stack([(rays + 0.5 - [K.cx, K.cy]) / [K.fx, K.fy], np.ones(80)]) * z
        landmarks = (points @ pose[:3, :3].T + pose[:3, 3]) / unit
        made.append(View(KeyframeId(f"{name}/{n}"), rgb, K, scaled, landmarks.astype(np.float32)))
    return tuple(made)


def truth(prediction: ViewPrediction, pose: F64) -> NDArray[np.float32]:
    return render(pose, prediction.intrinsics)[1]


@pytest.mark.parametrize("unit", [1.0, 4.2])
def test_depth_of_a_textured_room(engine: GeometryEngine, unit: float) -> None:
    poses = walk(6)
    answer = engine.predict(Window(views(poses, name=f"room{unit}", unit=unit)))
    assert [view.keyframe for view in answer.views] == [f"room{unit}/{n}" for n in range(6)]
    last = answer.views[-1]
    assert last.depth is not None
    assert last.confidence is not None
    assert last.depth.shape == last.confidence.shape == (last.intrinsics.height, last.intrinsics.width)
    error = np.abs(last.depth * unit / truth(last, poses[-1]) - 1)
    known = last.depth > 0
    assert known.mean() > 0.7
    assert np.median(error[known]) < 0.012
    sure = last.confidence > 0.5
    assert sure.mean() > 0.4
    assert (error[sure] < 0.08).mean() > 0.97
    np.testing.assert_array_equal(last.confidence > 0, known)
    surest, doubtful = last.confidence > 0.8, known & (last.confidence < 0.4)
    assert (error[surest] < 0.1).mean() > 0.98
    assert (error[doubtful] < 0.1).mean() < (error[surest] < 0.1).mean() - 0.05


def test_looks_again_from_both_sides_where_the_past_saw_too_little(engine: GeometryEngine) -> None:
    step = [look_at([0.3 + 0.1 * n, 1.4, 1.5], [-1.2 + 0.5 * n, 0.7, -1.5]) for n in range(7)]  # turns as it goes
    early = engine.predict(Window(views(step[:5], name="turn"))).views
    late = engine.predict(Window(views(step, name="turn"))).views
    assert [n for n, view in enumerate(late) if view.depth is not None] == [4, 6]
    first, second = early[4], late[4]
    assert first.confidence is not None
    assert second.depth is not None
    assert second.confidence is not None
    assert np.mean(second.confidence > 0.5) > np.mean(first.confidence > 0.5) + 0.05
    known = second.depth > 0
    assert np.median(np.abs(second.depth / truth(second, step[4]) - 1)[known]) < 0.03


def test_a_bare_wall_stays_unknown(engine: GeometryEngine) -> None:
    last = engine.predict(Window(views(walk(5), contrast=0.0, name="bare"))).views[-1]
    assert last.depth is not None
    assert (last.depth > 0).mean() < 0.01


def test_wrong_poses_give_little_rather_than_nonsense(engine: GeometryEngine) -> None:
    given = views(walk(5), name="wrong")
    rng = np.random.default_rng(0)
    shaken = [
        replace(
            view,
            prior_window_from_camera=view.prior_window_from_camera @ rigid(exp_so3(rng.normal(0, 0.08, 3)), [0] * 3),
        )
        for view in given
        if view.prior_window_from_camera is not None
    ]
    good = engine.predict(Window(given)).views[-1].confidence
    bad = (
        engine.predict(Window(tuple(replace(v, keyframe=KeyframeId(f"x{v.keyframe}")) for v in shaken)))
        .views[-1]
        .confidence
    )
    assert good is not None
    assert bad is not None
    assert bad.sum() < 0.3 * good.sum()


@pytest.mark.parametrize(
    "poses", [walk(1), walk(1) * 3, [look_at([0, 1, 0], [0, 1, -1]), look_at([0, 1, 0], [0, 1, 1])]]
)
def test_without_a_baseline_nothing_is_known(engine: GeometryEngine, poses: list[F64]) -> None:
    last = engine.predict(Window(views(poses, name=f"still{len(poses)}"))).views[-1]
    assert last.depth is not None
    assert not last.depth.any()


def test_the_same_window_gives_the_same_answer_on_any_number_of_threads() -> None:
    window = Window(views(walk(4)))
    answers = []
    for threads in (1, 2, 3):
        made = engines.create("classical", {"threads": threads})
        answers += [made.predict(window).views[-1].depth for _ in range(2)]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_lens_distortion_is_taken_out(engine: GeometryEngine) -> None:
    view = views(walk(1))[0]
    bent = replace(K, k1=-0.2)
    straight = prepare(replace(view, intrinsics=bent), bent, walk(1)[0], 160)
    assert straight.intrinsics.k1 == 0
    assert straight.gray.shape == (120, 160)
    plain = prepare(view, K, walk(1)[0], 160)
    assert np.abs(straight.gray[60, 80] - plain.gray[60, 80]) < 6
    assert np.abs(straight.gray - plain.gray).mean() > 2


def test_a_phone_that_is_turned_uses_the_views_it_can(engine: GeometryEngine) -> None:
    given = views(walk(4), name="turn")
    upright = Intrinsics.from_fov(240, 320)
    rgb, _ = render(walk(5)[4], upright)
    last = View(KeyframeId("turn/9"), rgb, upright, walk(5)[4], None)
    answer = engine.predict(Window((*given, last))).views[-1]
    assert answer.depth is not None
    assert answer.depth.shape == (160, 120)
    assert not answer.depth.any()


def test_sources_are_chosen_by_angle_and_overlap() -> None:
    poses = [
        *walk(1),
        *(look_at([0.3 + b, 1.4, 1.5], [-0.1, 0.7, -1.5]) for b in (0.002, 0.35, 2.8)),
        look_at([0.5, 1.4, 1.5], [0, 1, 9]),
    ]
    prepared = [prepare(view, K, pose, 160) for view, pose in zip(views(poses), poses, strict=True)]
    chosen = choose_sources(prepared[0], prepared[1:], depth=2.5, max_sources=4)
    assert [view.keyframe for view in chosen] == ["s/2"]


def test_depth_range_follows_the_landmarks() -> None:
    view, pose = views(walk(1), unit=10.0)[0], walk(1)[0]
    scaled = rigid(pose[:3, :3], pose[:3, 3] / 10)
    near, far = depth_range(prepare(view, K, scaled, 160), (0.4, 8.0))
    depth = render(pose, K)[1] / 10
    assert near < depth.min() * 1.2
    assert far > depth.max()
    assert depth_range(prepare(replace(view, landmarks_window=None), K, scaled, 160), (0.4, 8.0)) == (0.4, 8.0)


def test_hostile_windows_are_refused_with_a_reason(engine: GeometryEngine) -> None:
    view = views(walk(1))[0]
    with pytest.raises(ValueError, match="at least one"):
        engine.predict(Window(()))
    for broken, reason in (
        (replace(view, prior_window_from_camera=None), "cannot be posed"),
        (replace(view, prior_window_from_camera=np.full((4, 4), np.nan)), "finite"),
        (replace(view, rgb=view.rgb[..., 0]), "rgb"),
        (replace(view, rgb=np.zeros((0, 0, 3), np.uint8)), "rgb"),
        (replace(view, intrinsics=K.scaled(100, 100)), "intrinsics"),
    ):
        with pytest.raises(ValueError, match=reason):
            engine.predict(Window((broken,)))


def test_config_is_strict() -> None:
    with pytest.raises(ValueError, match="extra"):
        engines.create("classical", {"hypothesis": 3})
    with pytest.raises(ValueError, match="no geometry engine"):
        engines.create("clasical")
    assert Config().threads == 2


def test_views_without_poses_are_posed_from_their_pixels(engine: GeometryEngine) -> None:
    poses = walk(6)
    bare = tuple(replace(v, prior_window_from_camera=None, landmarks_window=None) for v in views(poses, name="unposed"))
    answer = engine.predict(Window(bare))
    assert len(answer.views) == 6
    fit = fit_cameras(np.array([view.window_from_camera for view in answer.views]), np.array(poses))
    assert fit is not None
    assert fit.residual < 0.01
    last = answer.views[-1]
    assert last.depth is not None
    error = np.abs(last.depth * fit.b_from_a.scale / truth(last, poses[-1]) - 1)
    known = last.depth > 0
    assert known.mean() > 0.6
    assert np.median(error[known]) < 0.03


def test_some_priors_give_the_frame_and_the_unit(engine: GeometryEngine) -> None:
    poses = walk(6)
    given = views(poses, name="some")
    window = Window(tuple(v if n in (0, 3) else replace(v, prior_window_from_camera=None) for n, v in enumerate(given)))
    answer = engine.predict(window)
    for view, pose in zip(answer.views, poses, strict=True):
        assert np.linalg.norm(view.window_from_camera[:3, 3] - pose[:3, 3]) < 0.05


def test_a_camera_that_only_turned_is_not_given_a_path(engine: GeometryEngine) -> None:
    eye = np.array([0.3, 1.4, 1.5])
    poses = [look_at(eye, eye + np.array([0.1 * n - 0.2, -0.25, -1.0])) for n in range(5)]
    bare = tuple(replace(v, prior_window_from_camera=None) for v in views(poses, name="turning"))
    with pytest.raises(ValueError, match="hardly moved"):
        engine.predict(Window(bare))


def test_a_bare_patch_is_judged_from_farther_away() -> None:
    """Texture too coarse for a patch of five pixels is found in the image of half the size."""
    fine = np.full((4, 6, 3), NO_SCORE, np.float32)
    fine[1, 2] = [0.1, 0.9, 0.2]
    coarse = np.tile(np.array([0.3, 0.4, 0.8], np.float32), (2, 3, 1))
    coarse[:, 2] = NO_SCORE
    fill_in(fine, coarse, 0, 4)
    np.testing.assert_allclose(fine[1, 2], [0.1, 0.9, 0.2])
    np.testing.assert_allclose(fine[0, :4], np.tile([0.3, 0.4, 0.8], (4, 1)), rtol=1e-6)
    assert (fine[:, 5] == NO_SCORE).all()


def test_confidence_grows_with_what_speaks_for_a_pixel() -> None:
    def of(margin: float, agree: int, contradict: int) -> float:
        counts = np.array([[agree]], np.int16), np.array([[contradict]], np.int16)
        return float(confidence(np.array([[margin]], np.float32), *counts)[0, 0])

    assert of(0.0, 3, 0) == 0
    assert of(0.1, 0, 1) == 0
    assert 0 < of(0.5, 0, 1) < of(0.5, 0, 0) < of(2.0, 0, 0) < of(2.0, 1, 0) < of(6.0, 3, 0) <= 1
    assert of(1.0, 0, 0) < 0.5 < of(3.0, 1, 0)
