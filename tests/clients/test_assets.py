"""The Python SDK against a real server: three lines bind a slot, and it is never empty."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clients.asset_store import Accept, AssetFile
from clients.assets import AssetClient, HttpError, Prepared, SdkError, connect_assets
from tests.server.assets.live import Live, live
from tests.server.assets.things import thing

NAMED = {name: thing(name) for name in ("old", "new", "bad")}
OLD, NEW, BAD = NAMED.values()


def _name(data: bytes) -> str:
    return next(name for name, one in NAMED.items() if one == data)


class Stage:
    """A program that shows one thing, and writes down what it is told."""

    def __init__(self, bad: tuple[bytes, ...] = ()) -> None:
        self.shown: bytes | None = None
        self.log: list[str] = []
        self.freed: list[bytes] = []
        self.has_freed = asyncio.Event()
        self._bad = bad
        self._changed = asyncio.Event()

    def prepare(self, new: Prepared) -> bytes:
        if new.data in self._bad:
            raise ValueError("it does not decode")
        return new.data

    def commit(self, new: bytes, old: bytes | None) -> None:
        assert old == self.shown
        self._show(f"commit {_name(new)}", new)

    def rollback(self, old: bytes) -> None:
        self._show(f"rollback {_name(old)}", old)

    def free(self, gone: bytes) -> None:
        self.freed.append(gone)
        self.has_freed.set()

    def _show(self, what: str, content: bytes) -> None:
        self.log.append(what)
        self.shown = content
        self._changed.set()

    async def until(self, content: bytes) -> None:
        async with asyncio.timeout(20):
            while self.shown != content:
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def playing(server: Live, stage: Stage) -> AsyncIterator[AssetClient]:
    async with connect_assets(server.url) as bus:
        bus.bind("place", prepare=stage.prepare, commit=stage.commit, rollback=stage.rollback, dispose=stage.free)
        yield bus


async def until(bus: AssetClient, type: str) -> None:
    """Wait for a message."""
    heard = asyncio.Event()
    bus.on_event = lambda message: heard.set() if message.type == type else None
    async with asyncio.timeout(20):
        await heard.wait()


async def test_slots_are_shown_swapped_and_rolled_back(tmp_path: Path) -> None:
    async with live(tmp_path) as server, connect_assets(server.url) as author:
        await author.publish("old", {"lod0": OLD})
        assert await author.publish("old", {"lod0": OLD}) == await author.publish("old", {"lod0": OLD})
        await author.publish("new", {"lod0": NEW})
        await author.swap("place", "old", watch_s=0)
        first, second = Stage(), Stage()
        async with playing(server, first), playing(server, second):
            await asyncio.gather(first.until(OLD), second.until(OLD))
            await author.swap("place", "new", watch_s=600)
            await asyncio.gather(first.until(NEW), second.until(NEW))
            assert (await author.roll_back("place")).current is not None
            await asyncio.gather(first.until(OLD), second.until(OLD))
            assert first.log == second.log == ["commit old", "commit new", "rollback old"]
            await author.hot_swap_asset("old", "new")
            await first.until(NEW)
        assert sorted(first.freed) == [NEW, OLD]


async def test_what_fails_for_too_many_is_never_shown(tmp_path: Path) -> None:
    async with live(tmp_path) as server, connect_assets(server.url) as author:
        await author.publish("old", {"lod0": OLD})
        await author.publish("bad", {"lod0": BAD})
        await author.swap("place", "old", watch_s=0)
        stage = Stage(bad=(BAD,))
        async with playing(server, stage) as bus:
            await stage.until(OLD)
            failed = asyncio.create_task(until(bus, "slot.rolled_back"))
            await asyncio.sleep(0)
            await author.swap("place", "bad", deadline_s=600)
            await failed
            slot = (await server.http.get("/v1/slots/place")).json()
            assert (slot["current"]["asset"], slot["reason"]) == ("old", "too many clients failed")
            assert (stage.shown, stage.log) == (OLD, ["commit old"])


async def test_old_resources_are_freed_when_there_is_no_way_back(tmp_path: Path) -> None:
    async with live(tmp_path) as server, connect_assets(server.url) as author:
        for asset in ("old", "new"):
            await author.publish(asset, {"lod0": NAMED[asset]})
        await author.swap("place", "old", watch_s=0)
        stage = Stage()
        async with playing(server, stage):
            await stage.until(OLD)
            await author.swap("place", "new", watch_s=0.2)
            await stage.until(NEW)
            async with asyncio.timeout(20):
                await stage.has_freed.wait()
            assert (stage.shown, stage.freed) == (NEW, [OLD])


async def test_lost_connections_are_taken_up_again(tmp_path: Path) -> None:
    async with live(tmp_path) as server, connect_assets(server.url) as author:
        for asset in ("old", "new"):
            await author.publish(asset, {"lod0": NAMED[asset]})
        await author.swap("place", "old", watch_s=0)
        stage = Stage()
        async with playing(server, stage) as bus:
            await stage.until(OLD)
            assert bus._socket is not None
            bus._socket.transport.abort()
            await author.swap("place", "new", policy="now")
            await stage.until(NEW)
            assert stage.log == ["commit old", "commit new"]


async def test_leases_follow_what_is_shown(tmp_path: Path) -> None:
    async with live(tmp_path) as server, connect_assets(server.url) as author:
        await author.publish("old", {"lod0": OLD})
        await author.swap("place", "old")
        stage = Stage()
        async with playing(server, stage) as bus:
            await stage.until(OLD)
            await until(bus, "pong")
            assert [(one.asset, one.loaded) for one in await author.assets()] == [("old", True)]


async def test_files_are_checked_and_chosen(tmp_path: Path) -> None:
    async with live(tmp_path) as server, connect_assets(server.url) as author:
        await author.publish("old", {"lod0": OLD})
        version = (await server.http.get("/v1/assets/old/versions/1")).json()
        file = AssetFile(role="lod0", format="glb", sha256=version["files"][0]["sha256"], size=len(OLD))
        assert await author.fetch(file) == OLD
        server.bus.blobs.path(file.sha256).write_bytes(OLD[::-1])
        with pytest.raises(HttpError, match="other bytes"):
            await author.fetch(file)
        coarse = AssetFile(role="lod1", format="glb", sha256="", size=2, triangles=10)
        packed = AssetFile(role="lod0", format="glb", sha256="", size=1, extensions=("EXT_meshopt_compression",))
        files = (coarse, packed, file)
        assert Accept().choose(files) == file
        assert Accept(extensions=frozenset({"EXT_meshopt_compression"})).choose(files) == packed
        assert Accept(max_triangles=100).choose(files) == coarse
        assert Accept(format="usdz").choose(files) is None


async def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(SdkError, match="commonground serve"):
        async with connect_assets("http://localhost:9"):
            pass
    async with live(tmp_path) as server:
        with pytest.raises(SdkError, match="not authorized"):
            async with connect_assets(server.url, token="bad"):
                pass
        async with connect_assets(server.url) as bus:
            stage = Stage()
            bus.bind("place", prepare=stage.prepare, commit=stage.commit)
            with pytest.raises(ValueError, match="bound already"):
                bus.bind("place", prepare=stage.prepare, commit=stage.commit)
            with pytest.raises(HttpError, match="there is no asset"):
                await bus.swap("place", "nothing")
            await bus.unbind("place")
