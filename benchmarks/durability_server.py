"""The same question to a whole server: kill -9 while it maps; is every tile that it called durable there afterwards?

    python -m benchmarks.durability --server CLIP [--rounds 20] [--json]

`commonground replay --posed --realtime --serve CLIP` maps and serves; a client holds every tile it was sent and listens
for the event `durable`, which says up to which sequence number nothing can be lost any more. After a random while the
server is killed and started again, and the first snapshot is compared: each acknowledged key must be there with that
version, byte for byte, or with a newer one. Keys of an older epoch are left out: the map moved, they are built anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import websockets
from websockets.asyncio.client import ClientConnection

from clients.address import socket_url
from clients.http import Http, HttpError
from clients.map_socket import binary, open_socket
from clients.transport import ConnectionFailed
from server import protocol
from server.protocol import Delta, Event, Layer, Remove, SnapshotBegin, SnapshotEnd

LAYERS: list[Layer] = ["mesh", "nav", "occluder", "points", "event"]
START_TIMEOUT_S = 120.0
SCENE = "main"

TileName = tuple[Layer, tuple[int | str, ...]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One version of one key."""

    seq: int
    version: int
    epoch: int
    digest: bytes | None
    """Of the whole message; None = the key was removed."""


@dataclass(slots=True)
class Audit:
    """What a client was sent, and what of it the server promised to keep."""

    held: dict[TileName, Seen] = field(default_factory=dict)
    acknowledged: dict[TileName, Seen] = field(default_factory=dict)
    epoch: int = 0

    def take(self, frame: bytes) -> protocol.ServerMessage:
        """Note one message of the server."""
        message, _ = protocol.unpack_server(frame)
        match message:
            case SnapshotBegin():
                self.epoch = message.scene.epoch
            case Delta():
                digest = hashlib.sha256(frame).digest()
                self.held[message.layer, tuple(message.key)] = Seen(message.seq, message.ver, message.epoch, digest)
                self.epoch = max(self.epoch, message.epoch)
            case Remove():
                self.held[message.layer, tuple(message.key)] = Seen(message.seq, message.ver, self.epoch, None)
            case Event(name="durable"):
                limit = int(message.data["seq"])
                self.acknowledged |= {key: seen for key, seen in self.held.items() if seen.seq <= limit}
            case _:
                pass
        return message

    def faults(self, after: Audit) -> list[str]:
        """What was acknowledged here and is missing or different in the snapshot that `after` holds."""
        problems = []
        for (layer, key), seen in self.acknowledged.items():
            there = after.held.get((layer, key))
            newest = self.held[layer, key]
            if seen.epoch != after.epoch or (there is None and (newest.digest is None or seen.digest is None)):
                continue  # the map moved, or the newest that we know of it is its removal
            if there is None:
                problems.append(f"{layer} {key}: version {seen.version} is gone")
            elif there.version < seen.version:
                problems.append(f"{layer} {key}: version {there.version} instead of {seen.version}")
            elif there.version == seen.version and there.digest != seen.digest:
                problems.append(f"{layer} {key}: version {seen.version} has other bytes")
        return problems


@dataclass(frozen=True, slots=True)
class ServerRound:
    """One life of the server."""

    restart_s: float
    """From starting the process to the whole snapshot at a client."""
    ready_s: float
    """From starting the process to `/readyz`: frames that come now are mapped."""
    snapshot_entries: int
    acknowledged: int
    """Keys that were durable when it was killed."""
    faults: tuple[str, ...]
    """How its snapshot differed from what the life before had acknowledged."""


async def run(clip: Path, folder: Path, rounds: int, seed: int) -> list[ServerRound]:
    """Kill a server `rounds` times; the last life is only looked at."""
    chance = random.Random(seed)
    before = Audit()
    lives: list[ServerRound] = []
    for life in range(rounds + 1):
        began = time.monotonic()
        async with _server(clip, folder) as (process, url):
            connection = await _subscribed(url, process)
            after = Audit()
            async for frame in connection:
                if isinstance(after.take(binary(frame)), SnapshotEnd):
                    break
            restart_s, entries = time.monotonic() - began, len(after.held)
            problems = before.faults(after)
            ready_s = await _ready(url) - began
            after.acknowledged = dict(after.held)  # it came from the disk
            if life < rounds:
                await _follow(connection, after, chance.uniform(0.0, 4.0))
            connection.transport.abort()
        lives.append(ServerRound(restart_s, ready_s, entries, len(after.acknowledged), tuple(problems)))
        before = after
    return lives


async def _ready(url: str) -> float:
    """Wait for `/readyz`; when that was (monotonic seconds)."""
    http = Http(url)
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            try:
                await http.request("GET", "readyz")
            except HttpError:
                await asyncio.sleep(0.05)
            else:
                return time.monotonic()


async def _follow(connection: ClientConnection, audit: Audit, seconds: float) -> None:
    """Receive until some tile became durable, and then for a while."""
    end: float | None = None
    while end is None or time.monotonic() < end:
        try:
            async with asyncio.timeout(START_TIMEOUT_S if end is None else max(0.0, end - time.monotonic())):
                message = audit.take(binary(await connection.recv()))
        except TimeoutError:
            return
        if end is None and isinstance(message, Event) and message.name == "durable" and audit.acknowledged:
            end = time.monotonic() + seconds


@asynccontextmanager
async def _server(clip: Path, folder: Path) -> AsyncIterator[tuple[Process, str]]:
    """A server in a process of its own, killed at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"HTTP__HOST": "127.0.0.1", "HTTP__PORT": str(port), "TLS__ENABLED": "false", "SCENE": SCENE}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "server", "replay", "--posed", "--realtime", "--serve", "--data-dir", str(folder), str(clip)),
        env={**os.environ, **{f"COMMONGROUND_{name}": value for name, value in settings.items()}},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _subscribed(url: str, process: Process) -> ClientConnection:
    """A socket that has asked for the scene, as soon as the server serves it."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            try:
                opened, _ = await open_socket(socket_url(url), None, token=None, name="commonground-durability")
                await opened.send(protocol.pack(protocol.Subscribe(scene=SCENE, layers=LAYERS)))
            except (ConnectionFailed, websockets.ConnectionClosed):
                if process.returncode is not None:
                    raise
                await asyncio.sleep(0.05)
            else:
                return opened
