"""How fast one update reaches many clients: `python -m benchmarks.fanout [--clients 200] [--json]`.

The real server socket, by TLS and plain, on loopback; the clients (see `lean_client.py`) share one other process.
`latency_ms` is from the call of publish to the message being in the client's hands; that one process serves all the
clients, one after the other, is in it. `cpu_ms_per_1000` is the processor time that a thousand messages cost each side,
system calls and encryption included: it says what wall times on a shared machine cannot.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from typing import Any

import numpy as np
import uvloop

from benchmarks.bus_server import bus_server

WARM_UP_S = 1.0


async def measure(*, tls: bool, num_clients: int, size_bytes: int, per_s: float, seconds: float) -> dict[str, Any]:
    """One run."""
    async with bus_server(tls=tls) as server, server.clients(clients=num_clients) as clients:
        publishing = asyncio.create_task(server.publish([0], size_bytes, per_s))
        await asyncio.sleep(WARM_UP_S)
        began_s, cpu_s = time.time(), time.process_time()
        await asyncio.sleep(seconds)
        ended_s, cpu_s = time.time(), time.process_time() - cpu_s
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing
        result = await clients.finish()
    samples = np.array(result["latencies_ms"])
    counted = samples[(samples[:, 0] >= began_s) & (samples[:, 0] < ended_s), 1]
    p50, p95, p99 = np.percentile(counted, [50, 95, 99])
    return {
        "tls": tls,
        "clients": num_clients,
        "message_bytes": size_bytes,
        "hz": per_s,
        "received": len(counted),
        "received_share": round(len(counted) / (num_clients * per_s * seconds), 3),
        "latency_ms": {
            "p50": round(p50, 2),
            "p95": round(p95, 2),
            "p99": round(p99, 2),
            "max": round(counted.max(), 2),
        },
        "cpu_ms_per_1000": {
            "server": round(cpu_s * 1e6 / len(counted), 1),
            "clients": round(result["cpu_s"] * 1e6 / len(samples), 1),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--bytes", type=int, default=20_000)
    parser.add_argument("--hz", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for tls in (True, False):
            run = measure(
                tls=tls,
                num_clients=options.clients,
                size_bytes=options.bytes,
                per_s=options.hz,
                seconds=options.seconds,
            )
            runs.append(runner.run(run))
    if options.json:
        print(json.dumps({"fanout": runs}))
        return
    for result in runs:
        latency, cpu = result["latency_ms"], result["cpu_ms_per_1000"]
        print(
            f"{'TLS  ' if result['tls'] else 'plain'} {result['clients']} clients x {result['message_bytes']} B x"
            f" {result['hz']:g} Hz: p50 {latency['p50']} p95 {latency['p95']} p99 {latency['p99']} ms,"
            f" {result['received_share']:.1%} received, CPU per 1000 messages: server {cpu['server']} ms, clients"
            f" {cpu['clients']} ms"
        )


if __name__ == "__main__":
    main()
