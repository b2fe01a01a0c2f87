"""The two pages in a real Chromium: a phone with a fake camera, and a viewer, against a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from server import protocol as p

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}
PATIENCE_MS = 30_000
expect = sync_api.expect
expect.set_options(timeout=PATIENCE_MS)
SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu"]
FAKE_CAMERA = ["--use-fake-device-for-media-stream"]
ALLOWED = ["--use-fake-ui-for-media-stream"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}"),
]


@dataclass
class Witness:
    """What a page did that it should not have."""

    origin: str
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._request(request.url))
        page.on("websocket", lambda socket: self._request(socket.url))

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self.origin:
            self.outside.append(url)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a textured wall passing by, as the motion JPEG that Chromium's fake camera plays in a loop."""
    rng = np.random.default_rng(7)
    wall = cv2.resize(rng.integers(0, 255, (60, 120, 3), np.uint8), (1920, 960), interpolation=cv2.INTER_CUBIC)
    path = tmp_path_factory.mktemp("film") / "wall.mjpeg"
    with path.open("wb") as out:
        for i in range(60):
            x = 8 * min(i, 60 - i)  # there and back: the loop has no jump
            _, jpeg = cv2.imencode(".jpg", wall[120:840, x : x + 1280])
            out.write(jpeg.tobytes())
    return path


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    with sync_api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Any, film: Path) -> Iterator[Any]:
    """Chromium whose camera plays the film and whose person always says yes."""
    camera = [*FAKE_CAMERA, *ALLOWED, f"--use-file-for-fake-video-capture={film}"]
    chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *SOFTWARE_GL, *camera])
    yield chromium
    chromium.close()


@pytest.fixture
def witness(live_server: Any) -> Witness:
    return Witness(urlsplit(live_server.url).netloc)


def open_page(browser: Any, witness: Witness, url: str, viewport: dict[str, int]) -> Any:
    context = browser.new_context(viewport=viewport, ignore_https_errors=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    witness.watch(page)
    page.goto(url)
    return page


def phone_url(live_server: Any, scene: str = "main", token: str | None = None) -> str:
    return f"{live_server.url}/phone#token={token or live_server.token}&scene={scene}"


def is_delete(response: Any) -> bool:
    return bool(response.request.method == "DELETE")


def text(page: Any, selector: str) -> str:
    return str(page.locator(selector).inner_text())


def test_a_phone_goes_live_and_hears_its_poses_and_a_viewer_sees_it(
    live_server: Any, browser: Any, witness: Witness, tmp_path: Path
) -> None:
    phone = open_page(browser, witness, phone_url(live_server), PHONE)
    assert "Before you start" in text(phone, ".notice")
    phone.click("#go")
    phone.wait_for_selector("body[data-session=live]")
    assert text(phone, "#badgeText") == "LIVE"
    expect(phone.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))  # poses arrive
    phone.screenshot(path=tmp_path / "phone.png")

    viewer = open_page(browser, witness, f"{live_server.url}/#token={live_server.token}&scene=main", DESK)
    viewer.wait_for_selector("#connection[data-state=open]")
    viewer.wait_for_selector("#phones .phone .state")
    assert viewer.locator("#empty").is_hidden()
    viewer.wait_for_timeout(500)  # let it draw, for the eyes that look at the picture
    viewer.screenshot(path=tmp_path / "viewer.png")

    phone.click("#stop")
    phone.wait_for_selector("#ended:visible")
    assert phone.evaluate("document.querySelector('#preview').srcObject") is None
    expect(viewer.locator("#phones .phone")).to_have_count(0)
    assert witness.errors == []
    assert witness.outside == []
    phone.context.close()
    viewer.context.close()


def test_a_phone_leaves_in_good_order_and_can_have_its_data_erased(
    live_server: Any, browser: Any, witness: Witness
) -> None:
    phone = open_page(browser, witness, phone_url(live_server), PHONE)
    status_of: dict[str, int] = {}
    phone.on("response", lambda r: status_of.update({urlsplit(r.url).path: r.status}) if is_delete(r) else None)
    phone.click("#go")
    phone.wait_for_selector("body[data-session=live]")
    phone.click("#live [data-opens=privacy]")
    phone.click("#delete")
    expect(phone.locator("#deleteResult")).to_contain_text("Erased")
    session = next(path for path in status_of if path.startswith("/v1/whip/"))
    assert status_of[session] == 200
    assert status_of[f"/v1/streams/{session.rsplit('/', 1)[1]}"] == 204
    assert witness.errors == []
    phone.context.close()


def test_the_picture_may_turn_while_live(live_server: Any, browser: Any, witness: Witness) -> None:
    phone = open_page(browser, witness, phone_url(live_server), PHONE)
    phone.click("#go")
    phone.wait_for_selector("body[data-session=live]")
    phone.set_viewport_size({"width": 844, "height": 390})
    stop = phone.locator("#stop").bounding_box()
    assert stop["y"] + stop["height"] <= 390
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert phone.evaluate("document.body.dataset.session") == "live"
    assert witness.errors == []
    phone.context.close()


def test_a_bad_token_is_told_apart_from_a_lost_server(live_server: Any, browser: Any, witness: Witness) -> None:
    phone = open_page(browser, witness, phone_url(live_server, token="not.a.token"), PHONE)
    phone.click("#go")
    phone.wait_for_selector("#trouble:visible")
    assert "expired" in text(phone, "#troubleTitle")
    assert "Scan the QR code again" in text(phone, "#troubleAdvice")
    assert phone.locator("#retry").is_visible()

    phone.route(re.compile("/whip$"), lambda route: route.abort())
    phone.click("#retry")
    expect(phone.locator("#troubleTitle")).to_contain_text("out of reach")
    assert phone.locator("#retry").is_hidden()  # it tries again by itself
    phone.context.close()


def test_a_link_that_names_no_map_says_so_and_the_notice_is_the_servers_own(
    live_server: Any, browser: Any, witness: Witness
) -> None:
    phone = open_page(browser, witness, phone_url(live_server, scene="a%2Fb"), PHONE)
    expect(phone.locator("#troubleTitle")).to_have_text("This link names no map")
    expect(phone.locator("#troubleAdvice")).to_contain_text("a/b")
    assert phone.locator("#retry").is_hidden()  # it could not help
    assert phone.locator("#go").is_disabled()
    phone.click("#start [data-opens=privacy]")
    expect(phone.locator("#keptPictures")).to_contain_text("not written to disk")
    expect(phone.locator("#keptPath")).to_contain_text("24 hours")
    phone.context.close()


def test_a_refused_camera_says_how_to_allow_it(live_server: Any, playwright: Any, witness: Witness) -> None:
    arguments = ["--no-sandbox", "--deny-permission-prompts", *FAKE_CAMERA]
    chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
    phone = open_page(chromium, witness, phone_url(live_server), PHONE)
    phone.click("#go")
    phone.wait_for_selector("#trouble:visible")
    assert text(phone, "#troubleTitle") == "The camera is blocked"
    assert "allow the camera" in text(phone, "#troubleAdvice")
    chromium.close()


def test_an_empty_map_says_how_to_begin(live_server: Any, browser: Any, witness: Witness, tmp_path: Path) -> None:
    context = browser.new_context(ignore_https_errors=True)
    created = context.request.post(f"{live_server.url}/v1/scenes", data={"scene": "quiet"})
    assert created.status == 201
    context.close()
    viewer = open_page(browser, witness, f"{live_server.url}/?scene=quiet", DESK)
    viewer.wait_for_selector("#connection[data-state=open]")
    viewer.wait_for_selector("#empty:visible")
    viewer.wait_for_selector("#empty .invitation img:visible")  # this machine itself may invite phones
    assert viewer.evaluate("document.querySelector('#empty .invitation img').decode().then(() => true)")
    assert "/phone" in text(viewer, "#empty .invitation a")
    viewer.screenshot(path=tmp_path / "empty.png")
    assert witness.errors == []
    assert witness.outside == []
    viewer.context.close()


def test_a_viewer_with_a_bad_token_says_so_and_stops(live_server: Any, browser: Any, witness: Witness) -> None:
    viewer = open_page(browser, witness, f"{live_server.url}/#token=not.a.token", DESK)
    viewer.wait_for_selector("#connection[data-state=closed]")
    assert "new link" in text(viewer, "#banner")
    viewer.context.close()


def test_a_page_that_could_not_keep_up_says_so_and_comes_back_without_points(
    live_server: Any, browser: Any, witness: Witness
) -> None:
    asked: list[p.Subscribe] = []

    def relay(page_side: Any) -> None:
        server_side = page_side.connect_to_server()

        def pass_on(data: bytes) -> None:
            message = p.unpack_client(data)
            server_side.send(data)
            if isinstance(message, p.Subscribe):
                asked.append(message)
                if len(asked) == 1:
                    page_side.close(code=p.CLOSE_TOO_SLOW, reason="took nothing for 10 s")
                    server_side.close()

        page_side.on_message(pass_on)

    context = browser.new_context(viewport=DESK, ignore_https_errors=True)
    viewer = context.new_page()
    viewer.set_default_timeout(PATIENCE_MS)
    viewer.add_init_script(
        "addEventListener('DOMContentLoaded', () => { window.told = []; new MutationObserver(() => "
        "told.push(document.querySelector('#banner').textContent)).observe(document.querySelector('#banner'), "
        "{ childList: true }); });"
    )
    viewer.route_web_socket(re.compile("/v1/map$"), relay)
    viewer.goto(f"{live_server.url}/#token={live_server.token}&scene=main")
    expect(viewer.locator("#count-points")).to_have_text("left out")
    expect(viewer.locator("#connection")).to_have_attribute("data-fresh", "open")
    assert any("could not keep up" in told for told in viewer.evaluate("told"))
    assert not any("out of reach" in told for told in viewer.evaluate("told"))
    assert viewer.locator("#banner").is_hidden()
    assert "points" in asked[0].layers
    assert "points" not in asked[1].layers
    viewer.check("#show-points")
    expect(viewer.locator("#count-points")).not_to_have_text("left out")
    assert "points" in asked[2].layers
    context.close()


def test_on_a_narrow_screen_the_layers_come_up_as_a_sheet(live_server: Any, browser: Any, witness: Witness) -> None:
    viewer = open_page(browser, witness, f"{live_server.url}/#token={live_server.token}&scene=main", PHONE)
    viewer.wait_for_selector("#connection[data-state=open]")
    assert viewer.locator("#show-mesh").is_hidden()
    viewer.click("#layers")
    expect(viewer.locator("#show-mesh")).to_be_visible()
    expect(viewer.locator("#waterfall")).to_be_visible()
    viewer.click("#layers")
    expect(viewer.locator("#show-mesh")).to_be_hidden()
    assert viewer.evaluate("document.documentElement.scrollWidth <= innerWidth")
    viewer.context.close()
