"""`commonground providers doctor`: a provider is described, started and loaded, or it is said what is in the way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from server.doctor import Finding
from server.generation.doctor import examine
from server.generation.opened import Config
from server.generation.provider import Description, Licence


async def findings(config: dict[str, object], name: str = "rehearsal") -> dict[str, Finding]:
    made = Config.model_validate({"registry": config})
    return {finding.subject: finding async for finding in examine(made, name, "cpu")}


async def test_a_provider_that_works() -> None:
    found = await findings({})
    assert {name: finding.is_ok for name, finding in found.items()} == dict.fromkeys(
        ("licence", "needs", "memory", "process", "loading"), True
    )


async def test_an_unknown_provider_is_told_who_there_is() -> None:
    found = await findings({}, "nobody")
    assert not found["provider"].is_ok
    assert "rehearsal" in found["provider"].detail


async def test_a_python_that_is_not_there_and_one_that_cannot_run_it(tmp_path: Path) -> None:
    gone = await findings({"providers": {"rehearsal": {"python": str(tmp_path / "python")}}})
    assert not gone["python"].is_ok
    stranger = tmp_path / "stranger"
    stranger.write_text("#!/bin/sh\nexit 3\n")
    stranger.chmod(0o755)
    dead = await findings({"providers": {"rehearsal": {"python": str(stranger)}}})
    assert not dead["process"].is_ok
    other = await findings({"providers": {"rehearsal": {"python": sys.executable}}})
    assert other["loading"].is_ok


async def test_terms_that_do_not_hold_here(monkeypatch: pytest.MonkeyPatch) -> None:
    licence = Licence("LicenseRef-Elsewhere", excluded=("EU",), gated=True)
    described = Description("rehearsal", "1", licence, ("text",))
    monkeypatch.setattr("server.generation.providers.rehearsal.Rehearsal.describe", lambda self: described)
    assert not (await findings({"territory": "EU"}))["licence"].is_ok
    assert "not in EU" in (await findings({"territory": "US"}))["licence"].detail
