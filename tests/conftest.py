"""Fixtures that several floors share: a real server process, and the recorded footage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from server.auth import Grant, Role, Tokens, load_secret
from server.config import load

settings.register_profile("ci", derandomize=True)  # the same examples in every run: CI judges changes, not luck
if os.environ.get("CI"):
    settings.load_profile("ci")

FOOTAGE = Path(os.environ.get("COMMONGROUND_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class LiveServer:
    """A server in a process of its own."""

    url: str
    ca: Path
    token: str
    """May publish to and subscribe to the scene `main`."""


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """`commonground serve` on a free port, with the classical engine and an empty scene `main`."""
    data_dir = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "server", "serve", "--port", "0", "--data-dir", str(data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("{") and (said := json.loads(line)).get("message") == "serving":
            break
    else:
        pytest.fail("the server did not start:\n" + "".join(lines))
    drain = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    drain.start()
    tokens = Tokens(load_secret(load(None, data_dir=data_dir).auth, data_dir / "secret"))
    token = tokens.issue(Grant("main", Role.PUBLISH), 3600, int(time.time()))
    yield LiveServer(f"https://localhost:{said['port']}", data_dir / "tls" / "ca.pem", token)
    process.terminate()
    assert process.wait(30) == 0, "".join(lines[-50:])


@pytest.fixture(scope="session")
def footage() -> Path:
    """The folder of recorded clips; tests that need it skip elsewhere, but never on CI."""
    if not FOOTAGE.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the recorded footage is missing at {FOOTAGE}; set COMMONGROUND_DATA")
        pytest.skip(f"needs the recorded footage at {FOOTAGE} (set COMMONGROUND_DATA)")
    return FOOTAGE
