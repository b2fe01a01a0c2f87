"""A picture located through a running server, by the SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import cv2
import numpy as np
import pytest

from clients.http import Http, HttpError
from clients.posed import Pinhole, posed_camera
from clients.sdk import Lens, connect
from mapping.transforms import F64, angle_between
from tests.mapping.painted_room import CAMERA, PaintedRoom, walk

PINHOLE = Pinhole(CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy, CAMERA.width, CAMERA.height)


def photo(room: PaintedRoom, world_from_camera: F64) -> bytes:
    gray = room.render(world_from_camera)
    return cv2.imencode(".jpg", np.repeat(gray[:, :, None], 3, axis=2), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


async def test_a_photo_is_found_in_what_a_camera_has_mapped(live_server: Any) -> None:
    room, path = PaintedRoom(seed=11), walk(60)
    secured = {"ca": live_server.ca}
    await Http(live_server.url, **secured).request("POST", "v1/scenes", b'{"scene": "photos"}')
    async with connect(live_server.url, **secured) as client:
        nothing = await client.locate("photos", photo(room, path[31]), Lens(CAMERA.fx))
        assert (nothing.found, nothing.reason, nothing.world_from_camera) == (False, "nothing_mapped", None)
        camera = await posed_camera(live_server.url, "photos", world="room", frames="every", **secured)
        for pose in path[::3]:
            await camera.send(photo(room, pose), pose, PINHOLE)
        await camera.close()
        async with asyncio.timeout(30):
            while not (here := await client.locate("photos", photo(room, path[31]), Lens(CAMERA.fx))).found:
                assert here.reason in ("nothing_mapped", "not_recognised")  # its places are still being looked at
        assert here.world_from_camera is not None
        assert np.linalg.norm(here.world_from_camera[:3, 3] - path[31][:3, 3]) < 0.02
        assert np.degrees(angle_between(here.world_from_camera[:3, :3], path[31][:3, :3])) < 0.5
        assert here.scale_source == "posed"
        assert here.confidence > 0.3
        assert here.age_s is not None
        assert here.age_s < 600
        guessed = await client.locate("photos", photo(room, path[31]))
        assert guessed.focal_px is not None
        assert abs(guessed.focal_px / CAMERA.fx - 1) < 0.05
        refuted = await client.locate("photos", photo(room, path[31]), Lens(1.3 * CAMERA.fx))
        assert (refuted.lens_refuted, here.lens_refuted, guessed.lens_refuted) == (True, False, False)
        elsewhere = await client.locate("photos", photo(PaintedRoom(seed=12), path[31]), Lens(CAMERA.fx))
        assert elsewhere.reason == "not_recognised"
        with pytest.raises(HttpError, match="neither JPEG nor PNG") as refused:
            await client.locate("photos", b"GIF89a")
        assert refused.value.status == 422
