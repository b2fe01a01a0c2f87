"""What benchmarks of a fan-out share: settings of a server for many clients on loopback, and clients in a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from server.config import Settings

MAX_REPORT_BYTES = 1 << 28


def loopback_settings(folder: Path, *, tls: bool) -> Settings:
    """A free port, and room for more clients from one host than a public server would have."""
    return Settings.model_validate(
        {
            "data_dir": folder,
            "http": {"host": "127.0.0.1", "port": 0},
            "tls": {"enabled": tls},
            "rate": {"per_s": 1e4, "burst": 10_000},
            "limits": {"max_connections_per_host": 1024},
        }
    )


@dataclass(frozen=True, slots=True, eq=False)
class Clients:
    """A running process of clients that reports when it is told to finish."""

    process: Process

    async def finish(self) -> dict[str, Any]:
        """Tell them to finish; what they report."""
        output, _ = await self.process.communicate(b"\n")
        if self.process.returncode:
            raise RuntimeError("the clients failed")
        return cast("dict[str, Any]", json.loads(output))


@contextlib.asynccontextmanager
async def clients_apart(module: str, *options: str) -> AsyncIterator[Clients]:
    """Run a module of clients: it prints `ready`, goes on until a line comes in, and prints one JSON object."""
    command = [sys.executable, "-m", module, *options]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=MAX_REPORT_BYTES)
    try:
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the clients failed")
        yield Clients(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
