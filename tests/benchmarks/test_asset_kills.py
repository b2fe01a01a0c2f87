"""A process that publishes is killed again and again; nothing it was told of is lost, nothing is there twice."""

from __future__ import annotations

from pathlib import Path

from benchmarks import asset_kills
from benchmarks.asset_kills import CONFIG, work
from server.assets.catalog import Catalog


def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    result = asset_kills.run(tmp_path, kills=6, seed=1, longest_s=0.1)
    assert (result.lost, result.duplicated, result.gaps, result.broken_blobs) == (0, 0, 0, 0)
    assert result.steps >= 6


def test_losses_would_be_seen(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, CONFIG, 0, lambda events: None)
    for step in range(4):
        work(catalog, step)
    catalog.blobs.path(catalog.version("asset3", 1).files[0].sha256).write_bytes(b"other")
    catalog.close()
    result = asset_kills.inspect(tmp_path, 0, answered=4)
    assert result.lost == 1, "step 4 was answered, and is not there"
    assert result.broken_blobs == 2, "steps 2 and 3 share their bytes"
