"""The route that locates a picture: what it takes, whom it lets in, and what comes of a real map."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from server.api.locate import COST, GUESSED_FOV_DEG, MAX_WAITING
from server.auth import Grant, Role
from streams.frame import Intrinsics
from tests.server.fakes import served
from tests.server.test_rest import FAR, assert_problem

URL = "/v1/scenes/main/locate"
JPEG = {"Content-Type": "image/jpeg"}


def jpeg(width: int = 320, height: int = 240) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


async def test_a_picture_reaches_the_map_with_its_lens(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        answer = (await server.http.post(URL, content=jpeg(), headers=JPEG)).json()
        assert answer == {
            "found": False, "reason": "too_plain", "epoch": 3, "scale_source": "none", "world_from_camera": None,
            "num_inliers": 0, "confidence": 0.0, "focal_px": None, "lens_refuted": False,
            "age_s": None,
        }  # fmt: skip
        (guessed,) = server.scenes.pictures
        assert guessed.is_focal_guess
        assert guessed.intrinsics == Intrinsics.from_fov(320, 240, GUESSED_FOV_DEG)
        assert guessed.image.gray.shape == (240, 320)
        lens = {"fx": 300, "cx": 150.5, "k1": -0.02}
        png = cv2.imencode(".png", np.zeros((60, 80, 3), np.uint8))[1].tobytes()
        await server.http.post(URL, content=jpeg(), headers=JPEG, params=lens)
        await server.http.post(URL, content=png, headers={"Content-Type": "image/png"}, params={"fx": 70, "fy": 71})
        assert not server.scenes.pictures[1].is_focal_guess
        assert server.scenes.pictures[1].intrinsics == Intrinsics(300, 300, 150.5, 120, 320, 240, -0.02)
        assert server.scenes.pictures[2].intrinsics == Intrinsics(70, 71, 40, 30, 80, 60)


BAD: list[tuple[bytes, dict[str, str], dict[str, str], int]] = [
    (jpeg(), {"Content-Type": "text/plain"}, {}, 415),
    (jpeg(), {}, {}, 415),
    (b"", JPEG, {}, 422),
    (b"GIF89a", JPEG, {}, 422),
    (jpeg()[:300], JPEG, {}, 422),
    (jpeg(), JPEG, {"focal": "300"}, 422),
    (jpeg(), JPEG, {"fx": "nan"}, 422),
    (jpeg(), JPEG, {"fx": "-1"}, 422),
    (jpeg(), JPEG, {"fx": "5"}, 422),  # a field of view of 176 degrees
    (jpeg(), JPEG, {"fy": "300"}, 422),
    (jpeg(), JPEG, {"fx": "300", "cx": "321"}, 422),
    (jpeg(), JPEG, {"fx": "300", "k1": "1e300"}, 422),
    (jpeg(8192, 16), JPEG, {}, 422),
    (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\x7f\xff\xff\xff" * 2, {"Content-Type": "image/png"}, {}, 422),
]


async def test_what_is_no_picture_or_no_lens_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path, rate={"queries_per_s": 1000}) as server:
        for body, headers, params, status in BAD:
            assert_problem(await server.http.post(URL, content=body, headers=headers, params=params), status)
        assert server.scenes.pictures == []


async def test_a_picture_may_be_as_large_as_a_frame_and_no_larger(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"max_body_bytes": 1000, "max_frame_bytes": 200_000}) as server:
        assert len(jpeg()) > 1000
        assert (await server.http.post(URL, content=jpeg(), headers=JPEG)).status_code == 200
        assert_problem(await server.http.post(URL, content=bytes(200_001), headers=JPEG), 413)
        assert_problem(await server.http.post("/v1/scenes/none/locate", content=jpeg(), headers=JPEG), 404)


async def test_only_subscribers_of_the_scene_may_ask_and_not_too_often(tmp_path: Path) -> None:
    async with served(tmp_path, rate={"queries_per_s": 1}) as server:
        elsewhere = server.identity.tokens.issue(Grant("other", Role.ADMIN), 60, FAR)
        for token, status in (("none", 401), (elsewhere, 403)):
            headers = JPEG | {"Authorization": f"Bearer {token}"}
            assert_problem(await server.http.post(URL, content=jpeg(), headers=headers), status)
        statuses = [
            (await server.http.post(URL, content=jpeg(), headers=JPEG)).status_code for _ in range(256 // COST + 2)
        ]
        assert statuses[0] == 200
        assert statuses[-1] == 429


def test_few_pictures_wait() -> None:
    assert 0 < MAX_WAITING <= 16
