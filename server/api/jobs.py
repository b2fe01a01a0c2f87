"""REST: jobs are handed in, looked at, waited for, cancelled and tried again; and who does them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as UrlPath

from server.api import assets_access as access
from server.api.contract import Conflict, NotFound, Unprocessable
from server.api.guard import Guard
from server.api.jobs_bodies import Bodies, openapi
from server.api.jobs_view import JobView, ProviderView, job_view, provider_view
from server.api.rest import PROBLEM
from server.assets.bus import AssetBus
from server.assets.catalog import Catalog
from server.auth import Grant
from server.generation.keyframes import Keyframes, write
from server.generation.opened import Generation
from server.jobs.desk import MAX_WAIT_S
from server.jobs.inputs import Folder, Upload
from server.jobs.values import Job, State, Wanted
from streams.frame import SceneId

FilmScene = Callable[[SceneId, Mapping[str, Any]], Awaitable[tuple[Keyframes, dict[str, Any]]]]
PAGE = 1000
PATHS = frozenset({"/v1/jobs"})
"""Where bodies may be large."""
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=128)]
JobName = Annotated[str, UrlPath(pattern=r"^job-[0-9a-f]{24}$")]


class Counter:
    """Takes jobs in and lets their owners at them; also for the routes of other documents."""

    def __init__(self, generation: Generation, bus: AssetBus, guard: Guard, film: FilmScene) -> None:
        """`film` gives keyframes around what a job of the task `capture` points at."""
        self.desk, self.registry, self._bus, self._guard = generation.desk, generation.registry, bus, guard
        self._film = film
        self.bodies = Bodies(generation.desk.config.limits, bus.blobs)

    async def submit(
        self, request: Request, wanted: Wanted, uploads: list[Upload], key: str | None = None
    ) -> tuple[Job, bool]:
        """Take a job for whoever asks; whether it is new.

        Raises:
            Denied, Refused: they may not; the job is no good; too many wait.
        """
        grant = access.writer(self._guard, request)
        if wanted.scene is None:
            wanted = wanted.model_copy(update={"scene": access.scope(grant)})
        access.check_changes(grant, wanted.scene)
        if (asset := wanted.asset) is not None:
            await self._bus.ask(lambda catalog, _: _check_asset(catalog, asset, grant))
        if (slot := wanted.slot) is not None:
            await self._bus.ask(lambda catalog, _: _check_slot(catalog, slot, wanted.scene))
        scoped = None if key is None else f"{grant.scene} {key}"
        if wanted.task == "capture":
            return await self._capture(wanted, uploads, scoped)
        return await self.desk.submit(wanted, uploads, scoped)

    async def _capture(self, wanted: Wanted, uploads: list[Upload], key: str | None) -> tuple[Job, bool]:
        """With the keyframes of this moment: what is made does not depend on how long the job waits."""
        if wanted.scene is None:
            raise Unprocessable("a capture needs a `scene`")
        keyframes, params = await self._film(SceneId(wanted.scene), wanted.params)
        wanted = wanted.model_copy(update={"params": params})
        with tempfile.TemporaryDirectory(prefix="commonground-") as folder:
            path = Path(folder) / "keyframes"
            path.mkdir()
            await asyncio.to_thread(write, path, keyframes)
            return await self.desk.submit(wanted, [*uploads, Folder("keyframes", path)], key)

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


def router(counter: Counter, guard: Guard) -> APIRouter:
    """All routes below /v1/jobs that answer with JSON, and /v1/providers."""
    api = APIRouter(prefix="/v1", tags=["jobs"], responses=PROBLEM)
    desk = counter.desk

    @api.post("/jobs", status_code=202, openapi_extra=openapi())
    async def submit(request: Request, response: Response, key: Key = None) -> JobView:
        """Hand in a job. With an Idempotency-Key it can be repeated safely."""
        access.writer(guard, request)
        wanted, uploads = await counter.bodies.read(request)
        job, _ = await counter.submit(request, wanted, uploads, key)
        response.headers["Location"] = f"/v1/jobs/{job.job}"
        return await job_view(desk, job)

    @api.get("/jobs")
    async def list_jobs(
        request: Request,
        state: State | None = None,
        after: Annotated[str, Query(max_length=64, description="the last job of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
    ) -> list[JobView]:
        """Jobs of the scenes the caller may see, a page at a time."""
        scope = access.scope(access.reader(guard, request))
        known = "running" if state in ("loading", "yielding") else state
        page = await desk.ask(lambda store: store.page(scope, known, after, limit))
        views = [await job_view(desk, job) for job in page]
        return [view for view in views if state is None or view.state == state]

    @api.get("/jobs/{job}")
    async def get_job(
        request: Request,
        job: JobName,
        wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="seconds to wait for its end")] = 0.0,
    ) -> JobView:
        """A job as it stands; with `wait`, when it is over."""
        found = await counter.find(request, job)
        if wait > 0 and not found.is_over:
            found = await counter.waited(request, found, wait)
        return await job_view(desk, found)

    @api.delete("/jobs/{job}", status_code=202)
    @api.post("/jobs/{job}/cancel", status_code=202)
    async def cancel(request: Request, job: JobName) -> JobView:
        """Nobody wants it any more, also while it runs; 409 when it is over."""
        await counter.find(request, job, to_change=True)
        return await job_view(desk, await desk.cancel(job))

    @api.post("/jobs/{job}/retry", status_code=202)
    async def retry(request: Request, job: JobName) -> JobView:
        """Begin anew with the same seed, after it failed, expired or was cancelled."""
        await counter.find(request, job, to_change=True)
        return await job_view(desk, await desk.retry(job))

    @api.get("/providers")
    async def providers(request: Request) -> list[ProviderView]:
        """Who makes assets here, under which terms."""
        access.reader(guard, request)
        return [provider_view(one.description) for one in await asyncio.to_thread(counter.registry.all)]

    return api


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
