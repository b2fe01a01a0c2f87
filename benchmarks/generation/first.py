"""From handing a job in to the first version of its asset on the bus: what somebody who taps waits for."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from server.assets.bus import AssetBus
from server.assets.database import Event
from server.generation.opened import Config, gates, opened
from server.jobs.values import Wanted

THINGS = ("red cube 20 cm", "wooden table", "chair", "blue sphere 30 cm", "green cylinder 10 cm")


async def first_asset_s(trials: int) -> list[float]:
    """Seconds of each trial; the first one finds no worker and waits for its start, too."""
    took_s: list[float] = []
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder, gates(("cpu",)) as gate_by_device:
        root = Path(folder)
        with AssetBus(root / "assets") as bus:
            published: asyncio.Queue[float] = asyncio.Queue()

            def hear(events: list[Event]) -> None:
                for event in events:
                    if event.type == "version.published":
                        loop.call_soon_threadsafe(published.put_nowait, time.monotonic())

            await asyncio.to_thread(bus.listen, hear)
            async with opened(Config(), root / "jobs", bus, gate_by_device, b"") as generation:
                for trial in range(trials):
                    began = time.monotonic()
                    wanted = Wanted(task="text-to-3d-asset", text=THINGS[trial % len(THINGS)], seed=trial)
                    job, _ = await generation.desk.submit(wanted, ())
                    took_s.append(await published.get() - began)
                    await generation.desk.wait(job.job, 60.0)
                    while not published.empty():
                        published.get_nowait()
    return took_s
