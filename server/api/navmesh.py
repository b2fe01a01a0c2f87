"""REST: the whole NavMesh as a file, as it was published last."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from navmesh.exporters import ExportError
from server.api.contract import NotFound
from server.api.guard import Guard
from server.api.rest import PROBLEM, SceneName
from server.auth import Denied, Role
from server.bus.bus import Bus
from server.navmesh_file import navmesh_file

MEDIA_TYPES = {"bin": "application/octet-stream", "glb": "model/gltf-binary", "obj": "model/obj"}


def router(bus: Bus, guard: Guard) -> APIRouter:
    """`GET /v1/scenes/{scene}/navmesh.{bin,glb,obj}`."""
    api = APIRouter(prefix="/v1", responses=PROBLEM)

    @api.get("/scenes/{scene}/navmesh.{suffix}", tags=["map"], response_class=Response)
    async def export_navmesh(
        request: Request,
        scene: SceneName,
        suffix: Literal["bin", "glb", "obj"],
        agent: Annotated[str | None, Query(max_length=64)] = None,
    ) -> Response:
        """The walkable polygons of one agent: a Detour tile set, triangles, or the polygons themselves."""
        if "nav" not in guard.require(request, Role.SUBSCRIBE, scene).layers:
            raise Denied(403, "the token does not cover nav")
        channel = bus.find(scene)
        if channel is None:
            raise NotFound(f"there is no scene {scene!r}")
        frames = [entry.frame for entry in channel.entries() if entry.layer == "nav"]
        try:
            data = await asyncio.to_thread(navmesh_file, frames, channel.epoch, suffix, agent)
        except ExportError as error:
            raise NotFound(str(error)) from error
        name = f'attachment; filename="{scene}.{suffix}"'
        return Response(data, media_type=MEDIA_TYPES[suffix], headers={"Content-Disposition": name})

    return api
