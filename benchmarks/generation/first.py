"""From handing a job in to the first version of its asset on the bus: what somebody waits for.

Words (a prim) and a photo (a relief) in turn; `cold` finds no worker, as in the first seconds of a server's life, later
ones are kept warm.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from server.assets.bus import AssetBus
from server.assets.database import Event
from server.generation.opened import Config, gates, opened
from server.jobs.inputs import Upload
from server.jobs.values import Wanted

THINGS = ("red cube 20 cm", "wooden table", "chair", "blue sphere 30 cm", "green cylinder 10 cm")


async def first_asset_s(trials: int) -> list[float]:
    """Seconds of each trial; the first two find no worker and wait for its start, too."""
    took_s: list[float] = []
    photo = _photo()
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
                    text = THINGS[trial // 2 % len(THINGS)] if trial % 2 == 0 else ""
                    wanted = Wanted(provider="prims" if text else "relief", text=text, seed=trial)
                    uploads = [] if text else [Upload("image", photo)]
                    job, _ = await generation.desk.submit(wanted, uploads)
                    took_s.append(await published.get() - began)
                    await generation.desk.wait(job.job, 60.0)
                    while not published.empty():
                        published.get_nowait()
    return took_s


def _photo() -> bytes:
    """A round thing before a wall, 1280 x 960, as a phone might send it."""
    noise = np.random.default_rng(0).integers(0, 40, (960, 1280, 3), np.uint8)
    picture = noise + np.array([150, 160, 170], np.uint8)
    cv2.circle(picture, (640, 480), 280, (40, 70, 190), -1)
    return cv2.imencode(".jpg", picture)[1].tobytes()
