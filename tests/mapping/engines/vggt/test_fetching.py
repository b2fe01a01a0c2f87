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

import huggingface_hub  # noqa: E402
import torch  # noqa: E402
from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: E402

from mapping.engines.vggt.checkpoints.files import CheckpointError  # noqa: E402
from mapping.engines.vggt.checkpoints.hub import locate  # noqa: E402

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
    assert told[0] == "org/name: licence unknown: read the model card, see https://huggingface.co/org/name"
    assert told[1] == "org/name: 0.00 of 0.01 GB"
    assert told[-1] == "org/name: 0.01 of 0.01 GB"
    assert [path.stat().st_size for path in cache.rglob("model.safetensors")] == [len(BODY)]


def test_what_the_cache_holds_is_not_asked_for_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines.fetch("vggt", {"weights": "org/name"})
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)
    files, licence = locate("org/name", stated_licence="Apache-2.0")
    assert [path.name for path in files] == ["model.safetensors"]
    assert licence == "Apache-2.0 (as configured)"


def test_a_hub_that_is_not_reached_is_asked_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unreachable(repository: str, name: str, **_: object) -> str:
        asked.append(name)
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(CheckpointError, match=r"org/name .* cannot be reached"):
        locate("org/name")
    assert asked == ["model.safetensors"]


def test_an_index_in_the_cache_without_its_shards_is_not_here(cache: Path) -> None:
    folder = cache / "models--org--name"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    (folder / "snapshots" / ("a" * 40)).mkdir(parents=True)
    index = folder / "snapshots" / ("a" * 40) / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"x": "model-1.safetensors"}}')
    assert "not on this machine" in str(engines.missing("vggt", {"weights": "org/name"}))


@pytest.mark.parametrize("weights", ["VGGT-2B", "/nowhere/model.safetensors", "~/nowhere", "./nowhere"])
def test_what_no_hub_can_have_is_not_promised(weights: str) -> None:
    assert "is neither a file" in str(engines.missing("vggt", {"weights": weights}))


def test_nothing_is_fetched_for_a_device_that_is_not_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(ValueError, match="built for the CPU only"):
        engines.fetch("vggt", {"weights": "org/name", "device": "cuda"})
    assert not list(cache.rglob("model.safetensors"))


def test_what_needs_nothing_fetches_nothing() -> None:
    told: list[str] = []
    engines.fetch("vggt", {"weights": "seeded"}, told.append)
    engines.fetch("classical", None, told.append)
    assert told == []
