"""The web application around given scenes, and the one HTTPS port it is served on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from server import tls
from server.api import (
    aliases,
    assets_blobs,
    assets_events,
    assets_slots,
    assets_socket,
    frames,
    jobs,
    jobs_events,
    locate,
    navmesh,
    pages,
    problems,
    queries,
    rest,
    system,
    whip,
)
from server.api import assets as assets_rest
from server.api import socket as map_socket
from server.api.border import Border
from server.api.capability import Seals
from server.api.connections import Door
from server.api.contract import Scenes
from server.api.guard import Guard
from server.api.jobs_counter import Counter
from server.api.qpipe import Qpipe
from server.api.transport import Framer, MapSocketProtocol
from server.assets.opened import Assets
from server.auth import Tokens, load_secret
from server.config import Settings
from server.generation.opened import Generation
from server.join import Invitations, svg
from server.metrics import LoopProbe, Metrics

log = logging.getLogger(__name__)

REISSUE_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this server is to others: its tokens, its names and its certificate."""

    tokens: Tokens
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    cert: Path | None
    """None = plain HTTP."""
    key: Path | None
    authority: tls.Authority | None
    """Our own, when no certificate was configured."""

    @property
    def scheme(self) -> str:
        return "http" if self.cert is None else "https"


def identify(settings: Settings) -> Identity:
    """Read or make the secret and the certificate.

    Raises:
        OSError: data_dir cannot be written, or a configured file not be read.
        ValueError: the configured secret is too short, or only one of tls.cert and tls.key is set.
    """
    if (settings.tls.cert is None) != (settings.tls.key is None):
        raise ValueError("set both tls.cert and tls.key, or neither")
    tokens = Tokens(load_secret(settings.auth, settings.data_dir / "secret"))
    names, addresses = tuple(tls.local_names(settings.tls.names)), tuple(tls.local_addresses())
    if not settings.tls.enabled:
        return Identity(tokens, names, addresses, None, None, None)
    if settings.tls.cert is not None:
        return Identity(tokens, names, addresses, settings.tls.cert, settings.tls.key, None)
    authority = tls.Authority(settings.data_dir / "tls")
    authority.ensure(names, datetime.now(UTC))
    return Identity(tokens, names, addresses, authority.cert_path, authority.key_path, authority)


def create_app(
    settings: Settings,
    scenes: Scenes,
    identity: Identity,
    metrics: Metrics,
    port: int | None = None,
    assets: Assets | None = None,
    generation: Generation | None = None,
) -> ASGIApp:
    """The whole web application; `port` is where it listens, if that is not the configured one."""
    guard = Guard(identity.tokens, settings.auth, settings.rate, identity.names, time.monotonic)
    api = create_api(settings, scenes, identity, metrics, guard, port or settings.http.port, assets, generation)
    limits = settings.limits
    return Border(
        api,
        guard,
        limits.max_body_bytes,
        limits.max_frame_bytes,
        settings.assets.max_blob_bytes,
        job_paths=jobs.PATHS | aliases.PATHS,
        max_job_bytes=settings.generation.jobs.limits.max_body_bytes,
    )


def create_api(
    settings: Settings,
    scenes: Scenes,
    identity: Identity,
    metrics: Metrics,
    guard: Guard,
    port: int,
    assets: Assets | None = None,
    generation: Generation | None = None,
) -> FastAPI:
    """All routes, without the border that checks sizes, rates and origins."""

    def invite(scene: str, host: str) -> system.Invitation:
        ttl_s, addresses = settings.auth.join_ttl_s, list(identity.addresses)
        link = Invitations(identity.tokens, ttl_s, identity.scheme, port, addresses).link(scene, host)
        return system.Invitation(url=link, svg=svg(link))

    api = FastAPI(title="Commonground", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    problems.install(api)
    seals = Seals(identity.tokens.derive("stream urls"))
    ca_path = identity.authority.ca_path if identity.authority is not None else None
    store = settings.scenes.each.map.store
    privacy = system.Privacy(keeps_pictures=store.retain_pixels, kept_s=store.keyframe_ttl_s)
    api.include_router(system.router(scenes, guard, metrics, invite, ca_path, privacy))
    api.include_router(rest.router(scenes, guard, seals))
    api.include_router(queries.router(scenes, guard))
    api.include_router(locate.router(scenes, guard))
    api.include_router(navmesh.router(scenes, guard))
    api.include_router(frames.router(scenes, guard, seals))
    api.include_router(whip.router(scenes, guard, seals))
    door = Door(guard, settings.limits, metrics)
    api.include_router(map_socket.router(scenes.bus, door, metrics))
    if assets is not None:
        api.include_router(assets_events.router(assets, guard))
        api.include_router(assets_rest.router(assets.bus, guard))
        api.include_router(assets_slots.router(assets, guard))
        api.include_router(assets_blobs.router(assets.bus.blobs, guard))
        api.include_router(assets_socket.router(assets, door))
    if assets is not None and generation is not None:
        counter = Counter(generation, assets.bus, guard, scenes.film)
        api.include_router(jobs.router(counter, guard))
        api.include_router(jobs_events.router(counter, guard, door))
        api.include_router(aliases.router(counter, guard, Qpipe(counter, assets.bus, scenes.infer), assets.bus.blobs))
    api.mount("/", pages.Pages(settings.http.pages or pages.default_folder()))
    return api


@contextlib.asynccontextmanager
async def serving(
    settings: Settings,
    scenes: Scenes,
    identity: Identity,
    metrics: Metrics,
    assets: Assets | None = None,
    generation: Generation | None = None,
) -> AsyncIterator[int]:
    """Serve scenes, and assets and jobs if there are any, while the context lasts; gives the port.

    Raises:
        OSError: the port cannot be listened on; the message says which.
    """
    listener = _listen(settings.http.host, settings.http.port)
    port = int(listener.getsockname()[1])
    app = create_app(settings, scenes, identity, metrics, port, assets, generation)
    server = _Server(_uvicorn_config(settings, app, identity))
    probe = LoopProbe(metrics.loop_lag_s.observe)
    async with contextlib.AsyncExitStack() as stack:
        task = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
        stack.push_async_callback(_stop, server, task)
        await server.is_up.wait()
        probe.start()
        stack.callback(probe.stop)
        if identity.authority is not None and server.config.ssl is not None:
            renewal = asyncio.create_task(_renew(settings, identity.authority, server.config.ssl), name="certificate")
            stack.callback(renewal.cancel)
        yield port


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: whoever runs us decides when to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}; set another http.port") from error


def _uvicorn_config(settings: Settings, app: ASGIApp, identity: Identity) -> uvicorn.Config:
    protocol = type("MapSocket", (MapSocketProtocol,), {"linger_s": settings.limits.linger_s, "framer": Framer()})
    return uvicorn.Config(
        app,
        ws=protocol,
        ws_max_size=64 << 10,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.http.trust_proxy,
        timeout_graceful_shutdown=max(1, round(settings.http.close_s)),
        ssl_context_factory=_context_factory(identity),
    )


def _context_factory(identity: Identity) -> Callable[..., ssl.SSLContext] | None:
    cert, key = identity.cert, identity.key
    if cert is None or key is None:
        return None
    return lambda *_: tls.server_context(cert, key)


async def _stop(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    server.should_exit = True
    await asyncio.wait([task])


async def _renew(settings: Settings, authority: tls.Authority, context: ssl.SSLContext) -> None:
    """Sign anew when this machine's addresses change or the certificate is about to expire."""
    while True:
        await asyncio.sleep(REISSUE_EVERY_S)
        names = tls.local_names(settings.tls.names)
        if await asyncio.to_thread(authority.ensure, names, datetime.now(UTC)):
            context.load_cert_chain(authority.cert_path, authority.key_path)
