"""What every maker of meshes hands over in the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from server.generation.handing import STAGES, hand_over_splats, to_height
from server.generation.provider import GenerationFailed, Request
from server.generation.providers import capture, prims, relief, shap_e, trellis, trellis2
from tests.mapping.objects.splats.clouds import pillar
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


@pytest.mark.parametrize("provider", [capture, prims, relief, shap_e, trellis, trellis2])
@pytest.mark.parametrize("wrong", [{"formats": ["fbx"]}, {"max_faces": 0}])
def test_what_cannot_be_had_is_refused_before_anything_is_made(
    provider: ModuleType, wrong: dict[str, Any], tmp_path: Path
) -> None:
    run = Run(tmp_path)
    with pytest.raises(GenerationFailed, match=next(iter(wrong))) as refused:
        provider.create({}).run(replace(ASKED, params=wrong), run)
    assert (refused.value.code, run.offered, list(tmp_path.iterdir())) == ("bad_input", [], [])


def test_splats_come_in_no_other_formats(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="meshes only"):
        hand_over_splats(pillar(), replace(ASKED, output="3dgs"), Run(tmp_path), {})
    with pytest.raises(GenerationFailed, match="meshes only"):
        trellis.create({}).run(replace(ASKED, output="3dgs"), Run(tmp_path))


def test_what_is_flat_cannot_be_given_a_height() -> None:
    assert to_height(0.3, (1.0, 0.6, 2.0)) == pytest.approx(0.5)
    for extents_m in ((1.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1e-9, 1.0)):
        with pytest.raises(GenerationFailed) as refused:
            to_height(0.3, extents_m)
        assert refused.value.code == "no_surface"


def test_long_calls_without_a_look_at_the_gate_can_be_stopped() -> None:
    finish = STAGES[-1]
    assert (finish.name, finish.stoppable, finish.preemptible) == ("finish", True, True)
