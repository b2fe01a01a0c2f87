"""The two tasks of `/qpipe/process`, with the names that its callers know: `scene-geometry`, `image-to-3d-asset`."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

from server.api.array_json import to_json
from server.api.assets import blob_url
from server.api.contract import NotFound, Unprocessable
from server.api.jobs_counter import Counter
from server.assets.bus import AssetBus
from server.assets.values import AssetFile, AssetType, Version
from server.auth import Grant
from server.generation.geometry import Config, Infer, SceneGeometry, check_number, decode, scene_geometry
from server.jobs.inputs import Upload, checked, from_base64
from server.jobs.values import Job, Output, Wanted
from server.workers.pool import NoPrediction

WAIT_S = 600.0
OUTPUTS: dict[str, Output] = {
    "mesh": "mesh",
    "3dgs": "3dgs",
    "nerf": "radiance_field",
    "radiance_field": "radiance_field",
}
Format = Literal["mesh", "3dgs", "nerf", "radiance_field"]
Base64 = Annotated[str, Field(max_length=15 << 20)]


class Failed(BaseModel):
    """Why there is no answer."""

    code: str
    message: str
    hint: str = ""


class QpipeResponse(BaseModel):
    """Of both tasks."""

    success: bool
    data: dict[str, Any] | None = None
    error: Failed | None = None


class SceneGeometryInputs(BaseModel):
    """Pictures of one scene, from different places."""

    model_config = ConfigDict(extra="forbid")

    images: list[Base64] = Field(min_length=1, max_length=64)
    query_points: list[tuple[FiniteFloat, FiniteFloat]] | None = Field(default=None, max_length=4096)
    """Pixels of the first picture, to be followed through the others."""


class AssetInputs(BaseModel):
    """What is to be made."""

    model_config = ConfigDict(extra="forbid")

    image: Base64 | None = None
    text: str | None = Field(default=None, max_length=2000)
    output_format: Format = "mesh"
    asset_type: AssetType = "prop"
    asset_name: str | None = Field(default=None, max_length=128)
    provider: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")] = "auto"
    seed: int = Field(default=1, ge=0, lt=2**31)


class GeometryTask(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task: Literal["scene-geometry"]
    inputs: SceneGeometryInputs


class AssetTask(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task: Literal["image-to-3d-asset"]
    inputs: AssetInputs


TASK: TypeAdapter[GeometryTask | AssetTask] = TypeAdapter(
    Annotated[GeometryTask | AssetTask, Field(discriminator="task")]
)
INPUTS = TypeAdapter(AssetInputs)


class Qpipe:
    """Does the tasks for HTTP callers."""

    def __init__(self, counter: Counter, bus: AssetBus, infer: Infer) -> None:
        self._counter, self._bus, self._infer = counter, bus, infer
        self._geometry = Config()

    async def geometry(self, inputs: SceneGeometryInputs) -> QpipeResponse | Response:
        """Cameras, depth, points and tracks, from the live engine, behind the phones' own windows; encoded already.

        Raises:
            Refused: the pictures are no good, or too many wait.
        """
        limits = self._counter.desk.config.limits

        def read() -> list[Any]:
            uploads = [Upload("images", from_base64(text, limits)) for text in inputs.images]
            checked(uploads, limits)
            check_number(len(uploads), self._geometry)
            return [decode(upload.data, self._geometry) for upload in uploads]

        images = await asyncio.to_thread(read)
        queries = np.array(inputs.query_points or [], np.float32).reshape(-1, 2)
        name = f"picture/{secrets.token_hex(8)}"
        try:
            found = await scene_geometry(images, queries, name, self._infer, self._geometry)
        except NoPrediction as error:
            hint = "take pictures that overlap, from places that differ"
            return QpipeResponse(success=False, error=Failed(code="no_geometry", message=str(error), hint=hint))
        body = await asyncio.to_thread(_geometry_json, found, bool(len(queries)))
        return Response(body, media_type="application/json")

    async def submit(self, grant: Grant, inputs: AssetInputs, key: str | None) -> Job:
        """Hand an asset in as a job; raises what `Counter.submit` does."""
        if inputs.image is None and not inputs.text:
            raise Unprocessable("give an image, a text, or both")
        uploads = []
        if inputs.image is not None:
            data = await asyncio.to_thread(from_base64, inputs.image, self._counter.desk.config.limits)
            uploads.append(Upload("image", data))
        wanted = Wanted(
            task="image-to-3d-asset" if uploads else "text-to-3d-asset",
            provider=inputs.provider,
            text=inputs.text or "",
            seed=inputs.seed,
            output=OUTPUTS[inputs.output_format],
            asset_name=inputs.asset_name or "",
            asset_type=inputs.asset_type,
        )
        return await self._counter.submit(grant, wanted, uploads, key)

    async def asset(self, request: Request, grant: Grant, inputs: AssetInputs, key: str | None) -> QpipeResponse:
        """Make an asset and wait for it."""
        job = await self.submit(grant, inputs, key)
        job = await self._counter.waited(request, job, WAIT_S)
        if job.state != "succeeded":
            failure = job.failure
            code = failure.code if failure is not None else job.state
            message = failure.message if failure is not None else f"job {job.job} is {job.state}"
            hint = failure.hint if failure is not None else f"see /v1/jobs/{job.job}"
            return QpipeResponse(success=False, error=Failed(code=code, message=message, hint=hint))
        version = await self.version(job)
        return QpipeResponse(success=True, data=_asset_data(version, inputs.output_format) | {"job_id": job.job})

    async def version(self, job: Job) -> Version:
        """Of a job that succeeded; raises NotFound, Gone."""
        if (result := job.result) is None:
            raise NotFound(f"job {job.job} has no result")
        return await self._bus.ask(lambda catalog, _: catalog.version(result.asset, result.version))


def path_of(version: Version, *roles: str) -> str | None:
    """Where a file of the first of these roles that is there can be fetched."""
    file = next((file for role in roles for file in version.files if file.role == role), None)
    return None if file is None else blob_url(file.sha256)


def main_file(version: Version) -> AssetFile:
    """The finest form of an asset."""
    return next((file for file in version.files if file.role in ("lod0", "splat")), version.files[0])


def _asset_data(version: Version, format: Format) -> dict[str, Any]:
    main = main_file(version)
    return {
        "format": format,
        "file_format": main.format,
        "asset_path": blob_url(main.sha256),
        "texture_path": path_of(version, "texture"),
        "preview_path": path_of(version, "thumbnail", "preview", "turntable"),
        "asset_id": version.asset,
        "version": version.version,
    }


def _geometry_json(found: SceneGeometry, has_tracks: bool) -> bytes:
    """A `QpipeResponse`, rounded to what float32 can say in a few digits."""
    tracks = [[None if np.isnan(p[0]) else p.tolist() for p in frame] for frame in found.tracks.round(2)]
    data = {
        "cams": {"extrinsic": found.extrinsic, "intrinsic": found.intrinsic},
        "depth": found.depth.astype(np.float64).round(4),
        "points": found.points.astype(np.float64).round(4),
        "colors": found.colors,
        "tracks": tracks if has_tracks else [],
        "spatial_understanding": "vggt_reconstructed",
        "geometry_type": "point_cloud_3d",
    }
    return to_json({"success": True, "data": data, "error": None})
