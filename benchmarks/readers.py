"""Map clients in a process of their own, for benchmarks of the server: many that read, or one that stops reading.

Started by `fanout.py` and `stall.py` as `python -m benchmarks.readers URL --clients N ...`; prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import struct
import sys
import time
from typing import Any

import msgspec
import uvloop
import websockets
from websockets.asyncio.client import ClientConnection

from server import protocol as p

HEADER_BYTES = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--ca")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--stall-s", type=float, help="be one client that stops reading for so long, then comes back")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        work = read_many(options) if options.stall_s is None else stall(options)
        json.dump(runner.run(work), sys.stdout)


async def read_many(options: argparse.Namespace) -> dict[str, Any]:
    """Receive for a while; when each message came, since it was published, by client."""
    received: list[list[tuple[int, bytes]]] = [[] for _ in range(options.clients)]
    sockets = [await connect(options) for _ in range(options.clients)]
    for socket in sockets:
        await socket.send(p.pack(p.Subscribe(scene="main", layers=["mesh"])))

    async def client(socket: ClientConnection, mine: list[tuple[int, bytes]]) -> None:
        async for frame in socket:
            header = _bytes(frame)[:HEADER_BYTES]  # read later: the clients share this process
            mine.append((time.time_ns(), header))

    async with asyncio.TaskGroup() as group:
        for socket, mine in zip(sockets, received, strict=True):
            group.create_task(client(socket, mine))
        await asyncio.sleep(options.seconds)
        await asyncio.gather(*(socket.close() for socket in sockets))
    return {"latencies_ms": sorted(sample for mine in received for sample in _latencies_ms(mine))}


def _latencies_ms(frames: list[tuple[int, bytes]]) -> list[tuple[float, float]]:
    """When each live delta came (s) and how long after it was published; a snapshot's were published long before."""
    out, is_live = [], False
    for received_ns, frame in frames:
        (length,) = struct.unpack_from("<I", frame)
        header = msgspec.msgpack.decode(frame[4 : 4 + length])
        is_live = is_live or header["t"] == "snapshot_end"
        if is_live and header["t"] == "delta":
            out.append((received_ns / 1e9, (received_ns - header["publish_ns"]) / 1e6))
    return out


async def stall(options: argparse.Namespace) -> dict[str, Any]:
    """Read until in step, stop reading, then read what the server said meanwhile, and resume."""
    resume: p.Resume | None = None
    held: dict[tuple[Any, ...], int] = {}
    socket = await connect(options, max_queue=1, ping_interval=None)
    await socket.send(p.pack(p.Subscribe(scene="main", layers=["mesh"])))
    stop_at = time.monotonic() + options.seconds
    while time.monotonic() < stop_at:
        message, _ = p.unpack_server(_bytes(await socket.recv()))
        resume = _note(message, held, resume)
    await asyncio.sleep(options.stall_s)
    bytes_read = 0
    try:
        while True:
            frame = _bytes(await socket.recv())
            bytes_read += len(frame)
            message, _ = p.unpack_server(frame)
            resume = _note(message, held, resume)
    except websockets.ConnectionClosed:
        code = socket.close_code
    back = await connect(options)
    await back.send(p.pack(p.Subscribe(scene="main", layers=["mesh"], resume=resume)))
    deltas, resumed = 0, False
    while True:
        message, _ = p.unpack_server(_bytes(await back.recv()))
        resume = _note(message, held, resume)
        if isinstance(message, p.SnapshotBegin):
            resumed = message.resumed
        deltas += isinstance(message, p.Delta)
        if isinstance(message, p.SnapshotEnd):
            break
    await back.close()
    return {
        "close_code": code,
        "read_after_stall_bytes": bytes_read,
        "resumed": resumed,
        "resume_deltas": deltas,
        "keys_held": len(held),
    }


async def connect(options: argparse.Namespace, **how: Any) -> ClientConnection:
    """An opened socket that was welcomed."""
    context = ssl.create_default_context(cafile=options.ca) if options.ca else None
    socket = await websockets.connect(
        options.url,
        ssl=context,
        subprotocols=[websockets.Subprotocol(p.SUBPROTOCOL)],
        compression=None,
        max_size=None,
        **how,
    )
    await socket.send(p.pack(p.Hello(client="benchmark")))
    await socket.recv()
    return socket


def _note(message: p.ServerMessage, held: dict[tuple[Any, ...], int], resume: p.Resume | None) -> p.Resume | None:
    if isinstance(message, p.Delta):
        held[tuple(message.key)] = message.ver
    return message.resume if isinstance(message, p.Synced) else resume


def _bytes(frame: str | bytes) -> bytes:
    assert isinstance(frame, bytes)
    return frame


if __name__ == "__main__":
    main()
