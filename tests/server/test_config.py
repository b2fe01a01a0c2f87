"""Settings from file, variables and code; what is printed reads back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.config import Settings, load, to_toml


def test_variables_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.toml"
    file.write_text('scene = "flat"\n[http]\nport = 9000\nhost = "::"\n')
    monkeypatch.setenv("COMMONGROUND_HTTP__PORT", "9001")
    settings = load(file)
    assert (settings.http.port, settings.http.host, settings.scene) == (9001, "::", "flat")
    assert load(file, scene="other").scene == "other"


def test_the_file_here_is_found_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load().http.port == 8443
    (tmp_path / "commonground.toml").write_text("[http]\nport = 9002\n")
    assert load().http.port == 9002
    with pytest.raises(FileNotFoundError, match=r"nope\.toml"):
        load(tmp_path / "nope.toml")


@pytest.mark.parametrize("text", ["[http]\nprot = 1\n", "[http]\nport = 70000\n", 'scene = "../x"\n', "x = 1\n"])
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(ValidationError):
        load(file)


AGENTS = """
[[scenes.each.map.agents]]
name = "human"
[[scenes.each.map.agents]]
name = "robot"
radius_m = 0.2
height_m = 0.5
max_slope_deg = 20
"""


def test_agents_are_tables_of_the_file_and_print_back(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(AGENTS)
    settings = load(file)
    assert [agent.name for agent in settings.scenes.each.map.agents] == ["human", "robot"]
    file.write_text(to_toml(settings))
    assert load(file).model_dump() == settings.model_dump()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("[[scenes.each.map.agents]]\nname = 'robot'\n", "different names"),
        ("[[scenes.each.map.agents]]\nname = 'giant'\nheight_m = 9\n", "giant.*choose another height"),
        ("[[scenes.each.map.agents]]\nname = 'ant'\nheight_m = 0.01\n", "ant.*choose another height"),
        ("[scenes.each.map]\nagents = []\n", "at least 1"),
    ],
)
def test_agents_that_cannot_walk_are_refused_before_there_is_a_map(tmp_path: Path, more: str, reason: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(more if "agents = []" in more else AGENTS + more)
    with pytest.raises(ValidationError, match=reason):
        load(file)


def test_what_is_printed_reads_back_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(auth={"secret": "hunter2" * 8, "origins": ['https://a"b']}, engine={"options": {"a": {"b": [1]}}})
    text = to_toml(settings)
    assert "hunter2" not in text
    printed = tomllib.loads(text)
    assert printed["engine"]["options"]["a"] == {"b": [1]}
    del printed["auth"]["secret"]
    (tmp_path / "back.toml").write_text(to_toml(settings).replace('secret = "***"\n', ""))
    back = load(tmp_path / "back.toml")
    assert back.model_dump(exclude={"auth"}) == settings.model_dump(exclude={"auth"})
    assert back.auth.origins == settings.auth.origins


def test_settings_cannot_be_changed_by_whoever_has_them() -> None:
    with pytest.raises(ValidationError):
        Settings().http.port = 1  # type: ignore[misc]
