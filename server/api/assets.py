"""REST: assets, their versions, and what suits a client best."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from server.api import assets_access as access
from server.api.contract import Busy
from server.api.guard import Guard
from server.api.rest import PROBLEM
from server.assets.bus import AssetBus
from server.assets.catalog import Catalog
from server.assets.resolve import Wish, rank
from server.assets.values import (
    MAX_COUNT,
    NAME_PATTERN,
    Asset,
    AssetFile,
    AssetType,
    Name,
    NewAsset,
    NewVersion,
    Placement,
    Role,
    Tombstone,
    Version,
)
from server.auth import Grant

PAGE = 1000
MAX_WAITING = 32
"""Versions that wait to be read."""
LISTED, LISTED_AT_ONCE = 10_000, 200
Limit = Annotated[int, Query(ge=1, le=PAGE)]
After = Annotated[str, Query(max_length=64, description="the last name of the page before")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=128)]
Count = Annotated[int | None, Query(ge=0, le=MAX_COUNT)]
Number = Annotated[int, Path(ge=1, le=MAX_COUNT)]


class NewNamed(NewAsset):
    """An asset to be made; its id is made from its name where none is given."""

    asset: Name | None = None


class Listed(BaseModel):
    """One line of `/assets/list`."""

    asset_id: str
    format: str | None
    """Of its latest version's finest file; null: nothing was published yet."""
    asset_type: AssetType
    loaded: bool
    usage_count: int


class AssetList(BaseModel):
    assets: list[Listed]


class Resolved(BaseModel):
    """The file that suits best."""

    asset: str
    """What the name stands for now."""
    version: int
    file: AssetFile
    url: str
    """Below the server's address; the bytes never change."""
    placement: Placement | None


class HotSwap(BaseModel):
    """Every slot that shows `old` changes over to `new`."""

    model_config = ConfigDict(extra="forbid")

    old: Name = Field(examples=["proxy_chair"])
    new: Name


class NotTaken(BaseModel):
    """A file that was not taken in."""

    file: str
    """Below the folder."""
    reason: str


class Discovered(BaseModel):
    folder: str
    """Where the server looked; `assets.discovery.folder` of its configuration."""
    published: list[Version]
    refused: list[NotTaken]
    """Broken ones; they are looked at again when they change."""
    waiting: int
    """Assets that are still being written."""
    skipped: list[str]
    """What is not looked at, and why; the first hundred."""


def router(bus: AssetBus, guard: Guard) -> APIRouter:
    """The list as other programs know it, and everything below /v1/assets."""
    api = APIRouter(tags=["assets"], responses=PROBLEM)
    discovering = asyncio.Lock()
    reading = asyncio.Lock()  # files are read one after the other, and who waits for that takes no thread
    room = asyncio.Semaphore(MAX_WAITING)

    @api.get("/assets/list")
    async def list_all(request: Request, asset_type: AssetType | None = None) -> AssetList:
        """All assets, short; the first 10,000."""
        grant = access.reader(guard, request)

        async def after(name: str) -> list[Listed]:
            return await bus.ask(lambda catalog, now_ns: _page(catalog, asset_type, grant, name, now_ns))

        listed = page = await after("")
        while len(page) == LISTED_AT_ONCE and len(listed) < LISTED:  # in pieces, so that others are not held up
            page = await after(page[-1].asset_id)
            listed = listed + page
        return AssetList(assets=listed)

    @api.get("/v1/assets")
    async def list_assets(
        request: Request, asset_type: AssetType | None = None, after: After = "", limit: Limit = 100
    ) -> list[Asset]:
        """Assets by name, a page at a time."""
        grant = access.reader(guard, request)
        scope = access.scope(grant)
        found = await bus.ask(lambda catalog, now_ns: catalog.assets(asset_type, scope, after, limit, now_ns))
        return [_shown(asset, grant) for asset in found]

    @api.post("/v1/assets", status_code=201)
    async def create_asset(request: Request, response: Response, new: NewNamed) -> Asset:
        """Make an asset, to which versions can then be published."""
        made = await register(access.writer(guard, request), new.asset, NewAsset(**new.model_dump(exclude={"asset"})))
        response.headers["Location"] = f"/v1/assets/{made.asset}"
        return made

    @api.put("/v1/assets/{asset}")
    async def put_asset(request: Request, asset: Name, new: NewAsset) -> Asset:
        """Make an asset of this id, or change what is known of it."""
        return await register(access.writer(guard, request), asset, new)

    async def register(grant: Grant, asset: str | None, new: NewAsset) -> Asset:
        access.check_changes(grant, new.scene)
        return await bus.ask(lambda catalog, now_ns: catalog.register(asset, new, now_ns))

    @api.post("/v1/assets/discover")
    async def discover(request: Request) -> Discovered:
        """Take in what is new in the server's asset folder; OBJ, STL and PLY are converted to GLB."""
        access.check_everywhere(access.writer(guard, request))
        if discovering.locked():
            raise Busy("the folder is being looked at already", retry_after_s=2)
        async with discovering:
            found = await asyncio.to_thread(bus.look_for_assets)
        return Discovered(
            folder=str(found.folder.absolute()),
            published=list(found.published),
            refused=[NotTaken(file=file, reason=reason) for file, reason in found.refused.items()],
            waiting=found.unsettled,
            skipped=list(found.skipped),
        )

    @api.post("/v1/assets/hot-swap")
    async def hot_swap(request: Request, what: HotSwap) -> list[dict[str, Any]]:
        """Swap an asset for another wherever it is shown; the slots that change over."""
        grant = access.writer(guard, request)

        def swap(catalog: Catalog, now_ns: int) -> list[dict[str, Any]]:
            access.check_changes(grant, catalog.asset(what.old, now_ns).scene)
            access.check_sees(grant, catalog.asset(what.new, now_ns).scene, f"asset {what.new!r}")
            for slot in catalog.showing(what.old):
                access.check_changes(grant, slot.scene)
            return [catalog.view(slot) for slot in catalog.hot_swap(what.old, what.new, now_ns)]

        return await bus.ask(swap)

    @api.get("/v1/assets/{asset}")
    async def get_asset(request: Request, asset: Name) -> Asset:
        """What is known of an asset; 410 with what replaces it when it is gone."""
        grant = access.reader(guard, request)
        return _shown(await bus.ask(lambda catalog, now_ns: _seen(catalog, asset, grant, now_ns)), grant)

    @api.delete("/v1/assets/{asset}")
    async def delete_asset(
        request: Request,
        asset: Name,
        reason: Annotated[str, Query(max_length=256)] = "deleted",
        replacement: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
    ) -> Tombstone:
        """Delete an asset; slots that show it change over to the replacement, if there is one."""
        grant = access.writer(guard, request)

        def bury(catalog: Catalog, now_ns: int) -> Tombstone:
            access.check_changes(grant, catalog.scene_of(asset))
            if replacement is not None:
                access.check_sees(grant, catalog.asset(replacement, now_ns).scene, f"asset {replacement!r}")
                for slot in catalog.showing(asset):
                    access.check_changes(grant, slot.scene)
            return catalog.bury(asset, reason, replacement, now_ns)

        return await bus.ask(bury)

    @api.post("/v1/assets/{asset}/versions", status_code=201)
    async def publish(request: Request, response: Response, asset: Name, new: NewVersion, key: Key = None) -> Version:
        """Add a version of files whose blobs are here. With an Idempotency-Key it can be repeated safely.

        Every file is read first; one that is broken, or not what it is said to be, is refused (422). `bbox_m`,
        `quality` and a thumbnail are added where they are not given.
        """
        grant = access.writer(guard, request)
        if new.placement is not None:
            access.check_changes(grant, new.placement.scene)

        def add(catalog: Catalog, now_ns: int) -> Version:
            access.check_changes(grant, catalog.asset(asset, now_ns).scene)
            return catalog.publish(asset, whole, None if key is None else f"{grant.scene} {asset} {key}", now_ns)

        known = await bus.ask(lambda catalog, now_ns: catalog.asset(asset, now_ns))
        access.check_changes(grant, known.scene)
        if room.locked():
            raise Busy("many versions wait to be read; try again in a moment", retry_after_s=5)
        async with room, reading:
            whole = await asyncio.to_thread(bus.examined, new, known.name, known.type)
        made = await bus.ask(add)
        response.headers["Location"] = f"/v1/assets/{asset}/versions/{made.version}"
        return made

    @api.get("/v1/assets/{asset}/versions/{version}")
    async def get_version(request: Request, asset: Name, version: Number) -> Version:
        grant = access.reader(guard, request)

        def read(catalog: Catalog, now_ns: int) -> Version:
            access.check_sees(grant, catalog.scene_of(asset), f"asset {asset!r}")
            return catalog.version(asset, version)

        return await bus.ask(read)

    @api.put("/v1/assets/{asset}/placement")
    async def place(request: Request, asset: Name, placement: Placement) -> Placement:
        """Stand an asset somewhere in a map; it moves along when the map is corrected."""
        grant = access.writer(guard, request)
        access.check_changes(grant, placement.scene)

        def put(catalog: Catalog, now_ns: int) -> Placement:
            access.check_changes(grant, catalog.asset(asset, now_ns).scene)
            return catalog.place(asset, placement, now_ns)

        return await bus.ask(put)

    @api.get("/v1/assets/{asset}/resolve")
    async def resolve(
        request: Request,
        asset: Name,
        version: Annotated[int | None, Query(ge=1, le=MAX_COUNT)] = None,
        format: Annotated[str | None, Query(max_length=16)] = None,
        role: Role | None = None,
        ext: Annotated[str, Query(max_length=1024, description="extensions the client reads, with commas")] = "",
        max_triangles: Count = None,
        max_bytes: Count = None,
    ) -> Resolved:
        """The file of an asset (or of what it was swapped for) that suits a client best; 406 when none does."""
        grant = access.reader(guard, request)
        wish = Wish(format, role, frozenset(filter(None, ext.split(","))), max_triangles, max_bytes)

        def choose(catalog: Catalog, now_ns: int) -> Resolved:
            _seen(catalog, asset, grant, now_ns)
            found, file = catalog.resolve(asset, version, wish)
            stands = _shown(_seen(catalog, found.asset, grant, now_ns), grant).placement
            url = blob_url(file.sha256)
            return Resolved(asset=found.asset, version=found.version, file=file, url=url, placement=stands)

        return await bus.ask(choose)

    return api


def blob_url(sha256: str) -> str:
    return f"/v1/blobs/sha256/{sha256}"


def _seen(catalog: Catalog, asset: str, grant: Grant, now_ns: int) -> Asset:
    """An asset, if the caller may know of it; raises NotFound, Gone."""
    access.check_sees(grant, catalog.scene_of(asset), f"asset {asset!r}")
    return catalog.asset(asset, now_ns)


def _shown(asset: Asset, grant: Grant) -> Asset:
    """Without where it stands, if that is in a scene of others'."""
    if asset.placement is None or access.may_see(grant, asset.placement.scene):
        return asset
    return asset.model_copy(update={"placement": None})


def _page(catalog: Catalog, asset_type: AssetType | None, grant: Grant, after: str, now_ns: int) -> list[Listed]:
    found = catalog.assets(asset_type, access.scope(grant), after, LISTED_AT_ONCE, now_ns)
    return [_listed(catalog, asset) for asset in found]


def _listed(catalog: Catalog, asset: Asset) -> Listed:
    format = min(catalog.version(asset.asset, asset.latest).files, key=rank).format if asset.latest else None
    return Listed(
        asset_id=asset.asset,
        format=format,
        asset_type=asset.type,
        loaded=asset.loaded,
        usage_count=asset.usage_count,
    )
