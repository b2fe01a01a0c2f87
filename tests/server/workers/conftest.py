"""A pool of real worker processes, closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from server.workers.pool import Config, Pool
from tests.server.workers.pools import ENGINE, FAST


@pytest.fixture
async def make_pool() -> AsyncIterator[Callable[..., Awaitable[Pool]]]:
    pools: list[Pool] = []

    async def make(**config: Any) -> Pool:
        pools.append(
            Pool(Config(**{"process": FAST, "result_bytes": 1 << 16, "window_bytes": 1 << 16, **config}), ENGINE)
        )
        await pools[-1].start()
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


@pytest.fixture
async def pool(make_pool: Callable[..., Awaitable[Pool]]) -> Pool:
    return await make_pool()
