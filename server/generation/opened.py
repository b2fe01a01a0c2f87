"""The generation lane of a running server: jobs, lanes and gates, opened together and closed in reverse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from server.assets.bus import AssetBus
from server.devices import unit
from server.generation.clerk import Clerk
from server.generation.gate import GateMemory
from server.generation.lane import Config as LaneConfig
from server.generation.lane import Lane
from server.generation.publish import Publisher
from server.generation.registry import Config as RegistryConfig
from server.generation.registry import Registry
from server.jobs.desk import Config as JobsConfig
from server.jobs.desk import Desk
from server.jobs.webhooks import Config as WebhooksConfig
from server.jobs.webhooks import Webhooks


class Config(BaseModel):
    """Jobs, and who does them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jobs: JobsConfig = JobsConfig()
    registry: RegistryConfig = RegistryConfig()
    lane: LaneConfig = LaneConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    for_admins: tuple[str, ...] = ("rehearsal", "rehearsal-picture")
    """Providers that only the role admin may name."""


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """What the HTTP layer needs."""

    desk: Desk
    registry: Registry
    lanes: Mapping[str, Lane]
    for_admins: frozenset[str]


@contextlib.contextmanager
def gates(devices: tuple[str, ...]) -> Iterator[dict[str, GateMemory]]:
    """By unit: a gate for each GPU, and one for the CPU in any case: providers without a GPU run there."""
    made = {name: GateMemory.create() for name in dict.fromkeys((*map(unit, devices), "cpu"))}
    try:
        yield made
    finally:
        for gate in made.values():
            gate.close()


@contextlib.asynccontextmanager
async def opened(
    config: Config, folder: Path, bus: AssetBus, gates: Mapping[str, GateMemory], webhook_key: bytes
) -> AsyncIterator[Generation]:
    """Take and do jobs while the context lasts; what ran when the server died begins anew.

    `webhook_key` signs what is sent to those who gave no secret of their own.

    Raises:
        OSError, sqlite3.DatabaseError: the folder cannot be used.
    """
    known = Registry(config.registry)
    async with Desk.opened(folder, config.jobs) as desk:
        publisher = Publisher(bus)
        clerk = Clerk(desk, known, publisher)
        has_gpu = any(device != "cpu" for device in gates)
        lanes = {
            device: Lane(device, gate, desk, known, clerk, publisher, has_gpu, config.lane)
            for device, gate in gates.items()
        }

        def cancel(job: str) -> None:
            for one in lanes.values():
                one.cancel(job)

        desk.on_cancel = cancel
        tasks = [asyncio.create_task(one.run(), name=f"lane {device}") for device, one in lanes.items()]
        tasks.append(asyncio.create_task(clerk.run(), name="clerk"))
        tasks.append(asyncio.create_task(Webhooks(desk, webhook_key, config.webhooks).run(), name="webhooks"))
        try:
            yield Generation(desk, known, lanes, frozenset(config.for_admins))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
