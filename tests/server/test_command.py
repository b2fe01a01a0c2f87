"""The command line, and the small parts that only it uses."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from server import doctor, logs, run
from server.__main__ import app
from server.api.contract import SceneSummary
from server.auth import Role, Tokens
from server.config import Settings
from server.datadir import DataDirBusy, locked
from server.devices import choose_devices, gpus
from server.join import Invitations, svg, terminal
from server.replay import Played, Summary
from tests.server.fakes import served

RUN = CliRunner()


def test_help_names_every_command() -> None:
    text = RUN.invoke(app, ["--help"]).output
    for command in ("serve", "replay", "export", "token", "marker", "doctor", "config"):
        assert command in text
        assert RUN.invoke(app, [command, "--help"]).exit_code == 0


def test_a_token_is_printed_alone(tmp_path: Path) -> None:
    arguments = ["token", "--role", "subscribe", "--scene", "a", "--layer", "nav", "--data-dir", str(tmp_path)]
    printed = RUN.invoke(app, arguments).output.strip()
    grant = Tokens((tmp_path / "secret").read_bytes()).read(printed)
    assert (grant.scene, grant.role, grant.layers) == ("a", Role.SUBSCRIBE, frozenset({"nav"}))
    assert RUN.invoke(app, [*arguments, "--layer", "gold"]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "covered"),
    [([], "main"), (["--scene", "hall"], "hall"), (["--all-scenes"], "*"), (["--scene", "*"], None)],
)
def test_a_token_covers_one_scene_unless_all_are_asked_for(
    tmp_path: Path, arguments: list[str], covered: str | None
) -> None:
    done = RUN.invoke(app, ["token", "--data-dir", str(tmp_path), *arguments])
    if covered is None:
        assert done.exit_code == 2
        assert "--all-scenes" in done.output
    else:
        assert Tokens((tmp_path / "secret").read_bytes()).read(done.output.strip()).scene == covered


def test_the_effective_configuration_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONGROUND_HTTP__PORT", "1234")
    printed = tomllib.loads(RUN.invoke(app, ["config", "--data-dir", "elsewhere"]).output)
    assert (printed["http"]["port"], printed["data_dir"]) == (1234, "elsewhere")


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
    assert "nothing has been mapped" in missing.output
    for scene in ("hall", "flat"):
        (tmp_path / "scenes" / scene).mkdir(parents=True)
    for name in ("nowhere", "../scenes/hall", ".", "", "hall\n"):
        refused = RUN.invoke(app, ["export", name, str(tmp_path / "a.glb"), "--data-dir", str(tmp_path)])
        assert refused.exit_code == 1
        assert "there are: flat, hall" in refused.output


async def test_a_running_server_is_asked_for_the_file(tmp_path: Path) -> None:
    out = tmp_path / "a.glb"
    async with served(tmp_path) as server:
        with locked(tmp_path) as lock:
            lock.announce(f"http://127.0.0.1:{server.port}")
            arguments = ["--data-dir", str(tmp_path)]
            environment = {"COMMONGROUND_TLS__ENABLED": "false"}
            for scene, says in (("main", None), ("nowhere", "there are: main"), ("../main", "there are: main")):
                done = await asyncio.to_thread(
                    RUN.invoke, app, ["export", scene, str(out), *arguments], env=environment
                )
                assert done.exit_code == (0 if says is None else 1), done.output
                assert says is None or says in done.output
    assert out.read_bytes() == b"solid .glb"


def test_a_recording_that_broke_off_is_in_the_summary() -> None:
    played = Played("a.mkv", 30, 25, 3, 0, 5, None, "1.0 s of 2.0 s are in the file")
    scene = SceneSummary(
        scene="main", epoch=0, scale_source="none", gravity_source="none", num_streams=0, num_keyframes=5, num_tiles=3
    )
    console = Console(file=io.StringIO(), width=200)
    run.tell(console, Summary(scene, (played,), 1.0))
    assert "ended early: 1.0 s of 2.0 s are in the file" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_whoever_is_told_to_stop_while_starting_cleans_up(number: signal.Signals) -> None:
    steps = []

    async def start() -> None:
        try:
            steps.append("started")
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    assert not await run.until_told_to_stop(start())
    assert steps == ["started", "cleaned up"]


async def test_what_fails_before_it_is_told_to_stop_fails() -> None:
    async def start() -> None:
        raise OSError("the port is taken")

    with pytest.raises(OSError, match="the port is taken"):
        await run.until_told_to_stop(start())


def test_the_doctor_says_what_to_do(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, http={"port": 0, "pages": str(tmp_path)}, engine={"name": "nothing"})  # type: ignore[arg-type]
    found = {finding.subject: finding for finding in doctor.examine(settings)}
    assert found["TLS"].is_ok
    assert found["port"].is_ok
    assert not found["pages"].is_ok
    assert "make setup" in found["pages"].detail
    assert not found["engine"].is_ok
    assert "classical" in found["engine"].detail


def test_the_doctor_looks_at_the_workers_device() -> None:
    pytest.importorskip("torch", reason="needs PyTorch: pip install commonground[vggt]")
    engine = {"name": "vggt", "options": {"weights": "seeded", "architecture": "tiny"}}
    for device, is_ok in (("cpu", True), ("cuda:99", False)):
        found = doctor._engine(Settings(engine=engine, workers={"devices": (device,)}))  # type: ignore[arg-type]
        assert found.is_ok is is_ok
        assert device in found.detail


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
