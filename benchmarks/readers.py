"""Map clients in a process of their own, for benchmarks of the server: many that read, or one that stops reading.

`bus_server.py` starts it as `python -m benchmarks.readers URL --clients N [--stall-after S]`. It prints `ready` when
every client is in step (or the one has stopped reading), goes on until a line comes in, and prints one JSON object.
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

from benchmarks.lean_client import lean_client
from server import protocol as p

LEAVE_AFTER_S = 30.0
"""A client that reads again and is not closed within this time was not given up."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--ca")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--stall-after", type=float, help="be one client that stops reading then, and comes back")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tls = ssl.create_default_context(cafile=options.ca) if options.ca else None
        if options.stall_after is None:
            work = read_many(options.url, tls, options.clients)
        else:
            work = stall(options.url, tls, options.stall_after)
        json.dump(runner.run(work), sys.stdout)


async def read_many(url: str, tls: ssl.SSLContext | None, num_clients: int) -> dict[str, Any]:
    """Receive until told to stop; when each live message came, how old it was, and the CPU time it took here."""
    clients = [await lean_client(url, tls) for _ in range(num_clients)]
    began_s = time.process_time()
    await _until_told()
    cpu_s = time.process_time() - began_s
    samples = sorted(sample for client in clients for sample in _latencies_ms(client.received))
    for client in clients:
        client.close()
    return {"latencies_ms": samples, "cpu_s": cpu_s}


def _latencies_ms(frames: list[tuple[int, bytes]]) -> list[tuple[float, float]]:
    """When each live delta came (Unix s) and how long after it was published; a snapshot's were published before."""
    out, is_live = [], False
    for received_ns, frame in frames:
        (length,) = struct.unpack_from("<I", frame)
        header = msgspec.msgpack.decode(frame[4 : 4 + length])
        is_live = is_live or header["t"] == "snapshot_end"
        if is_live and header["t"] == "delta":
            out.append((received_ns / 1e9, (received_ns - header["publish_ns"]) / 1e6))
    return out


async def stall(url: str, tls: ssl.SSLContext | None, read_first_s: float) -> dict[str, Any]:
    """Read until in step, stop reading until told, then read what the server said meanwhile, and resume."""
    resume: p.Resume | None = None
    held: dict[tuple[Any, ...], int] = {}
    socket = await _connect(url, tls, max_queue=1, ping_interval=None)
    await socket.send(p.pack(p.Subscribe(scene="main", layers=["mesh"])))
    stop_at = time.monotonic() + read_first_s
    while time.monotonic() < stop_at or resume is None:
        message, _ = p.unpack_server(_bytes(await socket.recv()))
        resume = _note(message, held, resume)
    await _until_told()
    code, bytes_read, read_until = None, 0, time.monotonic() + LEAVE_AFTER_S
    try:
        while time.monotonic() < read_until:
            frame = _bytes(await socket.recv())
            bytes_read += len(frame)
            message, _ = p.unpack_server(frame)
            resume = _note(message, held, resume)
    except websockets.ConnectionClosed:
        code = socket.close_code
    back = await _connect(url, tls)
    await back.send(p.pack(p.Subscribe(scene="main", layers=["mesh"], resume=resume)))
    sent: set[tuple[Any, ...]] = set()
    resumed = False
    while True:
        message, _ = p.unpack_server(_bytes(await back.recv()))
        resume = _note(message, held, resume)
        if isinstance(message, p.SnapshotBegin):
            resumed = message.resumed
        if isinstance(message, p.Delta):
            sent.add(tuple(message.key))
        if isinstance(message, p.SnapshotEnd):
            break
    await back.close()
    return {
        "close_code": code,
        "read_after_stall_bytes": bytes_read,
        "resumed": resumed,
        "resume_tiles": len(sent),
        "keys_held": len(held),
    }


async def _until_told() -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _connect(url: str, tls: ssl.SSLContext | None, **how: Any) -> ClientConnection:
    """An opened socket that was welcomed."""
    socket = await websockets.connect(
        url, ssl=tls, subprotocols=[websockets.Subprotocol(p.SUBPROTOCOL)], compression=None, max_size=None, **how
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
