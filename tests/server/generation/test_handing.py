"""What every maker of meshes hands over in the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.generation.handing import STAGES
from server.generation.provider import GenerationFailed, Request
from server.generation.providers import prims
from tests.server.generation.test_embedded_providers import Run

ASKED = Request("job-1", 1, "red cube 20 cm", params={"formats": ["stl"]})


def test_equal_requests_are_equal_bytes_whoever_asks(tmp_path: Path) -> None:
    made = []
    for job in ("job-1", "job-2"):
        spool = tmp_path / job
        spool.mkdir()
        result = prims.create({}).run(replace(ASKED, job=job), Run(spool))
        made.append({file.path.name: file.path.read_bytes() for file in result.files})
    assert made[0] == made[1]


def test_what_can_be_shown_is_shown_before_other_formats_are_made(tmp_path: Path) -> None:
    run = Run(tmp_path)
    made = prims.create({}).run(ASKED, run)
    assert {file.path.suffix for file in run.offered[0].files} == {".glb", ".png"}
    assert ".stl" in {file.path.suffix for file in made.files}
    with pytest.raises(GenerationFailed, match="formats"):
        prims.create({}).run(replace(ASKED, params={"formats": ["fbx"]}), refused := Run(tmp_path))
    assert refused.offered == [], "what cannot be had is refused before anything is made"


def test_long_calls_without_a_look_at_the_gate_can_be_stopped() -> None:
    finish = STAGES[-1]
    assert (finish.name, finish.stoppable, finish.preemptible) == ("finish", True, True)
