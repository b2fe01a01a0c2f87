"""Where the time goes, hop by hop: `python -m benchmarks.latency [--phones 2] [--seconds 40] [--json]`.

Starts a server of its own (or takes `--url`), lets simulated phones walk the synthetic flat through real WebRTC, and
listens with the Python SDK. Two clocks are compared nowhere: phones, server and client run on one machine.

What the keys mean (milliseconds, p50 and p95):
- `pose_at_phone`: a frame handed to the network -> its pose at the phone, by the phone's own clock.
- `server`: steps inside of the server, from its own histograms (`decode` is encoded frame in -> Frame), so coarse.
- `map`: by layer, of messages that reached the client: `capture_to_infer` (queues, tracking and the engine),
  `infer_to_publish` (fusion, tiles, encoding), `publish_to_client`, and `age`, capture to client.
- `loop_lag_ms_p99`: how late the server's event loop was.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import demo
from benchmarks.serving import Histogram, Server, histograms, serving
from benchmarks.synthetic import FPS
from clients.camera import Camera
from clients.sdk import Put, Subscription, connect
from clients.video import EncodedClip, load
from server.protocol import Layer

MAP_LAYERS: tuple[Layer, ...] = ("pose", "points", "nav", "mesh", "occluder")
HOPS = "commonground_hop_seconds"
LAG = "commonground_event_loop_lag_seconds"


@dataclass(slots=True, eq=False)
class Samples:
    """What phones and client measured, in milliseconds."""

    is_counting: bool = False
    pose: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    states: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    hops: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))


def main(argv: list[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    if options.clip:
        clips = [load(Path(options.clip))] * options.phones
    else:
        clips = [load(path, fps=FPS) for _, path in demo.prepare(options.phones)]
    report = asyncio.run(_run(options, clips))
    if options.json:
        json.dump(report, sys.stdout, indent=1)
    else:
        sys.stdout.write(_table(report))
    sys.stdout.write("\n")


async def _run(options: argparse.Namespace, clips: list[EncodedClip]) -> dict[str, Any]:
    if options.url:
        token = os.environ.get(options.token_env) or None
        server = Server(options.url, options.ca or True, token, options.scene)
        return await measure(server, clips, options.warm_up, options.seconds)
    async with serving() as server:
        return await measure(server, clips, options.warm_up, options.seconds)


async def measure(server: Server, clips: list[EncodedClip], warm_up_s: float, seconds: float) -> dict[str, Any]:
    """Let phones walk and a client listen; count after the warm-up."""
    samples = Samples()
    with contextlib.suppress(Exception):
        await demo.declare_marker(server.url, server.scene, server.token, server.ca)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(server.url, token=server.token, ca=server.ca))
        scene = client.subscribe(server.scene, MAP_LAYERS)
        tasks = [asyncio.create_task(_listen(scene, samples))]
        phones = []
        for index, clip in enumerate(clips):
            camera = Camera(
                server.url, server.scene, clip, token=server.token, ca=server.ca, label=f"phone {index + 1}"
            )
            phones.append(await stack.enter_async_context(camera))
            tasks.append(asyncio.create_task(_answers(index, phones[-1], samples)))
        await _while_alive(tasks, warm_up_s)
        hops_before = await histograms(server, HOPS, "hop")
        lag_before = await histograms(server, LAG)
        cpu_before_s = _cpu_s(server.pid)
        samples.is_counting = True
        sent_before = sum(phone.num_sent for phone in phones)
        await _while_alive(tasks, seconds)
        samples.is_counting = False
        hops = _since(hops_before, await histograms(server, HOPS, "hop"))
        lag = _since(lag_before, await histograms(server, LAG)).get("", Histogram((), ()))
        cpu_after_s = _cpu_s(server.pid)
        sent = sum(phone.num_sent for phone in phones) - sent_before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return _report(samples, hops, lag, sent, len(clips), seconds, cpu_before_s, cpu_after_s)


async def _answers(index: int, phone: Camera, samples: Samples) -> None:
    async for answer in phone.answers():
        if samples.is_counting:
            samples.states[answer.state] += 1
            if answer.clip_time_s is not None:
                samples.pose[index].append(answer.latency_ms)


async def _listen(scene: Subscription, samples: Samples) -> None:
    async for update in scene:
        if isinstance(update, Put) and samples.is_counting:
            hops = samples.hops[update.layer]
            hops["capture_to_infer"].append((update.infer_ns - update.capture_ns) / 1e6)
            hops["infer_to_publish"].append((update.publish_ns - update.infer_ns) / 1e6)
            hops["publish_to_client"].append((update.received_ns - update.publish_ns) / 1e6)
            hops["age"].append(update.age_s * 1e3)


async def _while_alive(tasks: list[asyncio.Task[None]], seconds: float) -> None:
    """Wait, unless a phone or the client fails meanwhile; then fail as it did."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
        raise RuntimeError("a phone or the client stopped early")


def _report(
    samples: Samples, hops: dict[str, Histogram], lag: Histogram, sent: int, num_phones: int, seconds: float,
    cpu_before_s: float | None, cpu_after_s: float | None,
) -> dict[str, Any]:  # fmt: skip
    answered = sum(samples.states.values())
    lag_p99 = lag.quantile(0.99)
    cpu = None if cpu_before_s is None or cpu_after_s is None else round((cpu_after_s - cpu_before_s) / seconds, 2)
    return {
        "phones": num_phones,
        "seconds": seconds,
        "frames_sent": sent,
        "answers": answered,
        "answered_share": round(answered / max(1, sent), 3),
        "states": dict(samples.states),
        "pose_at_phone": {f"phone_{i + 1}": _quantiles(values) for i, values in sorted(samples.pose.items())},
        "server": {
            hop: {"p50": _ms(h.quantile(0.5)), "p95": _ms(h.quantile(0.95)), "n": int(h.total)}
            for hop, h in sorted(hops.items())
            if h.total
        },
        "map": {
            layer: {hop: _quantiles(values) for hop, values in by_hop.items()}
            for layer, by_hop in sorted(samples.hops.items())
        },
        "loop_lag_ms_p99": _ms(lag_p99),
        "server_cores": cpu,
        "client_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _quantiles(values: list[float]) -> dict[str, float | int]:
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "n": len(values)}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 2)


def _since(before: dict[str, Histogram], after: dict[str, Histogram]) -> dict[str, Histogram]:
    return {key: now - before[key] if key in before else now for key, now in after.items()}


def _cpu_s(pid: int | None) -> float | None:
    """CPU seconds of a process and the workers it started; None where /proc does not tell."""
    if pid is None or not Path("/proc").is_dir():
        return None
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(stat.parent.name) == pid or int(fields[1]) == pid:
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _table(report: dict[str, Any]) -> str:
    lines = [f"{report['phones']} phones, {report['seconds']:.0f} s, {report['answered_share']:.0%} of frames answered"]
    rows = {f"pose at {name}": row for name, row in report["pose_at_phone"].items()}
    rows |= {f"server: {hop}": row for hop, row in report["server"].items()}
    rows |= {f"{layer}: {hop}": row for layer, hops in report["map"].items() for hop, row in hops.items()}
    lines += [
        f"  {name:34} p50 {row['p50']:8.1f}  p95 {row['p95']:8.1f} ms  n {row['n']}" for name, row in rows.items()
    ]
    lines.append(f"  event loop lag p99 {report['loop_lag_ms_p99']} ms, server uses {report['server_cores']} cores")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description="Latency, hop by hop.")
    parser.add_argument("--phones", type=int, default=2, choices=range(1, 9))
    parser.add_argument("--seconds", type=float, default=40.0, help="how long to count")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds before counting")
    parser.add_argument("--clip", help="a video or folder for every phone, instead of the synthetic flat")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--ca", help="its certificate authority")
    parser.add_argument("--token-env", default="COMMONGROUND_TOKEN", help="variable that holds a token for it")
    parser.add_argument("--scene", default="main")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    main()
