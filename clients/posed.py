"""A camera that knows where it is: an AR app, a robot, a scan with depth. No video, one request a frame.

camera = await posed_camera("https://localhost:8443", "main", world="lab", ca="var/tls/ca.pem")
for jpeg, world_from_camera, depth_png in recording:
    await camera.send(jpeg, world_from_camera, Pinhole(600, 600, 320, 240, 640, 480), depth_png=depth_png)
await camera.close()
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import quote

from clients.http import Http

Matrix = Sequence[Sequence[float]]
"""(4, 4), rows of numbers; a NumPy array will do."""


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Intrinsics in pixels, pixel centres at +0.5; k1 is the radial distortion."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    k1: float = 0.0


async def posed_camera(
    url: str,
    scene: str,
    *,
    world: str | None = None,
    frames: Literal["newest", "every"] = "newest",
    token: str | None = None,
    ca: str | os.PathLike[str] | bool = True,
) -> PosedCamera:
    """Open a stream into a map.

    Args:
        url: Of the server.
        scene: The map to film into.
        world: Cameras that name the same world share their coordinates.
        frames: What becomes of frames that come faster than the map takes them: `newest` leaves the older ones out
            (live), with `every` each `send` waits for its turn (a recording). Either way the map keeps those that show
            something new.
        token: A grant to publish; none is needed on the server's own machine.
        ca: The server's certificate authority, or whether to check at all.

    Raises:
        HttpError: the server refuses it or cannot be reached.
    """
    http = Http(url, token=token, ca=ca)
    options = json.dumps({"world": world, "frames": frames}).encode()
    opened = await http.request("POST", f"v1/scenes/{quote(scene, safe='')}/streams", options)
    return PosedCamera(http, json.loads(opened.body)["frames"])


class PosedCamera:
    """An open stream; made by `posed_camera`."""

    def __init__(self, http: Http, frames: str) -> None:
        """`frames`: where frames go."""
        self._http, self._frames = http, frames

    async def send(
        self,
        image: bytes,
        world_from_camera: Matrix,
        intrinsics: Pinhole,
        *,
        depth_png: bytes | None = None,
        depth_scale_m: float = 0.001,
        capture_ns: int | None = None,
        sigma_m: float = 0.02,
        sigma_rad: float = 0.01,
    ) -> None:
        """Send one frame.

        Args:
            image: JPEG or PNG.
            world_from_camera: Metres; +Y up world, OpenCV camera axes (x right, y down, z ahead).
            intrinsics: Of the image.
            depth_png: 16 bit, one channel, of the same field of view; depth along z, 0 = unknown.
            depth_scale_m: Metres a count of it.
            capture_ns: Unix time of the exposure on the server's clock; None = when it arrives.
            sigma_m: How far the pose may be off, one sigma.
            sigma_rad: And its rotation.

        Raises:
            HttpError: 422: it is malformed or cannot be true; 429: the map is behind, send it again; 404: the stream
                ended; `status` None: the server cannot be reached.
        """
        meta = {
            "world_from_camera": [float(v) for row in world_from_camera for v in row],
            "intrinsics": asdict(intrinsics),
            "capture_ns": capture_ns,
            "sigma_m": sigma_m,
            "sigma_rad": sigma_rad,
            "depth": {"scale_m": depth_scale_m},
        }
        parts = {"meta": json.dumps(meta).encode(), "image": image}
        if depth_png is not None:
            parts["depth"] = depth_png
        content_type, body = _multipart(parts)
        await self._http.request("POST", self._frames, body, content_type)

    async def close(self) -> None:
        """No more frames: the camera leaves the map's cameras, what it mapped stays. Without this it is let go when it
        has been silent for a while (30 s, if the server's settings do not say otherwise).

        Raises:
            HttpError: the server cannot be reached, or let the stream go before.
        """
        await self._http.request("DELETE", self._frames)


def _multipart(parts: dict[str, bytes]) -> tuple[str, bytes]:
    """multipart/form-data (RFC 7578): its content type and body."""
    boundary = secrets.token_hex(16)  # longer than a picture could hold by chance
    body = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n'
        % (boundary.encode(), name.encode(), name.encode(), content)
        for name, content in parts.items()
    )
    return f"multipart/form-data; boundary={boundary}", body + b"--%b--\r\n" % boundary.encode()
