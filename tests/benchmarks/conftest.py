"""A clip that is its own truth, and what came of playing it: made once for all tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.clips import Clip
from benchmarks.evaluation.fast import play_fast
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.session import Session
from mapping.metric.markers import Config as MarkerConfig
from tests.benchmarks.painted_clip import write_clip


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "painted", 90)


@pytest.fixture(scope="session")
def painted_session(painted: Path) -> Session:
    return play_fast([Phone.of(Clip.open(painted))], Options().looking_for(MarkerConfig(search=False)))
