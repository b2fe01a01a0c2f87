"""Hot swap of an asset in 200 clients: how soon do they know, do they change over together, is there ever nothing?

    python -m benchmarks.asset_swap [--clients 200] [--swaps 20] [--kills 100] [--seed 0] [--json]

Clients are connections to the real server, in a process of their own. All clocks are this machine's.
- `swap_event_ms_p99`: from the publishing call to the event at each client, versions published one by one;
  `stalled_event_ms_p99` the same beside a client that does not read at all (`stalled_closed`: it was given up).
- `swap_skew_ms`: between the first and the last client that changes over, the worst of the swaps. Clients are the
  Python SDK's: they download, check, prepare, acknowledge and show.
- `swap_gap_frames`: frames (60 Hz) on which some client had nothing to show, of `frames`.
- `rollback_ms`: from the failure report that is one too many to the last client that shows the old version again, the
  worst of the rollbacks.
- `kills, lost, duplicated, gaps, broken_blobs`: see `benchmarks.asset_kills`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks import asset_kills
from benchmarks.asset_server import AssetServer, asset_server
from server.api.assets_sender import STALLED_S
from server.api.assets_socket import SUBPROTOCOL
from server.assets.swap import Policy
from server.assets.values import Ref
from server.protocol import CLOSE_TOO_SLOW
from server.run import SWITCH_INTERVAL_S

SLOT, EVENTS, EVERY_S = "place", 200, 0.05
FILL_EVENTS = 400
"""Of 35 KB each, seen by the stalled client alone: more than any buffer on the way takes."""
S = 1_000_000_000


async def measure(num_clients: int, num_swaps: int) -> dict[str, Any]:
    """Events, the same beside a stalled client, then swaps and rollbacks."""
    with tempfile.TemporaryDirectory() as folder:
        async with asset_server(Path(folder)) as server:
            async with server.clients(num_clients, "--token", server.token) as readers:
                alone = await _publish(server, "alone")
                stalled = await _stalled(server)
                beside = await _publish(server, "beside")
                await asyncio.sleep(STALLED_S)
                stalled.close()
                was_closed = server.metrics.closed.labels(CLOSE_TOO_SLOW)._value.get() == 1
                came_ns = (await readers.finish())["came_ns"]
            swaps = await _swap(server, num_clients, num_swaps)
    return {
        "clients": num_clients,
        "swap_event_ms_p50": _percentile(_delays_ms(alone, came_ns), 50),
        "swap_event_ms_p99": _percentile(_delays_ms(alone, came_ns), 99),
        "stalled_event_ms_p99": _percentile(_delays_ms(beside, came_ns), 99),
        "stalled_closed": was_closed,
        **swaps,
    }


async def _publish(server: AssetServer, asset: str) -> dict[int, int]:
    """Versions, evenly spaced; when each was asked for (Unix ns), by the event's sequence number."""
    await server.register(asset)
    files, asked_ns = (server.model(),), {}
    for number in range(EVENTS):
        await asyncio.sleep(EVERY_S)
        began_ns = time.time_ns()
        await server.publish(asset, files, number)
        asked_ns[await server.bus.ask(lambda catalog, _: catalog.seq)] = began_ns
    return asked_ns


def _delays_ms(asked_ns: dict[int, int], came_ns: list[dict[str, int]]) -> list[float]:
    """Of every event at every client; an event that never came is one for ever."""
    return [
        (client[str(seq)] - began_ns) / 1e6 if str(seq) in client else float("inf")
        for client in came_ns
        for seq, began_ns in asked_ns.items()
    ]


async def _stalled(server: AssetServer) -> socket.socket:
    """A client that does not read, with all buffers on the way to it full."""
    line = socket.create_connection(("127.0.0.1", server.port))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    upgrade = "GET /v1/assets/events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade += f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
    line.sendall(f"{upgrade}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    await asyncio.to_thread(line.recv, 1024)
    hello = b'{"type":"hello","client":"stalled"}'
    line.sendall(bytes([0x81, 0x80 | len(hello), 0, 0, 0, 0]) + hello)
    extensions = tuple("X" * 62 + f"{number:02d}" for number in range(16))
    files = (server.model(100).model_copy(update={"extensions": extensions}),) * 32
    for number in range(FILL_EVENTS):
        await server.register(f"fill{number % 20}", "elsewhere")
        await server.publish(f"fill{number % 20}", files, number)
    return line


async def _swap(server: AssetServer, num_clients: int, num_swaps: int) -> dict[str, Any]:
    """Swap to and fro, then to bad assets that are rolled back."""
    names = ("old", "new", "bad")
    for name in names:
        await server.register(name)
        await server.publish(name, (server.model(),), 0)
    await _to(server, "old", watch_s=0)
    async with server.clients(num_clients, "--slot", SLOT) as showers:
        for number in range(num_swaps):
            await _to(server, names[(number + 1) % 2], watch_s=0.5)
        for _ in range(max(1, num_swaps // 5)):
            await _to(server, "bad", watch_s=60)
        told = await showers.finish()
    logs: list[list[tuple[int, str, int]]] = told["logs"]
    return {
        "swap_skew_ms": round(max(_skews_ms(logs, num_clients), default=float("nan")), 2),
        "swap_skew_ms_p50": _percentile(_skews_ms(logs, num_clients), 50),
        "swap_gap_frames": told["gap_frames"],
        "frames": told["frames"],
        "rollback_ms": round(max(_rollbacks_ms(logs, num_clients), default=float("nan")), 2),
        "rollback_ms_p50": _percentile(_rollbacks_ms(logs, num_clients), 50),
        "swaps": num_swaps,
    }


async def _to(server: AssetServer, asset: str, watch_s: float) -> None:
    """Swap, and wait until that is settled or rolled back."""
    how = Policy("all", 1.0, 120 * S, int(watch_s * S), 0.2)
    to = Ref(asset, 0)
    await server.bus.ask(lambda catalog, now_ns: catalog.swap(SLOT, None, to, None, how, None, now_ns))
    while (await server.bus.ask(lambda catalog, _: catalog.slot(SLOT))).swap is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)


def _skews_ms(logs: list[list[tuple[int, str, int]]], num_clients: int) -> list[float]:
    """Between the first and the last change-over of each swap; what some did not take part in does not count less."""
    times: dict[int, list[int]] = {}
    for log in logs:
        for at_ns, what, revision in log[1:]:  # the first is what was there before it came
            if what == "commit":
                times.setdefault(revision, []).append(at_ns)
    return [(max(at) - min(at)) / 1e6 if len(at) == num_clients else float("inf") for at in times.values()]


def _rollbacks_ms(logs: list[list[tuple[int, str, int]]], num_clients: int) -> list[float]:
    """From the report that is one too many to the last client that is back."""
    reports: dict[int, list[int]] = {}
    backs: dict[int, list[int]] = {}
    for log in logs:
        for at_ns, what, revision in log:
            if what == "fail":
                reports.setdefault(revision, []).append(at_ns)
            elif what == "rollback":
                backs.setdefault(revision - 1, []).append(at_ns)
    too_many = int(0.2 * num_clients)
    whole = {revision: at for revision, at in backs.items() if len(at) == num_clients}
    return [
        (max(whole[revision]) - sorted(at)[too_many]) / 1e6 if revision in whole else float("inf")
        for revision, at in reports.items()
    ]


def _percentile(values: list[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 2) if values else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as the server does
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(measure(options.clients, options.swaps))
    with tempfile.TemporaryDirectory() as folder:
        result |= asdict(asset_kills.run(Path(folder), options.kills, options.seed))
    result["load"] = round(os.getloadavg()[0], 1)
    if options.json:
        print(json.dumps({"asset_swap": result}))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
