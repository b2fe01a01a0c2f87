"""kill -9 loses nothing that was acknowledged; and the check that says so can fail."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from benchmarks import durability
from mapping.changes import KeyframeId
from mapping.store.state import SceneState


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_everything_acknowledged_survives_kill_9(rounds: int, tmp_path: Path) -> None:
    lives = durability.run(tmp_path / "scene", rounds, seed=rounds)
    assert [life.faults for life in lives] == [()] * rounds
    assert all(later.found > earlier.found for earlier, later in itertools.pairwise(lives)), "no round wrote"
    assert max(life.restart_s for life in lives) < 10


def test_losses_are_found() -> None:
    state = SceneState()
    for number in range(1, 61):
        for record in durability.group(number):
            state.apply(record)
    assert durability.faults(state, 60) == ["the scene's meta is missing"]
    assert "61 groups were acknowledged, 60 are there" in durability.faults(state, 61)
    del state.tiles["nav", (7, 0, "walker")]
    state.blocks.drop(durability.group(60)[1].keys[:1])  # type: ignore[union-attr]
    state.keyframes[KeyframeId("phone/3")] = state.keyframes[KeyframeId("phone/4")]
    found = durability.faults(state, 60)
    assert any("tile" in fault for fault in found)
    assert any("keyframe 3" in fault for fault in found)
    assert "blocks differ in tsdf_m" in found


def test_it_reports_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert durability.main(["--rounds", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["kills"], report["faults"]) == (1, [])
