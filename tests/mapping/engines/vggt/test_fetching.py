"""Weights that are not here are fetched before the engine is made, and whoever waits is told how far that is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mapping import engines
from tests.mapping.engines.vggt.needs import needs_torch

needs_torch()

BODY = bytes(12_000_000)


class Hub(BaseHTTPRequestHandler):
    """Has one file, in one repository."""

    def do_HEAD(self) -> None:
        is_there = self.path == "/org/name/resolve/main/model.safetensors"
        self.send_response(200 if is_there else 404)
        for name, value in (("X-Repo-Commit", "a" * 40), ("ETag", '"b"'), ("Content-Length", str(len(BODY)))):
            if is_there:
                self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    yield tmp_path
    server.shutdown()
    server.server_close()


def test_a_download_tells_how_far_it_is(cache: Path) -> None:
    told: list[str] = []
    engines.fetch("vggt", {"weights": "org/name"}, told.append)
    assert told[0] == "org/name: 0.00 of 0.01 GB"
    assert told[-1] == "org/name: 0.01 of 0.01 GB"
    assert [path.stat().st_size for path in cache.rglob("model.safetensors")] == [len(BODY)]


def test_what_needs_nothing_fetches_nothing() -> None:
    told: list[str] = []
    engines.fetch("vggt", {"weights": "seeded"}, told.append)
    engines.fetch("classical", None, told.append)
    assert told == []
