"""Simulated phones for a server without real ones: `python -m benchmarks.demo --url https://localhost:8443 --phones 2`.

Each walks its own round through the synthetic flat and publishes through real WebRTC. The rounds are rendered once and
kept in the user's cache folder (`--prepare` does only that, as set-up does); after that a phone costs its packets.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks import synthetic
from benchmarks.synthetic import Walk, layout
from clients.camera import Camera, MotionSample
from clients.http import Http, HttpError
from clients.video import load
from mapping.transforms import log_so3
from server.parent import die_with

logger = logging.getLogger("commonground.demo")

RETRY_S = 2.0
SAY_EVERY_S = 10.0
SAMPLE_S = 1 / 60


def main(argv: list[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    if options.parent is not None:
        die_with(options.parent)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for library in ("aioice", "aiortc", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    recordings = prepare(options.phones)
    if options.prepare:
        return
    token = os.environ.get(options.token_env) or None
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            run(options.url, options.scene, recordings, token=token, ca=options.ca or True, motion=options.motion)
        )


def prepare(num_phones: int) -> list[tuple[Walk, Path]]:
    """The walks of that many phones (every second one starts elsewhere on the same round) and their recordings."""
    rounds = synthetic.walks()
    missing = [index for index, walk in enumerate(rounds[:num_phones]) if not synthetic.cached_path(walk).exists()]
    if missing:
        logger.info("rendering %d walks through the synthetic flat, once (about a minute)", len(missing))
        with get_context("spawn").Pool(len(missing)) as pool:
            pool.map(_render, missing)
    return [(rounds[i % 2], synthetic.cached_path(rounds[i % 2])) for i in range(num_phones)]


def _render(index: int) -> None:
    """Render one walk in a process of its own."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    walk = synthetic.walks()[index]

    def progress(done: int, total: int) -> None:
        if done % (total // 10) == 0:
            logger.info("  %s: %d of %d frames", walk.name, done, total)

    synthetic.cached(cache(synthetic.build), walk, progress=progress)


async def run(
    url: str, scene: str, recordings: list[tuple[Walk, Path]], *, token: str | None, ca: str | bool, motion: bool
) -> None:
    """Let the phones walk until the program is told to stop; each comes back when it loses the server."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    phones = [
        asyncio.create_task(_phone(url, scene, index, walk, path, token, ca, motion))
        for index, (walk, path) in enumerate(recordings)
    ]
    await stopping.wait()
    for phone in phones:
        phone.cancel()
    await asyncio.gather(*phones, return_exceptions=True)


async def declare_marker(url: str, scene: str, token: str | None, ca: str | bool) -> None:
    """Tell the server of the marker on the living room's wall: it gives the map its scale and its phones one world.

    Raises:
        HttpError: the server cannot be reached, or there is no such scene.
    """
    marker = layout.plan().marker
    cue = {"kind": "marker", "dictionary": marker.dictionary, "size_m": marker.size_m}
    await Http(url, token=token, ca=ca).request("POST", f"v1/scenes/{scene}/cues", json.dumps(cue).encode())


async def _phone(
    url: str, scene: str, index: int, walk: Walk, path: Path, token: str | None, ca: str | bool, motion: bool
) -> None:
    clip = load(path, fps=synthetic.FPS)
    sensors = _sensors(walk) if motion else None
    while True:
        try:
            await declare_marker(url, scene, token, ca)
            label = f"simulated phone {index + 1}"
            async with Camera(url, scene, clip, token=token, ca=ca, label=label, motion=sensors) as phone:
                logger.info("phone %d walks (%s)", index + 1, walk.name)
                await _report(index, phone)
        except (HttpError, ConnectionError, TimeoutError) as error:
            logger.info("phone %d: %s; trying again", index + 1, error or "no connection")
            await asyncio.sleep(RETRY_S)


async def _report(index: int, phone: Camera) -> None:
    """Say now and then how the phone is doing."""
    latencies: list[float] = []
    next_s = asyncio.get_running_loop().time() + SAY_EVERY_S
    async for answer in phone.answers():
        latencies.append(answer.latency_ms)
        if asyncio.get_running_loop().time() >= next_s:
            next_s += SAY_EVERY_S
            logger.info("phone %d: %s, pose %.0f ms after capture (median), %.0f %% of the map seen", index + 1,
                        answer.state, float(np.nanmedian(latencies)), 100 * answer.seen_share)  # fmt: skip
            latencies.clear()


def _sensors(walk: Walk) -> Callable[[float], MotionSample]:
    """What the phone's accelerometer and gyroscope say at a time of the walk."""

    def sample(time_s: float) -> MotionSample:
        before, after = walk.at(time_s - SAMPLE_S)[:3, :3], walk.at(time_s + SAMPLE_S)[:3, :3]
        here = walk.at(time_s)[:3, :3]
        ux, uy, uz = (float(v) for v in here.T @ [0.0, 1.0, 0.0])
        rx, ry, rz = (float(v) for v in log_so3(before.T @ after) / (2 * SAMPLE_S))
        return MotionSample((ux, uy, uz), (rx, ry, rz))

    return sample


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.demo", description="Simulated phones in a synthetic flat."
    )
    parser.add_argument("--url", default="https://localhost:8443", help="the server's address")
    parser.add_argument("--ca", help="file of the server's own certificate authority")
    parser.add_argument("--token-env", default="COMMONGROUND_TOKEN", help="variable that holds a publishing token")
    parser.add_argument("--scene", default="flat", help="the scene to publish to")
    parser.add_argument("--phones", type=int, default=2, choices=range(1, 9), help="how many phones walk")
    parser.add_argument("--no-motion", dest="motion", action="store_false", help="phones without motion sensors")
    parser.add_argument("--parent", type=int, help="the process to end with, when it is not a person who starts this")
    parser.add_argument("--prepare", action="store_true", help="render and cache the walks, then stop")
    return parser


if __name__ == "__main__":
    main()
