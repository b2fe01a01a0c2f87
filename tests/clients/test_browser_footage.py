"""Recorded footage through a real browser: Chromium's fake camera plays it, a game client receives the map."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clients.sdk import Put, connect

async_api = pytest.importorskip("playwright.async_api")

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_S = 90.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}"),
]


@pytest.fixture
def film(footage: Path, tmp_path: Path) -> Path:
    """The kitchen as motion JPEG, which Chromium plays at 30 fps in a loop."""
    path = tmp_path / "kitchen.mjpeg"
    with path.open("wb") as out:
        for picture in sorted((footage / "redkitchen" / "rgb").glob("*.jpg")):
            out.write(picture.read_bytes())
    return path


async def test_a_phone_page_that_films_a_kitchen_gives_a_game_client_its_map(
    live_server: Any, film: Path, tmp_path: Path
) -> None:
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    async with async_api.async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=[*flags, f"--use-file-for-fake-video-capture={film}"]
        )
        context = await chromium.new_context(viewport={"width": 390, "height": 844}, ignore_https_errors=True)
        page = await context.new_page()
        await page.goto(f"{live_server.url}/phone#token={live_server.token}&scene=main")
        await page.click("#go")
        await page.wait_for_selector("body[data-session=live]")
        counts = await asyncio.wait_for(received(live_server), PATIENCE_S)
        await page.screenshot(path=tmp_path / "phone.png")
        await chromium.close()
    assert counts["tracked"] > 0


async def received(live_server: Any) -> Counter[str]:
    """Listen until every product of the map has come, and poses with it."""
    counts: Counter[str] = Counter()
    layers = ["pose", "thumbnail", "points", "mesh", "occluder"]
    async with connect(live_server.url, token=live_server.token, ca=live_server.ca) as client:
        async for update in client.subscribe("main", layers=layers):  # type: ignore[arg-type]
            if isinstance(update, Put):
                counts[update.layer] += 1
                counts["tracked"] += update.layer == "pose" and update.body["state"] == "tracked"
            if all(counts[layer] for layer in [*layers, "tracked"]):
                return counts
    raise AssertionError(f"the map ended early: {counts}")
