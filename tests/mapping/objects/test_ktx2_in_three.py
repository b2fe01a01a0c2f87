"""The packed variant in a real engine: three.js in Chromium shows what it shows of the plain GLB."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapping.objects import basisu, glb
from mapping.objects.mesh import U8
from tests.mapping.objects.shapes import checkered_cube
from tests.mapping.objects.test_ktx2 import PACKAGES, landscape, psnr_db

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}"),
]


def test_three_shows_both_alike_and_keeps_one_packed() -> None:
    thing = replace(checkered_cube(), texture=landscape(256, 256))
    shown = as_three_shows({"/plain.glb": glb.encode(thing), "/packed.glb": basisu.encode(thing, "thing", {})})
    (is_packed, plain), (is_packed_too, packed) = shown
    assert (is_packed, is_packed_too) == (False, True)
    assert len(np.unique(plain.reshape(-1, 3), axis=0)) > 100, "something is shown"
    assert psnr_db(plain, packed) > 35


def as_three_shows(files: dict[str, bytes]) -> list[tuple[bool, U8]]:
    """Whether each GLB's picture stays packed, and (128, 128, 3) what is drawn of it."""
    page_bytes = Path(__file__).with_name("show_glb.html").read_bytes()

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix("http://engine.test")
        if path == "/":
            route.fulfill(body=page_bytes, content_type="text/html")
        elif path in files:
            route.fulfill(body=files[path], content_type="model/gltf-binary")
        elif path.startswith("/three/"):
            route.fulfill(path=PACKAGES / path[1:])
        else:
            route.fulfill(status=404)

    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *SOFTWARE_GL])
        page = chromium.new_page()
        page.route("**/*", answer)
        page.goto("http://engine.test/")
        page.wait_for_function("window.isReady")
        found = [page.evaluate("path => show(path)", path) for path in files]
        chromium.close()
    return [(one["isPacked"], np.array(one["pixels"], np.uint8).reshape(128, 128, 4)[..., :3].copy()) for one in found]
