"""The asset bus of a process: one thread owns the catalog, everybody else asks it.

    bus = get_asset_bus()
    bus.discover_assets()
    bus.list_assets(asset_type="prop")
    bus.hot_swap_asset("old_chair", "new_chair")

Methods may be called from any thread; in coroutines `await bus.ask(...)` instead, which does not block. The thread
takes one request after the other, and lets time pass for swaps when nothing is asked.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from mapping.transforms import Sim3
from server.api.contract import Busy
from server.assets.blobs import Blobs, Swept
from server.assets.catalog import Catalog, Config
from server.assets.database import Event
from server.assets.discovery import Group
from server.assets.examining import Examiner
from server.assets.formats import MIME, PLAIN
from server.assets.intake import Found, Intake
from server.assets.reader import get_reader
from server.assets.swap import Policy, Slot
from server.assets.values import Asset, AssetFile, AssetType, NewAsset, NewVersion, Ref, Role, Version, is_name
from server.datadir import locked

T = TypeVar("T")
Listener = Callable[[list[Event]], None]
Work = Callable[[Catalog, int], T]
"""What is done with the catalog, at Unix ns."""

MAX_WAITING = 8192
LIST_LIMIT = 100_000
RETRY_S = 1.0
"""After a full disk, deadlines are tried again so often."""
LEAST_GRACE_S = 60.0
log = logging.getLogger(__name__)


class AssetBus:
    """Opens a folder of assets; `close` it, or use it as a context."""

    def __init__(self, folder: Path, config: Config | None = None) -> None:
        """
        Raises:
            OSError, sqlite3.DatabaseError: the folder cannot be used.
        """
        self.config = config or Config()
        self._listeners: tuple[Listener, ...] = ()
        self._queue: queue.Queue[tuple[Work[Any], Future[Any] | None] | None] = queue.Queue(MAX_WAITING)
        self._is_closed = False
        self._sweeper = ThreadPoolExecutor(1, thread_name_prefix="asset sweep")
        opened: Future[tuple[Blobs, str]] = Future()
        self._thread = threading.Thread(target=self._live, args=(folder, opened), name="asset bus", daemon=True)
        self._thread.start()
        self.blobs, self.epoch = opened.result()
        self._examiner = Examiner(self.blobs, get_reader())
        self._intake = Intake(self.config.discovery, self.blobs, self.config.max_blob_bytes)

    def __enter__(self) -> AssetBus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do what is still waiting, then let go of the folder."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
            self._thread.join()
            self._sweeper.shutdown()

    # -- asking the thread ---------------------------------------------------------------------------------------------

    def submit(self, work: Work[T]) -> Future[T]:
        """Have something done by the thread.

        Raises:
            Busy: too much is waiting already.
        """
        future: Future[T] = Future()
        self._put(work, future)
        return future

    def tell(self, work: Work[Any]) -> None:
        """Have something done whose result nobody needs; raises what `submit` does."""
        self._put(work, None)

    def do(self, work: Work[T]) -> T:
        """Have something done, and wait for it; from any thread but an event loop's."""
        return self.submit(work).result()

    async def ask(self, work: Work[T]) -> T:
        """Have something done, without blocking the event loop."""
        return await asyncio.wrap_future(self.submit(work))

    def listen(self, listener: Listener) -> int:
        """Tell `listener` of everything that is committed from now on, in the bus's thread; the newest `seq` before."""

        def join(catalog: Catalog, _: int) -> int:
            self._listeners = (*self._listeners, listener)
            return catalog.seq

        return self.do(join)

    def unlisten(self, listener: Listener) -> None:
        self._listeners = tuple(one for one in self._listeners if one is not listener)

    # -- what programs do ----------------------------------------------------------------------------------------------

    def register(
        self,
        name: str,
        files: Mapping[Role, bytes | Path],
        *,
        asset: str | None = None,
        asset_type: AssetType = "prop",
        tags: tuple[str, ...] = (),
        formats: Mapping[Role, str] | None = None,
        **facts: Any,
    ) -> Version:
        """Publish files as a version of an asset; the same again is no new one.

        Args:
            asset: its id; a name that is fit for URLs is one by itself.
            formats: of files given as bytes (`glb` if left out); paths have a suffix.
            facts: more of `NewVersion`: `bbox_m`, `pivot_m`, `placement`, `quality`, `provenance`, ...

        Raises:
            Unprocessable: a file is broken, or is not what it is said to be.
        """
        made = tuple(self._file(role, content, (formats or {}).get(role)) for role, content in files.items())
        new = NewAsset(name=name, type=asset_type, tags=tags)
        version = self.examined(NewVersion(files=made, **facts), name, asset_type)

        def publish(catalog: Catalog, now_ns: int) -> Version:
            id = asset or (name if is_name(name) else None)
            return catalog.publish(catalog.register(id, new, now_ns).asset, version, None, now_ns)

        return self.do(publish)

    def examined(self, version: NewVersion, name: str, type: AssetType) -> NewVersion:
        """What is to be published, measured, and with a thumbnail; it may take seconds.

        Raises:
            Unprocessable: a file is broken, or is not what it is said to be.
            StorageFull: there is no room for the thumbnail.
        """
        return self._examiner.examined(version, name, type)

    def list_assets(self, asset_type: AssetType | None = None) -> list[Asset]:
        """All assets, with who uses them."""
        return self.do(lambda catalog, now_ns: catalog.assets(asset_type, None, "", LIST_LIMIT, now_ns))

    def get(self, asset: str) -> Asset:
        """Raises: NotFound, Gone."""
        return self.do(lambda catalog, now_ns: catalog.asset(asset, now_ns))

    def bind(
        self, slot: str, asset: str, version: int = 0, *, scene: str | None = None, policy: Policy | None = None
    ) -> Slot:
        """Put an asset (its latest version) into a slot, whatever was in it."""
        to = Ref(asset, version)
        return self.do(lambda catalog, now_ns: catalog.swap(slot, scene, to, None, policy, None, now_ns))

    def hot_swap_asset(self, old_asset_id: str, new_asset_id: str) -> list[Slot]:
        """Every slot that shows the old one changes over; the old name stands for the new asset from now on."""
        return self.do(lambda catalog, now_ns: catalog.hot_swap(old_asset_id, new_asset_id, now_ns))

    def discover_assets(self) -> list[Version]:
        """Take in what is new in the configured folder; the versions that were published."""
        return list(self.look_for_assets().published)

    def look_for_assets(self) -> Found:
        """The same, told in full: what was refused, too, and where it looked."""
        return self._intake.look(
            lambda sha256: self.do(lambda catalog, _: catalog.knows(sha256)),
            self._take_in,
        )

    def _take_in(self, group: Group, version: NewVersion) -> Version | None:
        whole = self._examiner.examined(version, group.new.name, group.new.type, completes=True)
        return self.do(lambda catalog, now_ns: catalog.discovered(group, whole, now_ns))

    def sweep(self) -> Swept:
        """Remove blobs that nothing needs."""
        return self.do(lambda catalog, now_ns: catalog.sweep(now_ns))

    def open_map(self, scene: str, lineage: str, epoch: int) -> None:
        """A scene's map is at this epoch."""
        self.tell(lambda catalog, now_ns: catalog.open_map(scene, lineage, epoch, now_ns))

    def move_map(self, scene: str, new_from_old: Sim3, epoch: int) -> None:
        """A scene's map was corrected as a whole."""
        self.tell(lambda catalog, now_ns: catalog.move_map(scene, new_from_old, epoch, now_ns))

    # -----------------------------------------------------------------------------------------------------------------

    def _file(self, role: Role, content: bytes | Path, format: str | None) -> AssetFile:
        if isinstance(content, Path):
            sha256, format = self.blobs.put_file(content), format or content.suffix[1:].lower()
        else:
            sha256, format = self.blobs.put(content), format or "glb"
        size = self.blobs.size(sha256) or 0
        mime = MIME.get(format, PLAIN)
        return AssetFile(role=role, format=format, sha256=sha256, size=size, mime=mime)

    def _put(self, work: Work[Any], future: Future[Any] | None) -> None:
        if self._is_closed:
            raise Busy("the asset bus is closed")
        try:
            self._queue.put_nowait((work, future))
        except queue.Full:
            raise Busy("the asset bus is behind; try again in a moment", retry_after_s=1) from None

    def _live(self, folder: Path, opened: Future[tuple[Blobs, str]]) -> None:
        """The thread: requests in order, deadlines in between."""
        try:
            catalog = Catalog(folder, self.config, time.time_ns(), self._tell_listeners)
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result((catalog.blobs, catalog.epoch))
        next_sweep_ns = _later(self.config.sweep_s)  # not at once: clients come back and say what they hold
        next_tick_ns = 0
        try:
            while True:
                due_ns = max(min(catalog.due_ns() or next_sweep_ns, next_sweep_ns), next_tick_ns)
                try:
                    request = self._queue.get(timeout=_seconds_until(due_ns))
                except queue.Empty:
                    request = _nothing, None
                if request is None:
                    return
                _do(catalog, *request)
                if time.time_ns() >= next_sweep_ns:
                    next_sweep_ns = _later(self.config.sweep_s)
                    _do(catalog, self._sweep_beside, None)
                if time.time_ns() >= next_tick_ns and not _do(catalog, Catalog.tick, None):
                    next_tick_ns = _later(RETRY_S)
        finally:
            catalog.close()

    def _sweep_beside(self, catalog: Catalog, now_ns: int) -> None:
        """Sweep in a thread of its own: a large store takes a while. What is published meanwhile is in its grace."""
        marked = catalog.marked(now_ns)
        self._sweeper.submit(self.blobs.sweep, marked.__contains__, max(self.config.grace_s, LEAST_GRACE_S), now_ns)

    def _tell_listeners(self, events: list[Event]) -> None:
        for listener in self._listeners:
            listener(events)


def _nothing(catalog: Catalog, now_ns: int) -> None:
    """Only time passes."""


def _later(seconds: float) -> int:
    return time.time_ns() + int(seconds * 1e9)


def _seconds_until(due_ns: int) -> float:
    return min(max(0.0, (due_ns - time.time_ns()) * 1e-9), 60.0)


def _do(catalog: Catalog, work: Work[Any], future: Future[Any] | None) -> bool:
    """Whether it went well."""
    if future is not None and not future.set_running_or_notify_cancel():
        return True
    try:
        result = work(catalog, time.time_ns())
    except Exception as error:
        if future is None:
            log.exception("the asset bus failed at a request")
        else:
            future.set_exception(error)
        return False
    if future is not None:
        future.set_result(result)
    return True


@functools.cache
def get_asset_bus(data_dir: Path = Path("var")) -> AssetBus:
    """The asset bus of this program, opened once: for those who use it without a server around it.

    Within a server, and from other programs, use the server's (`Running.assets`, `clients.assets`): a folder has one
    owner at a time.

    Raises:
        DataDirBusy: a server runs on this folder; its address is in the message.
    """
    stack = contextlib.ExitStack()
    stack.enter_context(locked(data_dir))
    bus = stack.enter_context(AssetBus(data_dir / "assets"))
    atexit.register(stack.close)
    return bus
