"""REST: scenes, their streams, devices, exports and cues."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from server.api.capability import MAX_LENGTH, Seals
from server.api.contract import (
    Busy,
    Cue,
    DeviceSummary,
    NotFound,
    PosedOptions,
    Scenes,
    SceneSummary,
    StreamSummary,
    Unprocessable,
)
from server.api.guard import Guard
from server.auth import Grant, Role
from streams.frame import SceneId, StreamId

SceneName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
ShortName = Annotated[str, Field(max_length=MAX_LENGTH)]
PROBLEM: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What is wrong, and what to do", "content": {"application/problem+json": {}}}
}
EXPORTS = {"ply": "application/octet-stream", "glb": "model/gltf-binary", "obj": "model/obj"}
MAX_EXPORTS = 2


class NewScene(BaseModel):
    """A scene to be made."""

    model_config = ConfigDict(extra="forbid")

    scene: SceneName


class NewStream(BaseModel):
    """A posed stream that is open now."""

    stream: str
    """Its name on the map."""
    frames: str
    """Where its frames go. Only you know this address: `DELETE` without `/frames` ends and erases the stream."""


def router(scenes: Scenes, guard: Guard, seals: Seals) -> APIRouter:
    """All routes below /v1 that answer with JSON or a file."""
    api = APIRouter(prefix="/v1", responses=PROBLEM)
    exporting = asyncio.Semaphore(MAX_EXPORTS)

    def check(request: Request, role: Role, scene: str | None) -> Grant:
        grant = guard.require(request, role, scene)
        if grant.token_id and request.method not in ("GET", "HEAD"):
            guard.throttle(request, grant)
        return grant

    def subscriber(request: Request, scene: str) -> None:
        check(request, Role.SUBSCRIBE, scene)

    def publisher(request: Request, scene: str) -> None:
        check(request, Role.PUBLISH, scene)

    def scene_admin(request: Request, scene: str) -> None:
        check(request, Role.ADMIN, scene)

    def admin(request: Request) -> None:
        check(request, Role.ADMIN, None)

    def anybody(request: Request) -> Grant:
        return guard.require_somewhere(request, Role.SUBSCRIBE)

    caller = Depends(anybody)

    @api.get("/scenes", tags=["scenes"])
    async def list_scenes(grant: Grant = caller) -> list[SceneSummary]:
        """The scenes the caller may see."""
        return [summary for summary in scenes.scenes() if grant.allows(Role.SUBSCRIBE, summary.scene)]

    @api.post("/scenes", status_code=201, tags=["scenes"], dependencies=[Depends(admin)])
    async def create_scene(new: NewScene, response: Response) -> SceneSummary:
        response.headers["Location"] = f"/v1/scenes/{new.scene}"
        return await scenes.create(SceneId(new.scene))

    @api.get("/scenes/{scene}", tags=["scenes"], dependencies=[Depends(subscriber)])
    async def get_scene(scene: SceneName) -> SceneSummary:
        return scenes.scene(SceneId(scene))

    @api.delete("/scenes/{scene}", status_code=204, tags=["scenes"], dependencies=[Depends(scene_admin)])
    async def delete_scene(scene: SceneName) -> None:
        """End its streams and erase all of it."""
        await scenes.delete(SceneId(scene))

    @api.post("/scenes/{scene}/cues", status_code=202, tags=["scenes"], dependencies=[Depends(publisher)])
    async def add_cue(scene: SceneName, cue: Cue) -> Response:
        """State a length of the real world, so that the map becomes metric."""
        try:
            await scenes.add_cue(SceneId(scene), cue)
        except ValueError as error:
            raise Unprocessable(str(error)) from error
        return Response(status_code=202)

    @api.get("/scenes/{scene}/export.{suffix}", tags=["map"], dependencies=[Depends(subscriber)])
    async def export(scene: SceneName, suffix: Literal["ply", "glb", "obj"]) -> FileResponse:
        """The mesh as a file."""
        if exporting.locked():
            raise Busy("other exports are running; try again in a moment", retry_after_s=5)
        async with exporting:
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="commonground-"))
            path = folder / f"{scene}.{suffix}"
            try:
                await scenes.export(SceneId(scene), path)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        clean_up = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
        return FileResponse(path, media_type=EXPORTS[suffix], filename=path.name, background=clean_up)

    @api.get("/streams", tags=["streams"])
    async def list_streams(grant: Grant = caller) -> list[StreamSummary]:
        """The cameras of the scenes the caller may see."""
        return [stream for stream in scenes.streams() if grant.allows(Role.SUBSCRIBE, stream.scene)]

    @api.get("/streams/{stream}", tags=["streams"])
    async def get_stream(stream: ShortName, grant: Grant = caller) -> StreamSummary:
        for summary in scenes.streams():
            if summary.stream == stream and grant.allows(Role.SUBSCRIBE, summary.scene):
                return summary
        raise NotFound(f"there is no stream {stream[:64]!r}")

    @api.delete("/streams/{stream}", status_code=204, tags=["streams"])
    async def delete_stream(stream: ShortName, request: Request) -> None:
        """End a stream and erase its keyframes and pictures; the fused geometry stays.

        The camera itself names it by the last part of its session's URL, also after the stream has ended. An admin
        may name it as everybody sees it.
        """
        owned = seals.open(stream)
        if owned is None:
            guard.require(request, Role.ADMIN, None)
        else:
            guard.require_somewhere(request, Role.PUBLISH)
        was_here = await scenes.delete_stream(StreamId(stream) if owned is None else owned.stream)
        if owned is None and not was_here:
            raise NotFound(f"there is no stream {stream[:64]!r}")

    @api.post("/scenes/{scene}/streams", status_code=201, tags=["streams"], dependencies=[Depends(publisher)])
    async def open_stream(scene: SceneName, response: Response, options: PosedOptions | None = None) -> NewStream:
        """Open a stream that brings its own poses: an AR app, a robot, a recording."""
        stream = await scenes.open_posed(SceneId(scene), options or PosedOptions())
        name = seals.seal(stream)
        response.headers["Location"] = f"/v1/streams/{name}"
        return NewStream(stream=stream, frames=f"/v1/streams/{name}/frames")

    @api.get("/devices", tags=["server"], dependencies=[Depends(admin)])
    async def list_devices() -> list[DeviceSummary]:
        """Devices of inference and what they are doing."""
        return scenes.devices()

    return api
