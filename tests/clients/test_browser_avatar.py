"""An avatar in a real Chromium, sent by clicks over a map that a real server made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.clients.posed_rooms import CLOSED, DOOR_Z_M, HERE, THERE, WALL_X_M, Film
from tests.clients.test_browser import CHROMIUM, PATIENCE_MS, SOFTWARE_GL, Witness, open_page

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

VIEW = {"width": 860, "height": 540}  # small: it is drawn without a GPU
RECORDER = """() => {
  window.track = [];
  setInterval(() => {
    const place = document.querySelector('.avatar')?.dataset.place;
    if (place) window.track.push(place.split(',').map(Number));
  }, 50);
}"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def rooms(live_server: Any) -> str:
    """A scene of the running server with two rooms in it."""
    with httpx.Client(base_url=live_server.url, verify=False, timeout=60) as http:
        Film(http, "rooms").until(is_reachable=True)
    return "rooms"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *SOFTWARE_GL])
        yield chromium
        chromium.close()


def place_of(page: Any) -> tuple[float, ...]:
    return tuple(map(float, page.locator(".avatar").get_attribute("data-place").split(",")))


def try_place(page: Any, x: float, y: float) -> tuple[float, ...] | None:
    """Put an avatar under a pixel, say where it stands, and take it away; None where the floor is not walkable."""
    page.evaluate("document.querySelector('#hint').textContent = ''")  # the answer to the last click goes
    page.mouse.click(x, y)
    expect(page.locator("#hint")).to_have_text(re.compile("Here it is|not walkable"))
    if "not walkable" in page.locator("#hint").inner_text():
        return None
    place = place_of(page)
    page.locator(".avatar .remove").click()
    expect(page.locator(".avatar")).to_have_count(0)
    return place


def pixel_from_floor(page: Any) -> NDArray[np.float64]:
    """The homography from x, z on the floor to pixels, from clicks on the map alone."""
    width, height = VIEW["width"], VIEW["height"]
    grid = [(x * width, y * height) for y in np.linspace(0.25, 0.75, 8) for x in np.linspace(0.34, 0.68, 7)]
    found = ((grid[i], try_place(page, *grid[i])) for i in np.random.default_rng(1).permutation(len(grid)))
    hits = list(islice(((pixel, place) for pixel, place in found if place is not None), 9))
    assert len(hits) == 9, "hardly any floor on the screen"
    floor = np.array([(place[0], place[2]) for _, place in hits])
    homography, inliers = cv2.findHomography(floor, np.array([pixel for pixel, _ in hits]), cv2.RANSAC, 3.0)
    assert inliers.sum() >= 7  # the view stood still
    return np.asarray(homography, np.float64)


def click_floor(page: Any, homography: NDArray[np.float64], place: tuple[float, float, float]) -> None:
    x, y, w = homography @ [place[0], place[2], 1.0]
    page.mouse.click(x / w, y / w)


def test_an_avatar_walks_around_the_wall_to_where_it_is_sent(
    live_server: Any, rooms: str, browser: Any, tmp_path: Path
) -> None:
    witness = Witness(urlsplit(live_server.url).netloc)
    page = open_page(browser, witness, f"{live_server.url}/?scene={rooms}", VIEW)
    expect(page.locator("#area")).to_contain_text("m²")
    expect(page.locator("#connection")).to_have_attribute("data-fresh", "open")  # all is shown: the view comes to rest
    page.locator("#avatarTool").click()
    expect(page.locator("#hint")).to_contain_text("an avatar appears")
    homography = pixel_from_floor(page)

    click_floor(page, homography, HERE)
    expect(page.locator(".avatar .state")).to_have_text("waits for an errand")
    assert np.allclose(place_of(page), HERE, atol=0.15)
    page.evaluate(RECORDER)
    click_floor(page, homography, THERE)
    page.wait_for_selector(".avatar[data-mood=walking]")
    page.screenshot(path=tmp_path / "walking.png")
    page.wait_for_selector(".avatar[data-mood=arrived]", timeout=2 * PATIENCE_MS)
    expect(page.locator("#hint")).to_contain_text("has arrived")
    page.screenshot(path=tmp_path / "arrived.png")

    track = np.array(page.evaluate("window.track"))
    assert np.allclose(track[-1], THERE, atol=0.2)
    x, z = track[:, 0], track[:, 2]
    through = z[np.abs(x - WALL_X_M) < 0.3]
    assert len(through), "it was never seen near the door"
    assert ((through > DOOR_Z_M[0]) & (through < DOOR_Z_M[1])).all()
    assert np.linalg.norm(np.diff(track, axis=0), axis=1).sum() > 4.5  # 3 m through the wall, 5 through the door
    assert witness.errors == []
    assert witness.outside == []
    page.context.close()


@pytest.mark.slow
def test_it_waits_before_a_closed_door_and_sets_off_when_it_opens(live_server: Any, browser: Any) -> None:
    witness = Witness(urlsplit(live_server.url).netloc)
    with httpx.Client(base_url=live_server.url, verify=False, timeout=60) as http:
        door = Film(http, "door")
        door.until(False, CLOSED)
        page = open_page(browser, witness, f"{live_server.url}/?scene=door", VIEW)
        expect(page.locator("#area")).to_contain_text("m²")
        page.locator("#avatarTool").click()
        expect(page.locator("#hint")).to_contain_text("an avatar appears")
        homography = pixel_from_floor(page)
        click_floor(page, homography, HERE)
        expect(page.locator(".avatar .state")).to_have_text("waits for an errand")
        click_floor(page, homography, THERE)
        expect(page.locator(".avatar .state")).to_have_text("No known way leads there.")
        expect(page.locator("#hint")).to_contain_text("No known way leads there.")
        door.until(True)
        page.wait_for_selector(".avatar[data-mood=arrived]", timeout=2 * PATIENCE_MS)
    assert np.allclose(place_of(page), THERE, atol=0.2)
    assert witness.errors == []
    page.context.close()
