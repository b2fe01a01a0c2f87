"""The asset bus of a running server: opened, fed to its event loop, and told of the maps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mapping.transforms import Sim3, rotation_from_quat
from server.api.contract import Busy
from server.assets.bus import AssetBus
from server.assets.catalog import Config
from server.assets.feed import Feed
from server.bus.bus import Bus
from server.bus.channel import Channel, Entry, Move
from server.protocol import Xform, unpack_server

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Assets:
    """What the HTTP layer needs."""

    bus: AssetBus
    feed: Feed


@contextlib.asynccontextmanager
async def opened(config: Config, folder: Path, maps: Bus) -> AsyncIterator[Assets]:
    """The asset bus of a folder while the context lasts; assets that stand in one of `maps` move with it.

    Raises:
        OSError, sqlite3.DatabaseError: the folder cannot be used.
    """
    bus = await asyncio.to_thread(AssetBus, folder, config)
    try:
        feed = Feed(bus)
        await feed.start()
        maps.follow(lambda channel: channel.listen(_MapFollower(bus, channel)))
        scanning = asyncio.create_task(_scan(bus, config.discovery.every_s), name="discover assets")
        try:
            yield Assets(bus, feed)
        finally:
            scanning.cancel()
            feed.stop()
    finally:
        await asyncio.to_thread(bus.close)


class _MapFollower:
    """Listens to one scene's channel for corrections of the whole map."""

    def __init__(self, bus: AssetBus, channel: Channel) -> None:
        self._bus, self._scene = bus, channel.scene
        with _tolerated():
            bus.open_map(channel.scene, channel.lineage, channel.epoch)

    def on_entry(self, entry: Entry) -> None:
        """Tiles do not move assets."""

    def on_move(self, move: Move) -> None:
        message, _ = unpack_server(move.frame)
        assert isinstance(message, Xform)
        rotation = rotation_from_quat(message.quat_wxyz)
        new_from_old = Sim3(message.scale, rotation, np.array(message.translation_m))
        with _tolerated():
            self._bus.move_map(self._scene, new_from_old, message.epoch)

    def on_event(self, frame: bytes) -> None:
        """Nor do events."""


@contextlib.contextmanager
def _tolerated() -> Iterator[None]:
    """A map goes on whatever becomes of the assets in it."""
    try:
        yield
    except Busy as busy:
        log.warning("assets do not follow their map", extra={"reason": busy.detail})


async def _scan(bus: AssetBus, every_s: float | None) -> None:
    """Look into the asset folder from time to time, if so configured."""
    if every_s is None:
        return
    while True:
        try:
            await asyncio.to_thread(bus.discover_assets)
        except Exception:
            log.exception("looking for assets failed")
        await asyncio.sleep(every_s)
