"""Windows for the toy engine, and ways to hold up and look at the workers of a pool."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mapping.changes import KeyframeId
from mapping.engines import View, Window
from server.workers.lanes import Lane
from server.workers.pool import Pool
from server.workers.process import Config as ProcessConfig
from streams.frame import Intrinsics, StreamId
from tests.server.toy_engine import ANSWER

A, B = StreamId("a"), StreamId("b")

FAST = ProcessConfig(heartbeat_s=0.05, heartbeat_timeout_s=1.0, job_timeout_s=20.0, close_timeout_s=2.0, nice=0)

PATIENT = FAST.model_copy(update={"heartbeat_timeout_s": 60.0})

ENGINE = "tests.server:toy_engine"

numbers = iter(range(10**9))


def window(command: int = ANSWER, *, older: tuple[View, ...] = (), stream: str = "a") -> Window:
    rgb = np.full((12, 16, 3), 20, np.uint8)
    rgb[0, 0] = command
    rgb[1:, :, 0] = np.arange(16)
    view = View(
        KeyframeId(f"{stream}/{next(numbers)}"),
        rgb,
        Intrinsics.from_fov(16, 12),
        np.eye(4),
        np.ones((5, 3), np.float32),
    )
    return Window((*older, view))


def pid_of(pool: Pool) -> int:
    [stats] = pool.stats()
    assert stats.pid is not None
    return stats.pid


class Gate:
    """A window whose worker stands still (SIGSTOP) until opened, so that others must wait behind it."""

    def __init__(self, pool: Pool) -> None:
        self.pid = pid_of(pool)
        os.kill(self.pid, signal.SIGSTOP)

    def open(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


async def until(condition: Callable[[], bool]) -> None:
    """Give others the loop until something is so."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


async def waiting(pool: Pool, lane: Lane, count: int) -> None:
    """Until so many jobs wait in the lane."""
    await until(lambda: pool.stats()[0].queued[lane.value] == count)


def environment_of(pid: int | None) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
