"""Routes as other documents write them, each a few lines over the same jobs: `/qpipe/process`, `/trellis/generate`,
`/reconstruct` and its status, `/api/generate/image-to-3d`. (`/assets/list` is with the assets.)"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from server.api import assets_access as access
from server.api.contract import Unprocessable
from server.api.guard import Guard
from server.api.jobs import Key
from server.api.jobs_bodies import openapi, openapi_of
from server.api.jobs_counter import Counter
from server.api.jobs_view import job_view
from server.api.qpipe import INPUTS, TASK, AssetTask, Qpipe, QpipeResponse, main_file
from server.api.rest import PROBLEM
from server.assets.blobs import Blobs
from server.auth import Grant
from server.jobs.inputs import Upload
from server.jobs.values import Job, Wanted

PATHS = frozenset({"/qpipe/process", "/trellis/generate", "/reconstruct", "/api/generate/image-to-3d"})
"""Where bodies may be large."""
JobName = Annotated[str, Path(pattern=r"^job-[0-9a-f]{24}$")]
Status = Literal["queued", "processing", "completed", "failed"]


class Started(BaseModel):
    """A job that goes on by itself."""

    job_id: str
    status: Status
    asset_id: str
    status_url: str


class Reconstruction(BaseModel):
    """How a job goes."""

    job_id: str
    status: Status
    progress: float = Field(ge=0, le=1)
    metadata: dict[str, Any]


class Generated(BaseModel):
    """What `/api/generate/image-to-3d` answers at once; the measured figures come with the job's result."""

    job_id: str
    pipeline: str
    source_type: str
    provider: str
    status: Status
    message: str
    quality_metrics: dict[str, Any]


def router(counter: Counter, guard: Guard, qpipe: Qpipe, blobs: Blobs) -> APIRouter:
    """All of them."""
    api = APIRouter(tags=["aliases"], responses=PROBLEM)

    @api.post("/qpipe/process", response_model=QpipeResponse, openapi_extra=openapi_of(TASK))
    async def process(request: Request, key: Key = None) -> QpipeResponse | Response:
        """Do a task and wait for it; what fails is answered with `success: false` and why."""
        grant = access.writer(guard, request)
        asked = await counter.bodies.read_as(request, TASK)
        if isinstance(asked, AssetTask):
            return await qpipe.asset(request, grant, asked.inputs, key)
        return await qpipe.geometry(asked.inputs)

    @api.post("/trellis/generate", status_code=202, openapi_extra=openapi_of(INPUTS))
    async def generate(request: Request, response: Response, key: Key = None) -> Started:
        """An asset of a picture or a text, in the background."""
        grant = access.writer(guard, request)
        inputs = await counter.bodies.read_as(request, INPUTS)
        return _started(response, await qpipe.submit(grant, inputs, key))

    @api.post("/reconstruct", status_code=202, openapi_extra=openapi())
    async def reconstruct(request: Request, response: Response, key: Key = None) -> Started:
        """An object of one or more pictures, in the background: a form with files, or JSON with base64."""
        grant = access.writer(guard, request)
        wanted, uploads = await counter.bodies.read(request)
        if not uploads:
            raise Unprocessable("bring at least one picture; this server reads no folders of yours")
        return _started(response, await _submit(grant, wanted, uploads, key))

    @api.get("/reconstruct/status/{job_id}")
    async def status(request: Request, job_id: JobName) -> Reconstruction:
        """How it goes; when it is done, where the mesh is."""
        job = await counter.find(request, job_id)
        view = await job_view(counter.desk, job)
        metadata: dict[str, Any] = {"provider": view.provider, "stage": view.stage, "eta_s": view.eta_s}
        if job.state == "succeeded":
            metadata |= await _made(job)
        elif view.failure is not None:
            metadata["error"] = view.failure.model_dump()
        return Reconstruction(job_id=job_id, status=_status(job), progress=view.progress, metadata=metadata)

    @api.post("/api/generate/image-to-3d", status_code=202, openapi_extra=openapi())
    async def image_to_3d(request: Request, response: Response, key: Key = None) -> Generated:
        """An asset of one picture, in the background."""
        grant = access.writer(guard, request)
        wanted, uploads = await counter.bodies.read(request)
        if len(uploads) != 1:
            raise Unprocessable("bring exactly one picture, as `image`")
        job = await _submit(grant, wanted, uploads, key)
        _started(response, job)
        return Generated(
            job_id=job.job,
            pipeline="image-to-3d",
            source_type="image",
            provider=job.wanted.provider,
            status=_status(job),
            message=f"see /v1/jobs/{job.job}",
            quality_metrics={"estimated_cost": "$0.00"},
        )

    async def _submit(grant: Grant, wanted: Wanted, uploads: list[Upload], key: str | None) -> Job:
        """One picture is an image, however it was called; several are a set."""
        role: Literal["image", "images"] = "image" if len(uploads) == 1 else "images"
        renamed = [Upload(role, upload.data) if upload.role in ("image", "images") else upload for upload in uploads]
        return await counter.submit(grant, wanted, renamed, key)

    async def _made(job: Job) -> dict[str, Any]:
        version = await qpipe.version(job)
        main = main_file(version)
        where = {"mesh_url": f"/v1/blobs/sha256/{main.sha256}", "asset_id": version.asset, "format": main.format}
        sizes = {"num_faces": main.triangles, "size_bytes": blobs.size(main.sha256), "bbox_m": version.bbox_m}
        return where | sizes | {"quality_metrics": version.quality}

    return api


def _started(response: Response, job: Job) -> Started:
    response.headers["Location"] = f"/v1/jobs/{job.job}"
    url = f"/reconstruct/status/{job.job}"
    return Started(job_id=job.job, status=_status(job), asset_id=job.asset, status_url=url)


def _status(job: Job) -> Status:
    if job.is_over:
        return "completed" if job.state == "succeeded" else "failed"
    return "queued" if job.state == "queued" else "processing"
