"""REST: the whole NavMesh as a file, as it was published last; and built anew."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from navmesh.exporters import ExportError
from server.api.contract import NotFound, Scenes
from server.api.guard import Guard
from server.api.rest import PROBLEM, SceneName
from server.auth import Denied, Role
from server.navmesh_file import navmesh_file
from streams.frame import SceneId

MEDIA_TYPES = {"bin": "application/octet-stream", "glb": "model/gltf-binary", "obj": "model/obj"}


class Reread(BaseModel):
    """The NavMesh was built anew."""

    num_changed: int
    """Tiles that came out otherwise than they were."""


def router(scenes: Scenes, guard: Guard) -> APIRouter:
    """Routes about the NavMesh as a whole; questions about it are in `queries`."""
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
        channel = scenes.bus.find(scene)
        if channel is None:
            raise NotFound(f"there is no scene {scene!r}")
        frames = [entry.frame for entry in channel.entries() if entry.layer == "nav"]
        try:
            data = await asyncio.to_thread(navmesh_file, frames, channel.epoch, suffix, agent)
        except ExportError as error:
            raise NotFound(str(error)) from error
        name = f'attachment; filename="{scene}.{suffix}"'
        return Response(data, media_type=MEDIA_TYPES[suffix], headers={"Content-Disposition": name})

    @api.post("/scenes/{scene}/navmesh/reread", tags=["map"])
    async def reread_navmesh(request: Request, scene: SceneName) -> Reread:
        """Build every tile anew from the voxels alone, and answer when the NavMesh is.

        Tiles are steady: a change shallower than 2.5 cm may leave one as it was. Afterwards each is what a new server
        would make of the map. The tiles there are serve on meanwhile, and only those that changed are sent.
        """
        grant = guard.require(request, Role.ADMIN, scene)
        if grant.token_id:
            guard.throttle(request, grant)
        return Reread(num_changed=await scenes.reread_navmesh(SceneId(scene)))

    return api
