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
