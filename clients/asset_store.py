"""Assets by plain requests: publish and swap them, list them, fetch and check their files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from clients.http import Http, HttpError

SHOWN = ("lod0", "lod1", "lod2")
_MIME = {"glb": "model/gltf-binary", "png": "image/png", "jpg": "image/jpeg"}
T = TypeVar("T")


class AssetFile(msgspec.Struct, frozen=True):
    """One file of a version; the bytes are the blob `sha256`."""

    role: str
    format: str
    sha256: str
    size: int
    encoding: str = "identity"
    mime: str = "application/octet-stream"
    extensions: tuple[str, ...] = ()
    triangles: int | None = None


class Ref(msgspec.Struct, frozen=True):
    """One version of one asset."""

    asset: str
    version: int


class Asset(msgspec.Struct, frozen=True):
    """What is known of an asset."""

    asset: str
    name: str
    type: str
    latest: int
    usage_count: int = 0
    loaded: bool = False
    alias_of: str | None = None
    placement: dict[str, Any] | None = None


class Slot(msgspec.Struct, frozen=True):
    """What a slot shows."""

    slot: str
    revision: int = msgspec.field(name="rev")
    current: Ref | None


@dataclass(frozen=True, slots=True)
class Accept:
    """What a program can load."""

    format: str = "glb"
    extensions: frozenset[str] = frozenset()
    max_triangles: int | None = None
    max_bytes: int = 256 << 20

    def choose(self, files: Sequence[AssetFile]) -> AssetFile | None:
        """The finest level of detail that can be loaded, in its smallest variant; None when there is none."""
        fits = [file for file in files if file.role in SHOWN and self._takes(file)]
        return min(fits, key=lambda file: (SHOWN.index(file.role), file.size), default=None)

    def _takes(self, file: AssetFile) -> bool:
        too_fine = self.max_triangles is not None and (file.triangles is None or file.triangles > self.max_triangles)
        return (
            file.format == self.format
            and self.extensions.issuperset(file.extensions)
            and file.size <= self.max_bytes
            and not too_fine
        )


class AssetStore:
    """Requests about assets to one server. Every method raises HttpError when it refuses or cannot be reached."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def assets(self) -> list[Asset]:
        """All assets that the token lets one see, page by page."""
        found: list[Asset] = []
        while True:
            after = quote(found[-1].asset, safe="") if found else ""
            page = await self._ask("GET", f"v1/assets?limit=1000&after={after}", None, list[Asset])
            found += page
            if not page:
                return found

    async def publish(
        self, asset: str, files: Mapping[str, bytes | Path], *, asset_type: str = "prop", scene: str | None = None,
        request: str | None = None, **facts: Any,
    ) -> Ref:  # fmt: skip
        """Publish files by role (`lod0`, `preview`, ...) as a version; the same again is no new one.

        Args:
            request: names the request, so that it may be repeated even when other versions came since.
            facts: `placement`, `bbox_m`, `provenance`, ... in the words of the HTTP interface.
        """
        told = [await self._upload(role, content) for role, content in files.items()]
        about = {"name": asset, "type": asset_type, "scene": scene}
        await self._ask("PUT", f"v1/assets/{quote(asset, safe='')}", about, dict[str, Any])
        url = f"v1/assets/{quote(asset, safe='')}/versions"
        return await self._ask("POST", url, {"files": told, **facts}, Ref, request)

    async def swap(self, slot: str, asset: str, version: int = 0, **how: Any) -> Slot:
        """Change a slot over (to the latest version), making it if there is none.

        `how`: `revision`, `policy`, `deadline_s`, ... in the words of the HTTP interface.
        """
        return await self._ask("PUT", _slot_url(slot), {"asset": asset, "version": version, **how}, Slot)

    async def roll_back(self, slot: str, revision: int | None = None) -> Slot:
        """Call a swap off, or go back to what the slot showed before."""
        return await self._ask("POST", f"{_slot_url(slot)}/rollback", {"revision": revision}, Slot)

    async def hot_swap_asset(self, old: str, new: str) -> list[Slot]:
        """Change every slot that shows `old` over to `new`, which `old` stands for from now on."""
        return await self._ask("POST", "v1/assets/hot-swap", {"old": old, "new": new}, list[Slot])

    async def fetch(self, file: AssetFile) -> bytes:
        """The bytes of a file, checked against its hash; broken downloads are tried once more."""
        for _ in range(2):
            answer = await self._http.request("GET", _blob_url(file.sha256), max_bytes=file.size + 1)
            if len(answer.body) == file.size and hashlib.sha256(answer.body).hexdigest() == file.sha256:
                return answer.body
        raise HttpError(f"the blob {file.sha256} came with other bytes", answer.status)

    async def _upload(self, role: str, content: bytes | Path) -> dict[str, Any]:
        data = content if isinstance(content, bytes) else await asyncio.to_thread(content.read_bytes)
        format = "glb" if isinstance(content, bytes) else content.suffix[1:].lower()
        sha256 = hashlib.sha256(data).hexdigest()
        await self._http.request("PUT", _blob_url(sha256), data, "application/octet-stream")
        mime = _MIME.get(format, "application/octet-stream")
        return {"role": role, "format": format, "sha256": sha256, "size": len(data), "mime": mime}

    async def _ask(self, method: str, url: str, body: Any, answer: type[T], request: str | None = None) -> T:
        packed = None if body is None else msgspec.json.encode(body)
        headers = {} if request is None else {"Idempotency-Key": request}
        got = await self._http.request(method, url, packed, headers=headers)
        try:
            return msgspec.json.decode(got.body, type=answer)
        except msgspec.DecodeError as error:
            raise HttpError(f"{url} answered what this SDK cannot read: {error}", got.status) from error


def _blob_url(sha256: str) -> str:
    return f"v1/blobs/sha256/{sha256}"


def _slot_url(slot: str) -> str:
    return f"v1/slots/{quote(slot, safe='')}"
