"""Every engine of the house fulfils the contract, and the contract catches one that does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mapping import engines
from mapping.engines import GeometryEngine, ViewPrediction, Window, WindowPrediction
from tests.contracts import EngineContract, window
from tests.mapping.engines.vggt.needs import needs_torch

TINY = {"weights": "seeded", "architecture": "tiny", "device": "cpu", "threads": 1, "long_side_px": 112}


class TestClassical(EngineContract):
    @pytest.fixture(scope="class")
    def engine(self) -> GeometryEngine:
        return warm("classical")


class TestVggt(EngineContract):
    @pytest.fixture(scope="class")
    def engine(self) -> GeometryEngine:
        needs_torch()
        return warm("vggt", min_confidence=0, **TINY)


def warm(name: str, **config: object) -> GeometryEngine:
    made = engines.create(name, config)
    made.warm_up()
    return made


def test_every_engine_has_a_contract_test() -> None:
    assert engines.available() == ["classical", "vggt"], "give the new one a class above"


class Wrong:
    """The classical engine, but for one thing."""

    def __init__(self, right: GeometryEngine, wrong: Callable[[ViewPrediction], ViewPrediction]) -> None:
        self._right, self._wrong = right, wrong

    def warm_up(self) -> None:
        self._right.warm_up()

    def predict(self, asked: Window) -> WindowPrediction:
        *others, last = self._right.predict(asked).views
        return WindowPrediction((*others, self._wrong(last)))


def without_depth(view: ViewPrediction) -> ViewPrediction:
    return replace(view, depth=None)


def inverted(view: ViewPrediction) -> ViewPrediction:
    return replace(view, window_from_camera=view.window_from_camera.T.copy())


def of_another_unit(view: ViewPrediction) -> ViewPrediction:
    assert view.depth is not None
    return replace(view, depth=view.depth / view.depth.max())


def sure_of_nothing(view: ViewPrediction) -> ViewPrediction:
    assert view.depth is not None
    return replace(view, depth=view.depth * 0)


ASKED = EngineContract.test_the_newest_view_has_depth_and_every_answer_is_for_a_view_that_was_asked_about


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (without_depth, ASKED),
        (inverted, ASKED),
        (sure_of_nothing, ASKED),
        (of_another_unit, EngineContract.test_the_unit_is_the_tracker_s),
    ],
)
def test_the_contract_catches_what_is_wrong(
    wrong: Callable[[ViewPrediction], ViewPrediction], test: Callable[[EngineContract, GeometryEngine], None]
) -> None:
    right = engines.create("classical")
    test(EngineContract(), right)
    with pytest.raises(AssertionError):
        test(EngineContract(), Wrong(right, wrong))
    assert right.predict(window(0, 1, 2)).views
