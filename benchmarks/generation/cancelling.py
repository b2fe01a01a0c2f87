"""Jobs are cancelled while they run, some with a worker that hangs: how long until they have ended?"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

import numpy as np

from server.assets.bus import AssetBus
from server.generation.opened import Config, gates, opened
from server.jobs.values import Wanted

HANGING = 0.1
"""Share of the jobs whose worker does not let go."""


async def cancel_ms(trials: int, seed: int) -> list[float]:
    """Milliseconds from the wish to the terminal state, on the disk."""
    chance, took_ms = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder, gates(("cpu",)) as gate_by_device:
        root = Path(folder)
        with AssetBus(root / "assets") as bus:
            async with opened(Config(), root / "jobs", bus, gate_by_device, b"") as generation:
                desk = generation.desk
                for trial in range(trials):
                    hangs = {"fail": "hang", "fail_at": 0} if chance.random() < HANGING else {}
                    params = {"blocks": 100_000, "block_ms": 5.0, **hangs}
                    job = (await desk.submit(Wanted(provider="rehearsal", seed=trial, params=params), ()))[0].job
                    async for _ in desk.follow(job, None):
                        live = desk.live(job)
                        if live is not None and live.phase == "running":
                            break
                    began = time.monotonic()
                    await desk.cancel(job)
                    ended = await desk.wait(job, 60.0)
                    assert ended.state == "cancelled", ended
                    took_ms.append(1e3 * (time.monotonic() - began))
    return took_ms


def p99(values: list[float]) -> float:
    return float(np.quantile(values, 0.99))
