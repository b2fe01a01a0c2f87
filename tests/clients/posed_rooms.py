"""Two rooms with a wall and one door between them, filmed with depth by a camera that knows where it is.

A picture costs a millisecond: what a real server needs to have a floor that can be walked on, without phones or engine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from mapping.transforms import look_at, quat_from_rotation
from streams.frame import Intrinsics

Box = tuple[tuple[float, float, float], tuple[float, float, float]]

WALL_X_M, DOOR_Z_M, HEIGHT_M = 3.0, (2.6, 3.8), 2.4
HERE, THERE = (1.5, 0.0, 1.0), (4.5, 0.0, 1.0)
"""On either side of the wall, far from the door."""
BOXES: tuple[Box, ...] = (
    ((-0.3, -0.3, -0.3), (6.3, 0.0, 4.3)),
    ((-0.3, 0.0, -0.3), (0.0, HEIGHT_M, 4.3)),
    ((6.0, 0.0, -0.3), (6.3, HEIGHT_M, 4.3)),
    ((0.0, 0.0, -0.3), (6.0, HEIGHT_M, 0.0)),
    ((0.0, 0.0, 4.0), (6.0, HEIGHT_M, 4.3)),
    ((WALL_X_M - 0.1, 0.0, 0.0), (WALL_X_M + 0.1, HEIGHT_M, DOOR_Z_M[0])),
    ((WALL_X_M - 0.1, 0.0, DOOR_Z_M[1]), (WALL_X_M + 0.1, HEIGHT_M, 4.0)),
)
CLOSED: tuple[Box, ...] = (*BOXES, ((WALL_X_M - 0.1, 0.0, DOOR_Z_M[0]), (WALL_X_M + 0.1, HEIGHT_M, DOOR_Z_M[1])))
WIDTH, HEIGHT, FOCAL = 160, 120, 100.0


def poses() -> Iterator[NDArray[np.float64]]:
    """world_from_camera (4, 4): all around, looking down, from places in both rooms and on both sides of the door."""
    for x, z in ((1.5, 2.0), (4.5, 2.0), (2.4, 3.2), (3.6, 3.2)):
        for heading in np.arange(10) * (2 * np.pi / 10):
            eye = np.array([x, 1.5, z])
            yield look_at(eye, eye + np.array([np.cos(heading), -0.75, np.sin(heading)]))


def depth_m(world_from_camera: NDArray[np.float64], boxes: tuple[Box, ...] = BOXES) -> NDArray[np.float64]:
    """Distance along the optical axis (h, w) to the nearest box; every pixel sees one."""
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = (
        np.stack([(u - WIDTH / 2) / FOCAL, (v - HEIGHT / 2) / FOCAL, np.ones_like(u)], -1) @ world_from_camera[:3, :3].T
    )
    eye, nearest = world_from_camera[:3, 3], np.full(u.shape, np.inf)
    with np.errstate(divide="ignore"):
        for low, high in boxes:
            ends = np.stack([(np.array(corner) - eye) / rays for corner in (low, high)])
            enters, leaves = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
            nearest = np.where((enters <= leaves) & (enters > 0), np.minimum(nearest, enters), nearest)
    return np.where(nearest < 6.0, nearest, 0.0)


class Film:
    """A camera that films the rooms into a scene of a running server."""

    def __init__(self, http: httpx.Client, scene: str) -> None:
        """Open the scene."""
        while http.get("/readyz").status_code != 200:  # a server that is told to stop before it is up does so rudely
            time.sleep(0.1)
        http.post("/v1/scenes", json={"scene": scene}).raise_for_status()
        self._http, self._scene = http, f"/v1/scenes/{scene}"

    def until(self, is_reachable: bool, boxes: tuple[Box, ...] = BOXES, rounds: int = 20) -> None:
        """Film until both rooms are known, and whether there is a way from one to the other is as it should be.

        Raises:
            AssertionError: that did not come to be.
        """
        frames = (
            self._http.post(f"{self._scene}/streams", json={"world": "rooms", "frames": "every"})
            .raise_for_status()
            .json()["frames"]
        )
        for _ in range(rounds):
            for world_from_camera in poses():
                self._http.post(frames, files=_frame(world_from_camera, boxes)).raise_for_status()
            ends = {"from": ",".join(map(str, HERE)), "to": ",".join(map(str, THERE)), "within_m": 0.05}
            answer = self._http.get(f"{self._scene}/reachable", params=ends).raise_for_status().json()
            if answer["found"] and answer["reachable"] is is_reachable:
                return
        raise AssertionError("the rooms did not become walkable as they should")


def _frame(world_from_camera: NDArray[np.float64], boxes: tuple[Box, ...]) -> dict[str, bytes]:
    depth = depth_m(world_from_camera, boxes)
    gray = np.clip(255 - 40 * depth, 0, 255).astype(np.uint8)
    return posed_frame(gray, depth, world_from_camera, Intrinsics(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT))


def posed_frame(
    bgr: NDArray[np.uint8], depth: NDArray[np.floating], world_from_camera: NDArray[np.float64], k: Intrinsics
) -> dict[str, bytes]:
    """The form of one frame: picture (h, w[, 3]), depth (h, w) in metres, and where it was taken."""
    meta = {
        "world_from_camera": {
            "t": world_from_camera[:3, 3].tolist(),
            "q_wxyz": [float(q) for q in quat_from_rotation(world_from_camera[:3, :3])],
        },
        "intrinsics": {"fx": k.fx, "fy": k.fy, "cx": k.cx, "cy": k.cy, "width": k.width, "height": k.height},
    }
    return {
        "image": cv2.imencode(".jpg", bgr)[1].tobytes(),
        "depth": cv2.imencode(".png", np.rint(depth * 1000).astype(np.uint16))[1].tobytes(),
        "meta": json.dumps(meta).encode(),
    }
