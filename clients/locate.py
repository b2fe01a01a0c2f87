"""Where in a live map a picture was taken.

async with connect("https://localhost:8443", ca="ca.pem") as client:
    here = await client.locate("main", Path("photo.jpg").read_bytes(), Lens(fx=1450))
    print(here.world_from_camera if here.found else here.reason)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from urllib.parse import quote, urlencode

import msgspec
import numpy as np
from numpy.typing import NDArray

from clients.http import Http, HttpError
from clients.mirror import rotation_from_quat


@dataclass(frozen=True, slots=True)
class Lens:
    """Intrinsics in pixels of the picture, pixel centres at +0.5; what is left out: square pixels, the middle."""

    fx: float
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    k1: float | None = None


class Placement(msgspec.Struct, frozen=True):
    t: tuple[float, float, float]
    q_wxyz: tuple[float, float, float, float]


class Located(msgspec.Struct, frozen=True):
    """Unknown fields are ignored: a newer server may add some."""

    found: bool
    reason: str | None
    """Why not: `nothing_mapped`, `too_plain` or `not_recognised`."""
    epoch: int
    """Of the coordinates."""
    scale_source: str
    """`none`: lengths are not metres."""
    placement: Placement | None = msgspec.field(name="world_from_camera", default=None)
    num_inliers: int = 0
    """Points of the map that the picture shows where they should be."""
    confidence: float = 0.0
    """Share of the points it should show that it does, 0..1."""
    focal_px: float | None = None
    """The focal length it was located with: found out where no lens was given, or where `lens_refuted`."""
    lens_refuted: bool = False
    """The focal length that was given cannot be right."""
    age_s: float | None = None
    """How long ago the newest of the places that it was recognised by was filmed."""

    @property
    def world_from_camera(self) -> NDArray[np.float64] | None:
        """(4, 4), OpenCV camera axes; None when it was not found."""
        if self.placement is None:
            return None
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_quat(self.placement.q_wxyz)
        pose[:3, 3] = self.placement.t
        return pose


async def locate(http: Http, scene: str, picture: bytes, lens: Lens | None = None) -> Located:
    """Ask where a JPEG or PNG was taken; see `Client.locate`.

    Raises:
        HttpError: the server refuses the picture or cannot be reached.
    """
    kind = "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"
    known = {} if lens is None else {name: value for name, value in asdict(lens).items() if value is not None}
    url = f"v1/scenes/{quote(scene, safe='')}/locate?{urlencode(known)}"
    got = await http.request("POST", url, picture, kind)
    try:
        return msgspec.json.decode(got.body, type=Located)
    except msgspec.DecodeError as error:
        raise HttpError(f"{url} answered what this SDK cannot read: {error}", got.status) from error
