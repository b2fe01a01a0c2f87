"""A thing in a real Chromium: tapped in the live map, a stand-in, then the model; swapped, taken back, removed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from benchmarks import capture as scene_of
from streams.frame import Intrinsics
from tests.clients.posed_rooms import posed_frame
from tests.clients.test_browser import CHROMIUM, PATIENCE_MS, SOFTWARE_GL, Witness, open_page

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

VIEW = {"width": 860, "height": 540}
BARE_FLOOR_PX = (590, 400)
REFUSAL = re.compile("nothing stands there|the pick is on the ground|nothing level is seen below it")
"""The server's; the page's own begin otherwise."""
NUM_VIEWS = 8
LONG_MS = 3 * PATIENCE_MS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}"),
]


def walk(http: httpx.Client, stop: threading.Event) -> None:
    """Film a mug on a box once around, looking at its middle, then stand still."""
    scene, k = scene_of.build(), Intrinsics.from_fov(320, 240)
    forms = []
    for pose in scene_of.poses(scene, NUM_VIEWS):
        seen = scene.view(pose, k)
        assert seen.depth_m is not None
        forms.append(posed_frame(seen.rgb[..., ::-1], seen.depth_m, pose, k))
    opened = http.post("/v1/scenes/table/streams", json={"world": "table", "frames": "every"}).raise_for_status()
    for form in chain(forms, repeat(forms[-1])):
        http.post(opened.json()["frames"], files=form).raise_for_status()
        if stop.wait(0.5):
            return


@pytest.fixture(scope="module")
def table(live_server: Any) -> Iterator[str]:
    """A scene of the running server in which somebody films a mug on a box."""
    stop = threading.Event()
    with httpx.Client(base_url=live_server.url, verify=False, timeout=60) as http, ThreadPoolExecutor(1) as pool:
        http.post("/v1/scenes", json={"scene": "table"}).raise_for_status()
        filming = pool.submit(walk, http, stop)
        yield "table"
        stop.set()
        filming.result()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *SOFTWARE_GL])
        yield chromium
        chromium.close()


def looking_at_it(browser: Any, witness: Witness, live_server: Any, table: str) -> Any:
    """A viewer that looks through the lens, with the tool in hand."""
    page = open_page(browser, witness, f"{live_server.url}/?scene={table}", VIEW)
    page.locator("#phones .phone").first.click(timeout=LONG_MS)
    expect(page.locator("#count-points")).to_have_text(str(NUM_VIEWS), timeout=LONG_MS)
    expect(page.locator("#count-mesh")).not_to_be_empty()
    page.locator("#thingTool").click()
    return page


def test_a_tapped_thing_is_captured_swapped_and_taken_back(
    live_server: Any, table: str, browser: Any, tmp_path: Path
) -> None:
    witness = Witness(urlsplit(live_server.url).netloc)
    page = looking_at_it(browser, witness, live_server, table)
    expect(page.locator("#hint")).to_contain_text("Tap a real thing")
    page.locator("#stage").press("Enter")  # a tap in the middle

    thing = page.locator(".thing")
    expect(thing).to_have_attribute("data-shown", re.compile(" 1$"), timeout=LONG_MS)
    page.screenshot(path=tmp_path / "stand-in.png")
    expect(thing).to_have_attribute("data-shown", re.compile(" 3$"), timeout=LONG_MS)
    expect(thing).to_have_attribute("data-state", "standing")
    captured = thing.get_attribute("data-shown")
    page.screenshot(path=tmp_path / "captured.png")

    thing.locator("input").fill("red cube 20 cm")
    thing.locator("input").press("Enter")
    expect(thing).to_have_attribute("data-shown", re.compile(f"^(?!{captured.split()[0]}).* 2$"), timeout=LONG_MS)
    page.screenshot(path=tmp_path / "swapped.png")
    thing.locator(".back").click()
    expect(thing).to_have_attribute("data-shown", captured)
    page.screenshot(path=tmp_path / "back.png")

    thing.locator(".remove").click()
    expect(thing).to_have_count(0)
    page.locator("#arView").click()
    assert witness.errors == []
    assert witness.outside == []
    page.context.close()


def test_bare_floor_is_no_thing_and_says_why(live_server: Any, table: str, browser: Any) -> None:
    page = looking_at_it(browser, Witness(urlsplit(live_server.url).netloc), live_server, table)
    with page.expect_request(lambda asked: (asked.method, urlsplit(asked.url).path) == ("POST", "/v1/jobs")):
        page.mouse.click(*BARE_FLOOR_PX)
    expect(page.locator("#hint")).to_contain_text(REFUSAL, timeout=LONG_MS)
    expect(page.locator(".thing")).to_have_count(0)
    page.context.close()
