"""The engine behind its contract, on a tiny network with seeded weights: what it must do whatever the weights say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping import engines
from mapping.changes import KeyframeId
from mapping.engines import View, Window
from mapping.transforms import F64, look_at
from streams.frame import Intrinsics
from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

import torch  # noqa: E402

from mapping.engines.vggt.canvas import Placement  # noqa: E402
from mapping.engines.vggt.checkpoints.ready import Provenance  # noqa: E402
from mapping.engines.vggt.config import Config  # noqa: E402
from mapping.engines.vggt.engine import VggtEngine  # noqa: E402
from mapping.engines.vggt.passes import Shape  # noqa: E402
from tests.mapping.engines.vggt.test_admission import FIXED, PER_TOKEN, Device  # noqa: E402

K = Intrinsics.from_fov(96, 72)
TINY = Config(weights="seeded", architecture="tiny", device="cpu", threads=1, long_side_px=98, min_confidence=0)


@pytest.fixture(scope="module")
def engine() -> VggtEngine:
    made = engines.create("vggt", TINY.model_dump())
    assert isinstance(made, VggtEngine)
    made.warm_up()
    return made


def picture(seed: int, height: int = 72, width: int = 96) -> NDArray[np.uint8]:
    rgb = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    rgb.flags.writeable = False
    return rgb


def pose(n: int) -> F64:
    return look_at([0.4 * n, 1.4, 2.0], [0.1 * n, 0.9, -1.0])


def bare(n: int) -> View:
    return View(KeyframeId(f"phone/{n}"), picture(n), None)


def tracked(n: int) -> View:
    """A view with a prior and landmarks between 1 and 4 units before the camera."""
    rng = np.random.default_rng(n)
    pixels, z = rng.uniform([2, 2], [94, 70], (60, 2)), rng.uniform(1.0, 4.0, (60, 1))
    points = np.column_stack([(pixels - [K.cx, K.cy]) / [K.fx, K.fy], np.ones(60)]) * z
    landmarks = points @ pose(n)[:3, :3].T + pose(n)[:3, 3]
    return View(KeyframeId(f"phone/{n}"), picture(n), K, pose(n), landmarks.astype(np.float32))


def test_gives_depth_and_confidence_of_the_last_view_and_poses_of_all(engine: VggtEngine) -> None:
    views = engine.predict(Window(tuple(bare(n) for n in range(3)))).views
    assert [view.keyframe for view in views] == ["phone/0", "phone/1", "phone/2"]
    assert [view.depth is None for view in views] == [True, True, False]
    last = views[-1]
    assert last.depth is not None
    assert last.confidence is not None
    assert last.depth.shape == last.confidence.shape == (last.intrinsics.height, last.intrinsics.width) == (70, 98)
    assert last.depth.dtype == last.confidence.dtype == np.float32
    assert (last.depth > 0).mean() > 0.5
    assert 0 <= last.confidence.min() <= last.confidence.max() <= 1
    for view in views:
        rotation = view.window_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_a_window_means_the_same_whatever_came_before(engine: VggtEngine) -> None:
    window = Window(tuple(tracked(n) for n in range(4)))
    engine.tokens.clear()
    cold = engine.predict(window)
    engine.tokens.clear()
    engine.predict(Window(tuple(tracked(n) for n in range(1, 3))))
    engine.predict(Window(tuple(tracked(n) for n in range(2, 6))))
    a, b = cold.views[-1], engine.predict(window).views[-1]
    assert a.depth is not None
    assert b.depth is not None
    np.testing.assert_allclose(a.depth, b.depth, rtol=1e-4)


def test_each_keyframe_is_encoded_once(engine: VggtEngine) -> None:
    engine.tokens.clear()
    encoded, reused = engine.tokens.encoded, engine.tokens.reused
    for newest in range(3, 9):
        engine.predict(Window(tuple(tracked(n) for n in range(newest - 3, newest + 1))))
    assert engine.tokens.encoded - encoded == 9
    assert engine.tokens.reused - reused == 6 * 4 - 9


def test_another_picture_of_the_same_name_is_encoded_again(engine: VggtEngine) -> None:
    engine.tokens.clear()
    encoded = engine.tokens.encoded
    engine.predict(Window((tracked(0), tracked(1))))
    engine.predict(Window((tracked(0), replace(tracked(1), rgb=picture(99)))))
    assert engine.tokens.encoded - encoded == 3


def test_priors_stay_and_landmarks_give_the_unit(engine: VggtEngine) -> None:
    def ask(unit: float) -> tuple[float, F64]:
        views = []
        for n in range(3):
            view, scaled = tracked(n), pose(n)
            scaled[:3, 3] /= unit
            assert view.landmarks_window is not None
            landmarks = (view.landmarks_window / unit).astype(np.float32)
            views.append(replace(view, prior_window_from_camera=scaled, landmarks_window=landmarks))
        found = engine.predict(Window(tuple(views))).views
        assert found[-1].depth is not None
        np.testing.assert_array_equal(found[1].window_from_camera, views[1].prior_window_from_camera)
        return float(np.median(found[-1].depth)), found[-1].window_from_camera

    (metres, _), (units, _) = ask(1.0), ask(4.2)
    assert 0.8 < metres < 5.0
    assert units == pytest.approx(metres / 4.2, rel=1e-3)


def test_given_intrinsics_map_to_the_depth_map_and_a_lens_is_straightened(engine: VggtEngine) -> None:
    views = (tracked(0), replace(tracked(1), intrinsics=replace(K, k1=-0.05)))
    camera = engine.predict(Window(views)).views[-1].intrinsics
    assert camera == K.scaled(98, 70)


def test_predicted_intrinsics_are_one_for_a_phone(engine: VggtEngine) -> None:
    found = engine.predict(Window(tuple(bare(n) for n in range(3)))).views
    assert len({view.intrinsics for view in found}) == 1
    assert (found[0].intrinsics.cx, found[0].intrinsics.cy) == (49, 35)
    assert np.isfinite([found[0].intrinsics.fx, found[0].intrinsics.fy]).all()


def test_portrait_and_landscape_share_a_window_and_nothing_is_cropped(engine: VggtEngine) -> None:
    portrait = View(KeyframeId("other/0"), picture(7, 96, 72), None)
    last = engine.predict(Window((bare(0), portrait))).views[-1]
    assert last.depth is not None
    assert last.depth.shape == (98, 70)
    assert (last.intrinsics.cx, last.intrinsics.cy) == (35, 49)


def test_a_first_picture_taken_with_the_phone_held_otherwise_is_left_out(engine: VggtEngine) -> None:
    portrait = View(KeyframeId("phone/first"), picture(7, 96, 72), None)
    views = engine.predict(Window((portrait, *(bare(n) for n in range(4))))).views
    assert [view.keyframe for view in views] == ["phone/0", "phone/1", "phone/2", "phone/3"]
    assert views[-1].depth is not None
    assert views[-1].depth.shape == (70, 98)


def test_without_anything_that_tells_the_unit_it_refuses(engine: VggtEngine) -> None:
    alone = replace(tracked(0), landmarks_window=None)
    with pytest.raises(ValueError, match="unit"):
        engine.predict(Window((alone,)))


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View(KeyframeId("a/0"), np.zeros((72, 96), np.uint8), None), "rgb"),
        (View(KeyframeId("a/0"), np.zeros((0, 96, 3), np.uint8), None), "rgb"),
        (View(KeyframeId("a/0"), picture(0), Intrinsics.from_fov(10, 10)), "intrinsics"),
        (View(KeyframeId("a/0"), picture(0), None, np.full((4, 4), np.nan)), "finite"),
    ],
)
def test_malformed_views_are_refused(engine: VggtEngine, view: View, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine.predict(Window((view,)))


def test_empty_and_endless_windows_are_refused(engine: VggtEngine) -> None:
    with pytest.raises(ValueError, match="at least one"):
        engine.predict(Window(()))
    with pytest.raises(ValueError, match="max_views"):
        engine.predict(Window((bare(0),) * 33))


def test_windows_asked_together_are_answered_as_alone(engine: VggtEngine) -> None:
    windows = [Window(tuple(tracked(n) for n in range(start, start + 3))) for start in (0, 4)]
    both = engine.predict_together(windows)
    for window, answer in zip(windows, both, strict=True):
        assert not isinstance(answer, Exception)
        alone = engine.predict(window).views[-1]
        np.testing.assert_allclose(answer.views[-1].depth, alone.depth, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(answer.views[-1].descriptor, alone.descriptor, rtol=1e-4, atol=1e-5)


def test_together_the_malformed_one_is_told_and_the_others_answered(engine: VggtEngine) -> None:
    good = Window((tracked(0), tracked(1)))
    bad = Window((tracked(0), replace(tracked(1), intrinsics=Intrinsics.from_fov(10, 10))))
    longer = Window(tuple(tracked(n) for n in range(3)))
    first, second, third = engine.predict_together([good, bad, longer])
    assert isinstance(second, ValueError)
    assert not isinstance(first, Exception)
    assert not isinstance(third, Exception)
    assert len(third.views) == 3


def test_new_pictures_of_windows_asked_together_are_encoded_together(
    engine: VggtEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = []
    encode = engine._passes.encode

    def counted(rgb: list[NDArray[np.uint8]], places: list[Placement]) -> torch.Tensor:
        groups.append(len(rgb))
        return encode(rgb, places)

    monkeypatch.setattr(engine._passes, "encode", counted)
    engine.tokens.clear()
    engine.predict_together([Window((tracked(0), tracked(1))), Window((tracked(5), tracked(6)))])
    assert groups == [4]


class OnGpu:
    """Stands in for `Passes` on a GPU: notes what is warmed up, and how."""

    def __init__(self, memory: Device, too_large: int = 10**9) -> None:
        self.device, self.memory = torch.device("cuda"), memory
        self._too_large = too_large
        self.warmed: list[Shape] = []
        self.was_inference = True

    def warm_up(self, shape: Shape) -> None:
        self.was_inference &= torch.is_inference_mode_enabled()
        if shape.tokens > self._too_large:
            raise torch.OutOfMemoryError
        self.memory.run(shape.tokens)
        self.warmed.append(shape)


def on_gpu(passes: OnGpu, **config: object) -> VggtEngine:
    return VggtEngine(Config(**config), passes, Provenance("none", "none", ""))  # type: ignore[arg-type]


def test_warm_up_sees_every_usual_length_both_orientations_and_windows_together() -> None:
    passes = OnGpu(Device(10**12))
    engine = on_gpu(passes, warm_views=5, together=3)
    engine.warm_up()
    assert passes.was_inference, "recorded and compiled as windows will run"
    assert {shape.grid for shape in passes.warmed} == {(28, 37), (37, 28)}
    for grid in ((28, 37), (37, 28)):
        done = [(shape.windows, shape.views, shape.depths) for shape in passes.warmed if shape.grid == grid]
        assert done == [(1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 4, 4), (1, 5, 4), (2, 5, 4), (3, 5, 4)]
    assert len(passes.warmed) + len({(s.windows, s.grid) for s in passes.warmed}) <= Config().replayed
    assert engine._admission.expected(5 * TOKENS) == FIXED + PER_TOKEN * 5 * TOKENS, "and tells what windows take"


def test_what_does_not_fit_at_start_stops_nothing() -> None:
    passes = OnGpu(Device(10**12), too_large=3 * TOKENS)
    engine = on_gpu(passes, warm_views=4, together=2)
    engine.warm_up()
    assert max(shape.tokens for shape in passes.warmed) == 3 * TOKENS
    assert not engine._admission.has_room(4 * TOKENS)


TOKENS = 5 + 28 * 37


@pytest.mark.parametrize(("gib", "mib"), [(8, 1024), (24, 3072), (140, 4096)])
def test_a_gpu_keeps_tokens_of_many_keyframes_but_leaves_room(gib: int, mib: int) -> None:
    assert on_gpu(OnGpu(Device(gib << 30))).tokens.capacity_bytes == mib << 20
    assert on_gpu(OnGpu(Device(gib << 30)), cached_mib=7).tokens.capacity_bytes == 7 << 20
