"""REST: slots, what they show, and changing them over."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from server.api import assets_access as access
from server.api.contract import Busy, Conflict, NotFound, Refused
from server.api.guard import Guard
from server.api.rest import PROBLEM
from server.api.whip import StaleTag
from server.assets.catalog import Catalog
from server.assets.database import Event
from server.assets.feed import Feed
from server.assets.leases import MAX_HELD, Held
from server.assets.opened import Assets
from server.assets.swap import Config, Policy, Rule, Slot
from server.assets.values import MAX_COUNT, Name, Placement, Ref
from server.auth import Grant

MAX_POLLING = 256
MAX_WAIT_S = 30.0
LISTED_AT_ONCE = 200
IfMatch = Annotated[str | None, Header(max_length=64)]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="seconds to wait for a change, with If-None-Match")]
View = dict[str, Any]


class SwapRequest(BaseModel):
    """What a slot is to show, and how carefully it changes over."""

    model_config = ConfigDict(extra="forbid")

    asset: Name
    version: int = Field(default=0, ge=0, le=MAX_COUNT)
    """0 = the latest."""
    revision: int | None = Field(default=None, ge=0, le=MAX_COUNT)
    """Of the slot as you know it (0: there is none yet); 409 if it has another by now. If-Match says the same."""
    scene: Name | None = None
    """Of a slot that is to be made."""
    placement: Placement | None = None
    policy: Rule | None = None
    share: float = Field(default=0.9, gt=0, le=1)
    """Of `quorum`: that share of the clients must be ready."""
    deadline_s: float | None = Field(default=None, gt=0, le=600)
    watch_s: float | None = Field(default=None, ge=0, le=3600)
    max_failed_share: float | None = Field(default=None, ge=0, le=1)

    def how(self, c: Config) -> Policy:
        """As asked; what was left out, as configured."""
        deadline_s = self.deadline_s if self.deadline_s is not None else c.deadline_s
        watch_s = self.watch_s if self.watch_s is not None else c.watch_s
        failed = self.max_failed_share if self.max_failed_share is not None else c.max_failed_share
        return Policy(self.policy or "all", self.share, int(deadline_s * 1e9), int(watch_s * 1e9), failed)


class RollbackRequest(BaseModel):
    """Which state of the slot is to be taken back."""

    model_config = ConfigDict(extra="forbid")

    revision: int | None = Field(default=None, ge=0, le=MAX_COUNT)


class HeldVersion(BaseModel):
    """One version in one slot."""

    model_config = ConfigDict(extra="forbid")

    slot: Name
    asset: Name
    version: int = Field(ge=1, le=MAX_COUNT)


class LeaseRequest(BaseModel):
    """All that a program holds."""

    model_config = ConfigDict(extra="forbid")

    held: list[HeldVersion] = Field(max_length=MAX_HELD)


class Lease(BaseModel):
    state: Literal["held"] = "held"
    ttl_s: float
    """Say it again within that time."""


def router(assets: Assets, guard: Guard) -> APIRouter:
    """Everything below /v1/slots, and leases of programs that hold no WebSocket open."""
    api = APIRouter(prefix="/v1", tags=["slots"], responses=PROBLEM)
    bus, polling = assets.bus, asyncio.Semaphore(MAX_POLLING)

    @api.get("/slots")
    async def list_slots(request: Request) -> list[View]:
        """The slots the caller may see."""
        grant = access.reader(guard, request)

        seen = [slot for slot in await bus.ask(lambda catalog, _: catalog.slots()) if access.may_see(grant, slot.scene)]
        views: list[View] = []
        for first in range(0, len(seen), LISTED_AT_ONCE):  # in pieces, so that others' requests are not held up
            some = [slot.slot for slot in seen[first : first + LISTED_AT_ONCE]]
            views += await bus.ask(lambda catalog, _, some=some: [catalog.view(s) for s in catalog.present(some)])  # type: ignore[misc]
        return views

    @api.get("/slots/{slot}")
    async def get_slot(
        request: Request,
        response: Response,
        slot: Name,
        wait: Annotated[
            float, Query(ge=0, le=MAX_WAIT_S, description="s to wait for a change, with If-None-Match")
        ] = 0,
    ) -> Any:
        """What a slot shows. With If-None-Match, 304 while that is what it shows; `wait` holds the answer back."""
        grant = access.reader(guard, request)
        known = request.headers.get("if-none-match", "")
        with _Watch(assets.feed, f"slot/{slot}") as watch:
            view, tag = await bus.ask(lambda catalog, _: _view(catalog, slot, grant))
            if tag == known and wait:
                if polling.locked():
                    raise Busy("too many wait for changes; ask again in a moment", retry_after_s=2)
                async with polling:
                    await watch.changed(wait)
                view, tag = await bus.ask(lambda catalog, _: _view(catalog, slot, grant))
        if tag == known:
            return Response(status_code=304, headers={"ETag": tag})
        response.headers.update({"ETag": tag, "Cache-Control": "no-cache"})
        return view

    @api.put("/slots/{slot}")
    async def swap_slot(
        request: Request, response: Response, slot: Name, to: SwapRequest, if_match: IfMatch = None
    ) -> View:
        """Change a slot over, making it if there is none. Asking the same again changes nothing."""
        grant = access.writer(guard, request)
        revision = _revision(if_match, to.revision)
        if to.placement is not None:
            access.check_changes(grant, to.placement.scene)

        def swap(catalog: Catalog, now_ns: int) -> tuple[View, str]:
            known = catalog.find_slot(slot)
            scene = to.scene if known is None else known.scene
            access.check_changes(grant, scene)
            if to.scene is not None and to.scene != scene:
                raise Conflict(f"slot {slot!r} belongs to {scene or 'no scene'}; make another for scene {to.scene!r}")
            access.check_sees(grant, catalog.scene_of(to.asset), f"asset {to.asset!r}")
            what, how = Ref(to.asset, to.version), to.how(catalog.config.swap)
            swapped = catalog.swap(slot, scene, what, revision, how, to.placement, now_ns)
            return catalog.view(swapped), etag(swapped)

        view, response.headers["ETag"] = await bus.ask(swap)
        return view

    @api.post("/slots/{slot}/rollback")
    async def roll_back(request: Request, response: Response, slot: Name, what: RollbackRequest | None = None) -> View:
        """Call a swap off, or go back to what the slot showed before."""
        grant = access.writer(guard, request)

        def back(catalog: Catalog, now_ns: int) -> tuple[View, str]:
            access.check_changes(grant, _seen(catalog, slot, grant).scene)
            rolled = catalog.roll_back(slot, None if what is None else what.revision, now_ns)
            return catalog.view(rolled), etag(rolled)

        view, response.headers["ETag"] = await bus.ask(back)
        return view

    @api.delete("/slots/{slot}", status_code=204)
    async def delete_slot(request: Request, slot: Name) -> None:
        """There is nothing in this place any more."""
        grant = access.writer(guard, request)

        def remove(catalog: Catalog, now_ns: int) -> None:
            access.check_changes(grant, _seen(catalog, slot, grant).scene)
            catalog.remove_slot(slot, now_ns)

        await bus.ask(remove)

    @api.put("/leases/{client}")
    async def hold(request: Request, client: Name, what: LeaseRequest) -> Lease:
        """Say what you hold, if you hold no WebSocket open; say it again before it runs out."""
        grant = access.reader(guard, request)
        held = [Held(one.slot, Ref(one.asset, one.version)) for one in what.held]
        await bus.ask(lambda catalog, now_ns: catalog.hold(f"http {grant.token_id} {client}", held, now_ns))
        return Lease(ttl_s=bus.config.lease_ttl_s)

    return api


def etag(slot: Slot) -> str:
    """Of what the slot shows and prepares."""
    phase = "" if slot.swap is None else ".watch" if slot.swap.is_committed else ".prepare"
    return f'"{slot.revision}{phase}"'


class _Watch:
    """Knows whether something happened to a key."""

    def __init__(self, feed: Feed, key: str) -> None:
        self._feed, self._key = feed, key
        self._happened = asyncio.Event()

    def __enter__(self) -> _Watch:
        self._feed.join(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.leave(self)

    def offer(self, event: Event) -> None:
        if event.key == self._key:
            self._happened.set()

    async def room(self) -> None:
        """It keeps nothing."""

    async def changed(self, wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._happened.wait()


def _seen(catalog: Catalog, slot: str, grant: Grant) -> Slot:
    found = catalog.find_slot(slot)
    if found is None or not access.may_see(grant, found.scene):
        raise NotFound(f"there is no slot {slot!r}")
    return found


def _view(catalog: Catalog, slot: str, grant: Grant) -> tuple[View, str]:
    found = _seen(catalog, slot, grant)
    return catalog.view(found), etag(found)


def _revision(if_match: str | None, given: int | None) -> int | None:
    if if_match is None:
        return given
    number = re.fullmatch(r'"(\d{1,18})(\.watch|\.prepare)?"', if_match.strip())
    if number is None:
        raise StaleTag("If-Match must be an ETag that this slot was given with")
    if given is not None and given != int(number[1]):
        raise Refused("If-Match and `revision` name different revisions")
    return int(number[1])
