"""What the commands do that run a server, or play recordings into one; told to a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from server import logs
from server.app import Running, mapping, running
from server.assets.opened import opened
from server.auth import Grant, Role
from server.config import Settings
from server.datadir import locked
from server.join import Invitations, terminal
from server.metrics import Metrics
from server.replay import Summary
from server.replay import replay as play
from server.web import Identity, identify, serving
from streams.frame import Intrinsics, SceneId, StreamId
from streams.sources import SourceError, open_source

DEMO = "benchmarks.demo"
DEMO_TOKEN = "COMMONGROUND_TOKEN"
SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from the event loop; with many threads, Python's 5 ms add up."""


async def serve(settings: Settings, console: Console, num_demo_phones: int = 0) -> None:
    """Run a server until the process is told to stop.

    Raises:
        OSError: the port or the data folder cannot be had.
    """
    logs.configure(settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    cv2.setNumThreads(1)  # trackers run side by side, each on a thread of its own; more per picture only get in the way
    if not await until_told_to_stop(_serve(settings, console, num_demo_phones)):
        console.print("stopped")


async def _serve(settings: Settings, console: Console, num_demo_phones: int) -> None:
    identity = identify(settings)
    with locked(settings.data_dir) as lock, console.status("starting the geometry engine ..."):
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(running(settings, identity))
            lock.announce(server.url)
            _set_aside_what_stays()
            console.print(_greeting(settings, server), soft_wrap=True)
            if num_demo_phones:
                await stack.enter_async_context(_demo(settings, server, console, num_demo_phones))
            await _for_ever()


async def replay(
    settings: Settings,
    console: Console,
    sources: list[str],
    *,
    is_realtime: bool,
    k: tuple[float, float, float, float] | None,
    is_posed: bool,
    is_served: bool,
) -> Summary:
    """Play recordings into the configured scene.

    Raises:
        SourceError: a source cannot be opened or read.
        OSError: the data folder or the port cannot be had.
    """
    logs.configure("warning")
    metrics, scene = Metrics(), SceneId(settings.scene)
    camera = _camera(sources[0], k) if k is not None else None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with locked(settings.data_dir) as lock:
        async with contextlib.AsyncExitStack() as stack:
            scenes, engine_up = await stack.enter_async_context(mapping(settings, metrics, scene))
            if is_served:  # what is stored can be watched while the engine warms up
                identity = identify(settings)
                assets = await stack.enter_async_context(
                    opened(settings.assets, settings.data_dir / "assets", scenes.bus)
                )
                port = await stack.enter_async_context(serving(settings, scenes, identity, metrics, assets))
                lock.announce(f"{identity.scheme}://localhost:{port}")
                console.print(f"watch it at {identity.scheme}://localhost:{port}/#scene={scene}")
            await engine_up
            _set_aside_what_stays()
            with Progress(*columns, console=console) as progress:
                tasks = {source: progress.add_task(Path(source).name, total=None) for source in sources}

                def show(source: str, done: int, total: int | None) -> None:
                    progress.update(tasks[source], completed=done, total=total)

                summary = await play(
                    scenes, scene, sources, realtime=is_realtime, intrinsics=camera, posed=is_posed, progress=show
                )
            tell(console, summary)
            if is_served:
                console.print("serving on; Ctrl-C ends it")
                await until_told_to_stop(_for_ever())
    return summary


def _greeting(settings: Settings, server: Running) -> str:
    addresses = list(server.identity.addresses)
    ttl_s = settings.auth.join_ttl_s
    link = Invitations(server.identity.tokens, ttl_s, server.identity.scheme, server.port, addresses).link(
        settings.scene
    )
    lines = [
        "",
        f"  [bold]Commonground[/] serves scene [bold]{settings.scene}[/]",
        f"  map on this machine   [link]{server.url}/[/link]",
        f"  phones scan this      {link.partition('#')[0]} (with a token for {ttl_s // 3600} h)",
        "",
        terminal(link),
    ]
    if server.identity.authority is not None:
        lines += [
            "  Browsers warn about the certificate until they trust this server's own authority:",
            f"  {link.partition('/phone')[0]}/ca  (file: {server.identity.authority.ca_path})",
            "",
        ]
    return "\n".join(lines)


def _set_aside_what_stays() -> None:
    """Take modules, routes and kernels out of the garbage collector's sight.

    They never become garbage, and a full collection that walks over them stops the event loop for 50 ms and more.
    """
    gc.collect()
    gc.freeze()


@contextlib.asynccontextmanager
async def _demo(settings: Settings, server: Running, console: Console, num_phones: int) -> AsyncIterator[None]:
    """Simulated phones, in a process of their own: the server must not import its clients."""
    if importlib.util.find_spec("benchmarks") is None or importlib.util.find_spec(DEMO) is None:
        raise OSError(f"the simulated phones ({DEMO}) are not installed")
    token = server.identity.tokens.issue(Grant(settings.scene, Role.PUBLISH), 7 * 86400, int(time.time()))
    command = [sys.executable, "-m", DEMO, "--url", server.url, "--scene", settings.scene, "--phones", str(num_phones)]
    command += ["--parent", str(os.getpid())]
    command += _trust(server.identity)
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, DEMO_TOKEN: token})
    console.print(f"  {num_phones} simulated phones are on their way", soft_wrap=True)
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()


def _trust(identity: Identity) -> list[str]:
    return [] if identity.authority is None else ["--ca", str(identity.authority.ca_path)]


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def until_told_to_stop(work: Coroutine[Any, Any, None]) -> bool:
    """Do something until it is done, or Ctrl-C or SIGTERM ends it in good order; a second one is not waited with.

    True when it was done.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    task, told = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        is_done = task.done()
        task.cancel()
        told.cancel()
        await asyncio.wait([task, told])
    if not task.cancelled():
        task.result()
    return is_done


def _camera(location: str, k: tuple[float, float, float, float]) -> Intrinsics:
    """Intrinsics of the size in which a source delivers its first frame."""
    source = open_source(location, StreamId("probe"))
    try:
        first = next(iter(source.frames()), None)
    finally:
        source.close()
    if first is None:
        raise SourceError(f"{location} holds no frame")
    return Intrinsics(*k, first.image.width, first.image.height)


def tell(console: Console, summary: Summary) -> None:
    """Say what a replay gave."""
    scene = summary.scene
    scale = "no scale: lengths are not metres" if scene.scale_source == "none" else f"scale by {scene.scale_source}"
    console.print(f"[bold]{scene.scene}[/]: {scene.num_keyframes} keyframes, {scene.num_tiles} NavMesh tiles, {scale}")
    for source in summary.sources:
        console.print(
            f"  {source.stream}: {source.frames} frames, {source.tracked} tracked"
            + (f" and {source.late} posed afterwards" if source.late else "")
            + f", {source.keyframes} keyframes, {source.dropped} dropped"
            + (f"; [yellow]ended early:[/] {source.ended_early}" if source.ended_early else "")
            + (f"; [red]failed:[/] {source.failure}" if source.failure else "")
        )
    frames = sum(source.frames for source in summary.sources)
    console.print(f"  {summary.seconds:.1f} s, {frames / max(summary.seconds, 1e-9):.1f} frames/s")
