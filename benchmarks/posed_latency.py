"""From a depth keyframe to the NavMesh at a client: `python -m benchmarks.posed_latency [--seconds 40] [--json]`.

Starts a server of its own and sends it walks through the synthetic flat as phones with depth would: picture, pose and
depth, one `POST` for each frame. The Python SDK listens to `nav`. Everything runs on one machine, so all
stamps are of one clock; the simulated phone and the client take their share of it. The
walks begin when nothing is mapped; frames that tell nothing new do not become keyframes.

What the keys mean (milliseconds; one sample for each NavMesh tile that reached the client):
- `keyframe_to_delta`: the server holds a posed keyframe with its depth (`infer_ns`) -> its tile is received. It has yet
  to wait for the map and to be fused, so this is more than the time from "integrated".
- `posted_to_delta`: the phone begins to send the frame (`capture_ns`) -> received.
- `hops`: `write_wait` (the keyframe before the map's one thread), `fuse`, `tiles` (cells, spans, Recast, Detour),
  `encode` and `publish`, one sample for each keyframe, from the server's own histograms, so coarse; `socket`
  (`publish_ns` -> received) of each tile. `integrated_to_delta` adds up what comes after `fuse`, quantile by quantile.
- `build`: the other work of the map's thread (surfaces, points, pictures), one step of it: a keyframe waits for at most
  one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np

from benchmarks import synthetic
from benchmarks.serving import Histogram, Server, histograms, serving
from benchmarks.synthetic import View, Walk
from clients.sdk import Put, Subscription, connect
from mapping.transforms import quat_from_rotation

HOPS = "commonground_hop_seconds"
SHOWN = ("track", "write_wait", "fuse", "tiles", "encode", "publish", "keyframe_to_tile", "build")
AFTER_FUSE = ("tiles", "encode", "publish")
DEPTH_EVERY = 2
"""Depth of a quarter of the pixels, as such sensors give it."""
QUANTILES = (50, 95, 99)


@dataclass(slots=True, eq=False)
class Samples:
    """Milliseconds, one for each tile that was received while counting."""

    is_counting: bool = False
    keyframe: list[float] = field(default_factory=list)
    posted: list[float] = field(default_factory=list)
    socket: list[float] = field(default_factory=list)
    keyframes: set[int] = field(default_factory=set)
    """Capture times of those that changed the NavMesh."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame as it is sent, but for its time."""

    image: bytes  # JPEG
    depth: bytes  # PNG, 16 bit, millimetres
    meta: dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    films = [film(walk, options.fps, options.warm_up + options.seconds) for walk in synthetic.walks()[: options.phones]]
    report = asyncio.run(_run(films, options.fps, options.warm_up))
    if options.json:
        json.dump(report, sys.stdout, indent=1)
    else:
        sys.stdout.write(_table(report))
    sys.stdout.write("\n")


def film(walk: Walk, fps: float, seconds: float) -> list[Shot]:
    """Render and encode a walk beforehand, so that the phone costs next to nothing while it is measured."""
    views = synthetic.frames(synthetic.build(), walk, fps=fps, duration_s=seconds, threads=2)
    return [_shot(view) for _, view in views]


async def _run(films: Sequence[Sequence[Shot]], fps: float, warm_up_s: float) -> dict[str, Any]:
    async with serving() as server, connect(server.url, ca=server.ca) as client:
        samples = Samples()
        scene = client.subscribe(server.scene, ["nav"])
        listening = asyncio.create_task(_listen(scene, samples))
        try:
            return await measure(server, films, fps, warm_up_s, samples)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def measure(
    server: Server, films: Sequence[Sequence[Shot]], fps: float, warm_up_s: float, samples: Samples
) -> dict[str, Any]:
    """Let every phone send its shots, each at its time; count after the warm-up."""
    async with asyncio.TaskGroup() as phones:
        for index, shots in enumerate(films):
            phones.create_task(_send(server, shots, fps, index / (len(films) * fps)))
        await asyncio.sleep(warm_up_s)
        before = await histograms(server, HOPS, "hop")
        samples.is_counting = True
    await asyncio.sleep(1.0)  # what is on its way
    samples.is_counting = False
    after = await histograms(server, HOPS, "hop")
    hops = {hop: after[hop] - before[hop] if hop in before else after[hop] for hop in SHOWN if hop in after}
    return _report(samples, hops, len(films), fps)


async def _send(server: Server, shots: Sequence[Shot], fps: float, delay_s: float) -> None:
    """One phone, from its first frame to its last."""
    async with httpx.AsyncClient(base_url=server.url, verify=_trust(server), timeout=30.0) as http:
        opened = await http.post(f"/v1/scenes/{server.scene}/streams", json={"world": "flat"})
        frames = opened.raise_for_status().json()["frames"]
        began_s = time.monotonic() + delay_s
        for index, shot in enumerate(shots):
            await asyncio.sleep(max(0.0, began_s + index / fps - time.monotonic()))
            (await http.post(frames, files=_parts(shot, time.time_ns()))).raise_for_status()


async def _listen(scene: Subscription, samples: Samples) -> None:
    async for update in scene:
        if isinstance(update, Put) and samples.is_counting:
            samples.keyframe.append((update.received_ns - update.infer_ns) / 1e6)
            samples.posted.append((update.received_ns - update.capture_ns) / 1e6)
            samples.socket.append((update.received_ns - update.publish_ns) / 1e6)
            samples.keyframes.add(update.capture_ns)


def _report(samples: Samples, hops: dict[str, Histogram], num_phones: int, fps: float) -> dict[str, Any]:
    socket = _quantiles(samples.socket)
    by_hop = {hop: _of(histogram) for hop, histogram in hops.items() if histogram.total} | {"socket": socket}
    after_fuse = [by_hop[hop] for hop in (*AFTER_FUSE, "socket") if hop in by_hop]
    return {
        "phones": num_phones,
        "frames_per_s": fps,
        "keyframes": by_hop["fuse"]["n"],
        "keyframes_with_delta": len(samples.keyframes),
        "keyframe_to_delta": _quantiles(samples.keyframe),
        "integrated_to_delta": {f"p{q}": round(sum(hop[f"p{q}"] for hop in after_fuse), 1) for q in QUANTILES},
        "posted_to_delta": _quantiles(samples.posted),
        "hops": by_hop,
    }


def _quantiles(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        raise RuntimeError("no NavMesh tile reached the client; is the walk long enough?")
    return {f"p{q}": round(float(np.percentile(values, q)), 1) for q in QUANTILES} | {"n": len(values)}


def _of(histogram: Histogram) -> dict[str, Any]:
    found = {f"p{q}": round(1e3 * (histogram.quantile(q / 100) or 0.0), 1) for q in QUANTILES}
    return found | {"n": int(histogram.total)}


def _shot(view: View) -> Shot:
    depth_m = view.depth_m[::DEPTH_EVERY, ::DEPTH_EVERY]
    k = view.intrinsics
    height, width = depth_m.shape
    # Every second pixel's centre, not the middle of four: half a pixel of the large image off.
    shift = 0.5 - 0.5 / DEPTH_EVERY
    small = {
        "fx": k.fx / DEPTH_EVERY,
        "fy": k.fy / DEPTH_EVERY,
        "cx": k.cx / DEPTH_EVERY + shift,
        "cy": k.cy / DEPTH_EVERY + shift,
    }
    pose = view.world_from_camera
    meta = {
        "world_from_camera": {
            "t": pose[:3, 3].tolist(),
            "q_wxyz": [float(q) for q in quat_from_rotation(pose[:3, :3])],
        },
        "intrinsics": {"fx": k.fx, "fy": k.fy, "cx": k.cx, "cy": k.cy, "width": k.width, "height": k.height},
        "depth": {"intrinsics": small | {"width": width, "height": height}},
    }
    _, image = cv2.imencode(".jpg", cv2.cvtColor(view.rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    _, depth = cv2.imencode(".png", np.rint(depth_m * 1000).astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return Shot(image.tobytes(), depth.tobytes(), meta)


def _parts(shot: Shot, capture_ns: int) -> dict[str, bytes]:
    return {
        "image": shot.image,
        "depth": shot.depth,
        "meta": json.dumps(shot.meta | {"capture_ns": capture_ns}).encode(),
    }


def _trust(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=Path(str(server.ca)).read_bytes())


def _table(report: dict[str, Any]) -> str:
    rows = {key: report[key] for key in ("keyframe_to_delta", "integrated_to_delta", "posted_to_delta")} | report[
        "hops"
    ]
    lines = [
        f"{report['phones']} phones, {report['frames_per_s']:g} frames/s each: {report['keyframes']} keyframes, "
        f"{report['keyframes_with_delta']} changed the NavMesh"
    ]
    lines += [
        f"  {name:20}" + "".join(f"  p{q} {row[f'p{q}']:7.1f}" for q in QUANTILES) + " ms" for name, row in rows.items()
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.posed_latency", description="From a depth keyframe to the NavMesh at a client."
    )
    parser.add_argument("--phones", type=int, default=1, choices=(1, 2))
    parser.add_argument("--seconds", type=float, default=40.0, help="how long to count")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before counting")
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    main()
