"""Where in a live map a single picture was taken: `POST /v1/scenes/{scene}/locate` with a JPEG or PNG as the body.

    curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' 'https://localhost:8443/v1/scenes/main/locate?fx=1450'

The picture stays in memory, is matched with the places that cameras have mapped, and is forgotten.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request

from server.api.contract import Busy, Scenes, Unprocessable
from server.api.guard import Guard
from server.api.locate_contract import LocateAnswer, Picture
from server.api.rest import PROBLEM, SceneName
from server.api.whip import WrongType
from server.auth import Role
from streams.encoded import PictureError, decode_rgb
from streams.frame import Image, Intrinsics, SceneId
from streams.posed import CameraMeta, PosedFrameError, intrinsics_of

COST = 20
"""Of a query that looks up a way: it takes some 40 ms of a core, three times that without `fx` or with a wrong one."""
MAX_WAITING = 8
GUESSED_FOV_DEG = 66.0
PARAMETERS = frozenset({"fx", "fy", "cx", "cy", "k1"})
PICTURES = ("image/jpeg", "image/png")

Pixels = Annotated[float | None, Query(gt=0, le=1e6, description="in pixels of the picture")]
Distortion = Annotated[float, Query(ge=-2, le=2, description="radial distortion")]


@dataclass(frozen=True, slots=True)
class Lens:
    """What the caller knows of the camera; the principal point is the picture's centre unless told."""

    fx: float | None
    fy: float | None
    cx: float | None
    cy: float | None
    k1: float


class Desk:
    """Lets one picture at a time be decoded and looked up; a few wait, more are told to come back."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def locate(self, scene: SceneId, data: bytes, lens: Lens) -> LocateAnswer:
        """Decode and look up.

        Raises:
            Busy: too many pictures wait.
            Unprocessable: it is no picture that we take, or its lens cannot be true.
        """
        if self._waiting >= MAX_WAITING:
            raise Busy("too many pictures wait to be located; send fewer", retry_after_s=1)
        self._waiting += 1
        try:
            async with self._turn:
                picture = await asyncio.to_thread(_read, data, lens)
                return await self._scenes.locate(scene, picture)
        except (PictureError, PosedFrameError) as error:
            raise Unprocessable(str(error)) from error
        finally:
            self._waiting -= 1


def router(scenes: Scenes, guard: Guard) -> APIRouter:
    """The route."""
    api = APIRouter(prefix="/v1", tags=["queries"], responses=PROBLEM)
    desk = Desk(scenes)

    @api.post("/scenes/{scene}/locate")
    async def locate(
        scene: SceneName,
        request: Request,
        fx: Pixels = None,
        fy: Pixels = None,
        cx: Pixels = None,
        cy: Pixels = None,
        k1: Distortion = 0.0,
    ) -> LocateAnswer:
        """The body is a JPEG or PNG, taken as stored (EXIF rotation is not applied).

        Without `fx` the focal length is looked for as well, which takes longer and is less exact. So it is where the
        picture contradicts `fx`; the answer says so (`lens_refuted`).
        """
        if unknown := request.query_params.keys() - PARAMETERS:
            raise Unprocessable(
                f"there is no parameter {min(unknown)[:64]!r}; there are {', '.join(sorted(PARAMETERS))}"
            )
        grant = guard.require(request, Role.SUBSCRIBE, scene)
        guard.charge(request, grant, COST)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in PICTURES:
            raise WrongType(f"Content-Type must be {' or '.join(PICTURES)}, and the body that picture")
        scenes.scene(SceneId(scene))  # whether there is one, before the picture is read
        return await desk.locate(SceneId(scene), await request.body(), Lens(fx, fy, cx, cy, k1))

    return api


def _read(data: bytes, lens: Lens) -> Picture:
    rgb = decode_rgb(data)
    height, width = rgb.shape[:2]
    if lens.fx is None:
        if lens.fy is not None:
            raise Unprocessable("fy without fx; give both, or fx alone where pixels are square")
        return Picture(Image(rgb=rgb), Intrinsics.from_fov(width, height, GUESSED_FOV_DEG), is_focal_guess=True)
    cx, cy = lens.cx or width / 2, lens.cy or height / 2
    meta = CameraMeta(lens.fx, lens.fy or lens.fx, cx, cy, width, height, lens.k1)
    return Picture(Image(rgb=rgb), intrinsics_of(meta, width, height, "camera"), is_focal_guess=False)
