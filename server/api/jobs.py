"""REST: jobs are handed in, looked at, waited for, cancelled and tried again; and who does them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as UrlPath

from server.api import assets_access as access
from server.api.guard import Guard
from server.api.jobs_bodies import openapi
from server.api.jobs_counter import Counter
from server.api.jobs_view import JobView, ProviderView, job_view, job_views, provider_view
from server.api.rest import PROBLEM
from server.jobs.desk import MAX_WAIT_S
from server.jobs.values import State

PAGE = 1000
PATHS = frozenset({"/v1/jobs"})
"""Where bodies may be large."""
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=128)]
JobName = Annotated[str, UrlPath(pattern=r"^job-[0-9a-f]{24}$")]


def router(counter: Counter, guard: Guard) -> APIRouter:
    """All routes below /v1/jobs that answer with JSON, and /v1/providers."""
    api = APIRouter(prefix="/v1", tags=["jobs"], responses=PROBLEM)
    desk = counter.desk

    @api.post("/jobs", status_code=202, openapi_extra=openapi())
    async def submit(request: Request, response: Response, key: Key = None) -> JobView:
        """Hand in a job. With an Idempotency-Key it can be repeated safely."""
        grant = access.writer(guard, request)
        wanted, uploads = await counter.bodies.read(request)
        job = await counter.submit(grant, wanted, uploads, key)
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
        if state not in ("loading", "running", "yielding"):
            return await job_views(desk, await desk.ask(lambda store: store.page(scope, state, after, limit)))
        running = await desk.ask(lambda store: store.page(scope, "running", after, PAGE))  # one a device
        return [view for view in await job_views(desk, running) if view.state == state][:limit]

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
