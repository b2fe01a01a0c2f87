"""The composition root: builds every part from the settings, owns their lifetimes, closes them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from server.assets.bus import AssetBus
from server.assets.opened import opened
from server.bus.bus import Bus
from server.config import Settings
from server.devices import choose_devices, choose_engine
from server.generation.gate import GateMemory
from server.generation.opened import Generation, gates
from server.generation.opened import opened as generating
from server.metrics import Metrics
from server.scenes import Scenes
from server.web import Identity, serving
from server.workers.pool import Pool
from streams.frame import SceneId

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """A server that serves."""

    scenes: Scenes
    identity: Identity
    metrics: Metrics
    port: int
    assets: AssetBus
    generation: Generation

    @property
    def url(self) -> str:
        """As this machine itself reaches it."""
        return f"{self.identity.scheme}://localhost:{self.port}"


@contextlib.asynccontextmanager
async def running(settings: Settings, identity: Identity) -> AsyncIterator[Running]:
    """The whole server, until the context ends. Stored maps are served while the engine still warms up.

    Raises:
        OSError: the port cannot be listened on; besides, what `mapping` raises.
    """
    metrics = Metrics()
    devices = choose_devices(settings.workers.devices, choose_engine(settings.engine.name, settings.engine.options))
    with gates(devices) as gate_by_device:
        async with (
            mapping(settings, metrics, SceneId(settings.scene), gate_by_device) as (scenes, engine_up),
            opened(settings.assets, settings.data_dir / "assets", scenes.bus) as assets,
            generating(
                settings.generation,
                settings.data_dir / "jobs",
                assets.bus,
                gate_by_device,
                identity.tokens.derive("webhooks"),
            ) as generation,
            serving(settings, scenes, identity, metrics, assets, generation) as port,
        ):
            log.info("serving", extra={"port": port, "scheme": identity.scheme})
            await engine_up
            yield Running(scenes, identity, metrics, port, assets.bus, generation)


@contextlib.asynccontextmanager
async def mapping(
    settings: Settings, metrics: Metrics, first: SceneId, gates: Mapping[str, GateMemory] | None = None
) -> AsyncIterator[tuple[Scenes, asyncio.Task[None]]]:
    """Open the scenes while the workers start; the task is done when every engine is warm.

    Args:
        gates: by device, for workers to raise.

    Raises:
        EngineFailed, WorkerDied: from the task: the geometry engine does not start; the message says why.
        StoreError: a stored scene cannot be read.
    """
    engine = choose_engine(settings.engine.name, settings.engine.options)
    devices = choose_devices(settings.workers.devices, engine)
    workers = settings.workers.model_copy(update={"devices": devices})
    async with contextlib.AsyncExitStack() as stack:
        pool = Pool(workers, engine, dict(settings.engine.options), gates)
        stack.push_async_callback(pool.close)
        engine_up = asyncio.create_task(pool.start(), name="start workers")
        stack.push_async_callback(_cancelled, engine_up)
        scenes = Scenes(settings.scenes, settings.data_dir / "scenes", pool, Bus(settings.bus), metrics.hop)
        stack.push_async_callback(scenes.close)
        await scenes.start(first)
        log.info("mapping", extra={"engine": engine, "devices": devices, "scenes": len(scenes.scenes())})
        yield scenes, engine_up


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
