"""What a job brings: JSON with base64 or blobs by their hash, or a multipart form with files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar, get_args

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from server.api.contract import Busy, NotFound, Refused, Unprocessable
from server.assets.blobs import Blobs
from server.assets.values import Sha256
from server.jobs.inputs import LimitsConfig, TooLarge, Upload, from_base64
from server.jobs.values import UploadRole, Wanted

T = TypeVar("T")

MAX_READING = 4
"""Large bodies that are read at once."""
SMALL_BYTES = 256 * 1024
"""What says that it is no longer is read without a turn."""
TURN_S = 5.0
"""How long a large one waits for its turn."""
MAX_FIELDS = 32
_ROLES: tuple[UploadRole, ...] = get_args(UploadRole)


class BlobSource(BaseModel):
    """A file that was PUT to /v1/blobs before."""

    model_config = ConfigDict(extra="forbid")

    blob: Sha256


class InlineSource(BaseModel):
    """A file within the request."""

    model_config = ConfigDict(extra="forbid")

    base64: str


Source = BlobSource | InlineSource | str
"""A string is base64, with or without `data:...;base64,` before it."""
Sources = Annotated[list[Source], Field(max_length=64)]


class NewJob(Wanted):
    """A job to be done."""

    inputs: Mapping[UploadRole, Source | Sources] = Field(default={})


def openapi_of(kind: TypeAdapter[Any]) -> dict[str, Any]:
    """What a route that reads such JSON by itself adds to its description."""
    schema = kind.json_schema()
    body = _inlined(schema, schema.pop("$defs", {}))
    body.pop("discriminator", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}


def openapi() -> dict[str, Any]:
    """What the route that takes jobs adds to its description."""
    file = {"type": "string", "format": "binary"}
    parts = {"image": file, "mask": file, "images": {"type": "array", "items": file}, "mesh": file}
    members = {
        "job": {"type": "string", "description": "the JSON; or its members as fields of their own"},
        "providers": {"type": "array", "items": {"type": "string"}, "description": "one field each"},
    }
    schema = NewJob.model_json_schema()
    json_body = _inlined(schema, schema.pop("$defs"))
    form = {"type": "object", "properties": members | parts}
    content = {"application/json": {"schema": json_body}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema that refers to nothing."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {name: _inlined(value, definitions) for name, value in schema.items()}
    return [_inlined(value, definitions) for value in schema] if isinstance(schema, list) else schema


class NoSuchBody(Refused):
    status = 415


class Bodies:
    """Reads them, a few large ones at a time."""

    def __init__(self, limits: LimitsConfig, blobs: Blobs) -> None:
        self._limits, self._blobs = limits, blobs
        self._reading = asyncio.Semaphore(MAX_READING)

    async def read(self, request: Request) -> tuple[Wanted, list[Upload]]:
        """The job that a request brings, and its files, which nobody has looked at yet.

        Raises:
            Refused: its body is of no use; nothing was stored.
        """
        async with self._turn(request):
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "application/json":
                return await asyncio.to_thread(self.parse, await request.body())
            if kind == "multipart/form-data":
                return await self._form(request)
        raise NoSuchBody("send application/json or multipart/form-data")

    async def read_as(self, request: Request, kind: TypeAdapter[T]) -> T:
        """Other JSON, which may hold pictures, too; only for those who may write, and off the event loop.

        Raises:
            Refused: as `read`.
        """
        async with self._turn(request):
            body = await request.body()
            try:
                return await asyncio.to_thread(kind.validate_json, body)
            except ValidationError as error:
                raise Unprocessable(_told(error)) from error

    @asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        """Hold what large bodies share; those who write slowly, or much, keep no small one waiting."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) <= SMALL_BYTES:
            yield
            return
        try:
            async with asyncio.timeout(TURN_S):
                await self._reading.acquire()
        except TimeoutError:
            raise Busy("other large requests are being read; try again in a moment", retry_after_s=1) from None
        try:
            yield
        finally:
            self._reading.release()

    def parse(self, body: bytes) -> tuple[Wanted, list[Upload]]:
        """As `read`, out of JSON."""
        try:
            new = NewJob.model_validate_json(body)
        except ValidationError as error:
            raise Unprocessable(_told(error)) from error
        uploads = [
            Upload(role, self._bytes(source))
            for role, sources in new.inputs.items()
            for source in (sources if isinstance(sources, list) else [sources])
        ]
        return Wanted(**new.model_dump(exclude={"inputs"})), uploads

    async def _form(self, request: Request) -> tuple[Wanted, list[Upload]]:
        """`job` holds a job as JSON; besides or instead of it, each of its members may be a field, each file a part.

        Each of `providers` is a field of its own.
        """
        try:
            form = await request.form(max_files=self._limits.max_files + 1, max_fields=MAX_FIELDS)
        except HTTPException as error:
            raise Unprocessable(f"that is no form: {error.detail}") from error
        members: dict[str, Any] = {}
        racers: list[str] = []
        uploads: list[Upload] = []
        try:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    uploads.append(await self._part(name, value))
                elif name == "providers":
                    racers.append(value)
                else:
                    members |= _member(name, value)
        finally:
            await form.close()
        try:
            return Wanted.model_validate(members | ({"providers": racers} if racers else {})), uploads
        except ValidationError as error:
            raise Unprocessable(_told(error)) from error

    async def _part(self, name: str, part: UploadFile) -> Upload:
        role = next((role for role in _ROLES if role == name), None)
        if role is None:
            raise Unprocessable(f"no input is called {name[:32]!r}; there are {', '.join(_ROLES)}")
        if (part.size or 0) > self._limits.max_file_bytes:
            raise TooLarge(f"the file {role!r} has {part.size} bytes; at most {self._limits.max_file_bytes}")
        return Upload(role, await part.read())

    def _bytes(self, source: Source) -> bytes:
        if isinstance(source, BlobSource):
            size = self._blobs.size(source.blob)
            if size is None:
                raise NotFound(f"there is no blob {source.blob}")
            if size > self._limits.max_file_bytes:
                raise TooLarge(f"the blob has {size} bytes; at most {self._limits.max_file_bytes}")
            return self._blobs.path(source.blob).read_bytes()
        return from_base64(source if isinstance(source, str) else source.base64, self._limits)


def _member(name: str, value: str) -> dict[str, Any]:
    """One field of a form: `job` is JSON, so are those that are no plain words."""
    if name in ("job", "params", "webhook"):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            raise Unprocessable(f"the field {name!r} is no JSON") from None
        if not isinstance(found, dict):
            raise Unprocessable(f"the field {name!r} is no JSON object")
        return found if name == "job" else {name: found}
    return {name: value}


def _told(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)[:3])
