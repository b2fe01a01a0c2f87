"""A camera with poses and depth, against a running server."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from clients.http import Http, HttpError
from clients.posed import Pinhole, posed_camera
from clients.sdk import Put, connect
from tests.clients.posed_rooms import FOCAL, HEIGHT, WIDTH, depth_m, poses

LENS = Pinhole(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)


def jpeg(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width), 128, np.uint8))[1].tobytes()


async def test_a_scan_becomes_a_floor(live_server: Any) -> None:
    secured = {"ca": live_server.ca}  # this machine's own admin needs no token
    await Http(live_server.url, **secured).request("POST", "v1/scenes", b'{"scene": "scan"}')
    camera = await posed_camera(live_server.url, "scan", world="scan", frames="every", **secured)
    for world_from_camera in poses():
        depth_mm = np.rint(depth_m(world_from_camera) * 1000).astype(np.uint16)
        await camera.send(jpeg(), world_from_camera, LENS, depth_png=cv2.imencode(".png", depth_mm)[1].tobytes())
    await camera.close()
    with pytest.raises(HttpError):
        await camera.close()
    async with connect(live_server.url, **secured) as client:
        async for update in client.subscribe("scan", layers=["nav"]):
            if isinstance(update, Put):
                assert len(update.arrays["polys"]) > 0
                return


async def test_what_cannot_be_true_is_refused_with_a_reason(live_server: Any) -> None:
    secured = {"token": live_server.token, "ca": live_server.ca}
    camera = await posed_camera(live_server.url, "main", **secured)
    for image, pose, reason in ((jpeg(), np.zeros((4, 4)), "last row"), (b"no picture", np.eye(4), "image")):
        with pytest.raises(HttpError, match=reason) as refused:
            await camera.send(image, pose, LENS)
        assert refused.value.status == 422
    with pytest.raises(HttpError) as refused:
        await posed_camera(live_server.url, "nowhere", **secured)
    assert refused.value.status in (403, 404)
