"""Takes jobs in for whoever may hand them in, and lets their owners at them; behind every route that makes assets."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request

from server.api import assets_access as access
from server.api.contract import Conflict, NotFound, Unprocessable
from server.api.guard import Guard
from server.api.jobs_bodies import Bodies
from server.assets.bus import AssetBus
from server.assets.catalog import Catalog
from server.auth import Denied, Grant, Role
from server.film import PICKS, pick_within
from server.generation.keyframes import Keyframes, write
from server.generation.opened import Generation
from server.jobs.inputs import Folder, Upload, checked
from server.jobs.values import Job, Wanted, asset_named
from streams.frame import SceneId

FilmScene = Callable[[SceneId, Mapping[str, Any]], Awaitable[tuple[Keyframes, dict[str, Any]]]]


class Counter:
    """Takes jobs in and lets their owners at them; also for the routes of other documents."""

    def __init__(self, generation: Generation, bus: AssetBus, guard: Guard, film: FilmScene) -> None:
        """`film` gives keyframes around what a job of the task `capture` points at."""
        self.desk, self.registry, self._bus, self._guard = generation.desk, generation.registry, bus, guard
        self._film, self._for_admins = film, generation.for_admins
        self.bodies = Bodies(generation.desk.config.limits, bus.blobs)

    async def submit(self, grant: Grant, wanted: Wanted, uploads: list[Upload], key: str | None) -> Job:
        """Take a job for whoever asks; the one that `key` named before, if it did.

        Raises:
            Denied, Refused: they may not; the job is no good; too many wait.
        """
        if (kept := wanted.named & self._for_admins) and grant.role < Role.ADMIN:
            raise Denied(403, f"the provider {', '.join(sorted(kept))} is for the role admin")
        if wanted.named == {"auto"} and not (wanted.text.strip() or uploads or wanted.params):
            raise Unprocessable("say what is to be made: by a text, a picture, or, to capture, a point of the map")
        if wanted.scene is None:
            wanted = wanted.model_copy(update={"scene": access.scope(grant)})
        access.check_changes(grant, wanted.scene)
        if (asset := asset_named(wanted)) is not None:
            await self._bus.ask(lambda catalog, _: _check_asset(catalog, asset, grant))
        if (slot := wanted.slot) is not None:
            await self._bus.ask(lambda catalog, _: _check_slot(catalog, slot, wanted.scene))
        scoped = None if key is None else f"{grant.scene} {key}"
        if wanted.task == "capture":
            return await self._capture(wanted, uploads, scoped)
        return (await self.desk.submit(wanted, uploads, scoped))[0]

    async def _capture(self, asked: Wanted, uploads: list[Upload], key: str | None) -> Job:
        """With the keyframes of this moment: what is made does not depend on how long the job waits."""
        if asked.scene is None:
            raise Unprocessable("a capture needs a `scene`")
        await asyncio.to_thread(checked, uploads, self.desk.config.limits)
        if key is not None and (known := await self.desk.known(asked, uploads, key)) is not None:
            return known
        params = dict(asked.params)
        outline = next((upload.data for upload in uploads if upload.role == "mask"), None)
        if outline is not None and not PICKS & params.keys():
            params |= await asyncio.to_thread(pick_within, outline)
        keyframes, params = await self._film(SceneId(asked.scene), params)
        wanted = asked.model_copy(update={"params": params})
        with tempfile.TemporaryDirectory(prefix="commonground-") as folder:
            path = Path(folder) / "keyframes"
            path.mkdir()
            await asyncio.to_thread(write, path, keyframes)
            files: list[Upload | Folder] = [*uploads, Folder("keyframes", path)]
            return (await self.desk.submit(wanted, files, key, asked=asked))[0]

    async def waited(self, request: Request, job: Job, wait_s: float) -> Job:
        """A job at its end, or as it is after that time, or when the caller has gone."""
        waiting = asyncio.create_task(self.desk.wait(job.job, wait_s))
        leaving = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else job
        finally:
            waiting.cancel()
            leaving.cancel()
            await asyncio.gather(waiting, leaving, return_exceptions=True)

    async def find(self, request: Request, job: str, *, to_change: bool = False) -> Job:
        """Raises: NotFound, Denied."""
        grant = (access.writer if to_change else access.reader)(self._guard, request)
        return await self.seen(grant, job, to_change=to_change)

    async def seen(self, grant: Grant, job: str, *, to_change: bool = False) -> Job:
        """As `find`, for a grant that was read already."""
        found = await self.desk.get(job)
        if not access.may_see(grant, found.wanted.scene):
            raise NotFound(f"there is no job {job!r}")
        if to_change:
            access.check_changes(grant, found.wanted.scene)
        return found


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_asset(catalog: Catalog, asset: str, grant: Grant) -> None:
    """
    Raises:
        Denied: the asset is there, and not the caller's to change.
        NotFound: nor theirs to know of.
    """
    try:
        scene = catalog.scene_of(asset)
    except NotFound:
        return
    access.check_sees(grant, scene, f"asset {asset!r}")
    access.check_changes(grant, scene)


def _check_slot(catalog: Catalog, slot: str, scene: str | None) -> None:
    """Raises: Conflict: a slot of that name is there, and belongs to another scene than the job's."""
    known = catalog.find_slot(slot)
    if known is not None and known.scene != scene:
        raise Conflict(f"slot {slot!r} is not one of {'no scene' if scene is None else f'scene {scene!r}'}")
