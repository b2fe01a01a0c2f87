"""The command line, and the small parts that only it uses."""

from __future__ import annotations

import io
import json
import logging
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server import doctor, logs
from server.__main__ import app
from server.auth import Role, Tokens
from server.config import Settings
from server.datadir import DataDirBusy, locked
from server.devices import choose_devices, gpus
from server.join import Invitations, svg, terminal

RUN = CliRunner()


def test_help_names_every_command() -> None:
    text = RUN.invoke(app, ["--help"]).output
    for command in ("serve", "replay", "export", "token", "doctor", "config"):
        assert command in text
        assert RUN.invoke(app, [command, "--help"]).exit_code == 0


def test_a_token_is_printed_alone(tmp_path: Path) -> None:
    arguments = ["token", "--role", "subscribe", "--scene", "a", "--layer", "nav", "--data-dir", str(tmp_path)]
    printed = RUN.invoke(app, arguments).output.strip()
    grant = Tokens((tmp_path / "secret").read_bytes()).read(printed)
    assert (grant.scene, grant.role, grant.layers) == ("a", Role.SUBSCRIBE, frozenset({"nav"}))
    assert RUN.invoke(app, [*arguments, "--layer", "gold"]).exit_code == 2


def test_the_effective_configuration_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONGROUND_HTTP__PORT", "1234")
    assert tomllib.loads(RUN.invoke(app, ["config"]).output)["http"]["port"] == 1234


def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMMONGROUND_HTTP__PORT", "99999")
    failed = RUN.invoke(app, ["config"])
    assert failed.exit_code == 1
    assert "Traceback" not in failed.output
    assert "http.port" in failed.output
    monkeypatch.delenv("COMMONGROUND_HTTP__PORT")
    missing = RUN.invoke(app, ["export", "nowhere", str(tmp_path / "a.glb"), "--data-dir", str(tmp_path)])
    assert missing.exit_code == 1
    assert "no scene 'nowhere'" in missing.output


def test_the_doctor_says_what_to_do(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, http={"port": 0, "pages": str(tmp_path)}, engine={"name": "nothing"})  # type: ignore[arg-type]
    found = {finding.subject: finding for finding in doctor.examine(settings)}
    assert found["TLS"].is_ok
    assert found["port"].is_ok
    assert not found["pages"].is_ok
    assert "make setup" in found["pages"].detail
    assert not found["engine"].is_ok
    assert "classical" in found["engine"].detail


def test_one_server_a_data_folder(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        lock.announce("https://localhost:1")
        with pytest.raises(DataDirBusy) as busy, locked(tmp_path):
            pass
        assert busy.value.url == "https://localhost:1"
    with locked(tmp_path):
        pass


def test_logs_are_json_with_the_callers_ids() -> None:
    stream = io.StringIO()
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    level = root.level
    try:
        logs.configure("info", stream)
        logging.getLogger("x").info("hello %s", "you", extra={"stream": "s1"})
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("x").exception("failed")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["message"], first["stream"], first["level"]) == ("hello you", "s1", "info")
    assert "ValueError: no" in second["exception"]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("", "192.168.0.9:8443"),
        ("localhost:8443", "192.168.0.9:8443"),
        ("[::1]:8443", "192.168.0.9:8443"),
        ("a.b", "a.b"),
    ],
)
def test_invitations_lead_to_an_address_that_phones_reach(host: str, shown: str) -> None:
    invitations = Invitations(Tokens(b"s" * 32), 60, "https", 8443, ["192.168.0.9", "fd00::1"])
    link = invitations.link("main", host)
    assert link.startswith(f"https://{shown}/phone#token=")
    assert svg(link).startswith("<svg")
    assert max(map(len, terminal(link).splitlines())) <= 79


def test_devices(tmp_path: Path) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert gpus(tmp_path) == ["cuda:0", "cuda:1"]
    assert gpus(tmp_path / "none") == []
    assert choose_devices(("auto",), "classical") == ("cpu",)
    assert choose_devices(("cuda:1",), "vggt") == ("cuda:1",)
