"""The flat's benchmark runs as a user runs it, on a part of a walk."""

from __future__ import annotations

import json

import pytest

from benchmarks import flat


def test_exact_depth_and_poses_make_an_exact_floor(capsys: pytest.CaptureFixture[str]) -> None:
    flat.main(["--mode", "posed", "--phones", "1", "--seconds", "12", "--fps", "4", "--json"])
    (result,) = json.loads(capsys.readouterr().out)
    assert result["coverage"] == [1.0]
    assert result["position_error_m"] < 1e-6
    assert result["precision"] > 0.98
    assert 0.1 < result["recall"] < 0.6  # it saw the living room and a bit of the study
    assert result["paths_through_solid"] == 0
    assert "living-study" not in result["blocked"]
    assert "kitchen-bedroom" in result["blocked"]
    assert result["scale_source"] == "posed"
