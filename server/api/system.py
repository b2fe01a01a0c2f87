"""What operators and newcomers ask of a server: is it alive, is it ready, how is it doing, how do phones join."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from server.api.contract import NotFound, Scenes
from server.api.guard import Guard
from server.auth import Role
from server.metrics import Metrics
from streams.frame import SceneId


class Invitation(BaseModel):
    """A link that lets a phone publish into a scene, and the same as a QR code."""

    url: str
    """The token rides behind `#`, which browsers do not send."""
    svg: str


class Privacy(BaseModel):
    """What this server keeps of those who film: the phone page tells it before the camera is asked for."""

    keeps_pictures: bool
    """Whether keyframes' pictures are written to disk; otherwise they live in memory only."""
    kept_s: float | None
    """How long cameras' poses, and pictures if any, stay on disk; null = as long as the map."""


def router(
    scenes: Scenes,
    guard: Guard,
    metrics: Metrics,
    invite: Callable[[str, str], Invitation],
    ca_path: Path | None,
    privacy: Privacy,
) -> APIRouter:
    """`invite(scene, host)` makes a link; `ca_path` is our own authority's certificate, None when another is used."""
    api = APIRouter(tags=["server"])

    @api.get("/healthz")
    async def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @api.get("/readyz")
    async def ready() -> JSONResponse:
        """Frames that come now would be mapped; 503 while not."""
        readiness = scenes.readiness()
        return JSONResponse(readiness.model_dump(), 200 if readiness.is_ready else 503)

    @api.get("/metrics", response_class=Response)
    async def expose(request: Request) -> Response:
        """For Prometheus; from other machines it needs an admin's token."""
        guard.require(request, Role.ADMIN, None)
        _count(scenes, metrics)
        text, media_type = metrics.exposition()
        return Response(text, media_type=media_type)

    @api.get("/ca", response_class=Response)
    async def authority() -> Response:
        """Our certificate authority, as phones install it (DER)."""
        certificate = x509.load_pem_x509_certificate(_ca(ca_path))
        headers = {"Content-Disposition": 'attachment; filename="commonground-ca.crt"'}
        return Response(certificate.public_bytes(Encoding.DER), 200, headers, "application/x-x509-ca-cert")

    @api.get("/ca.pem", response_class=Response)
    async def authority_pem() -> Response:
        """Our certificate authority, as programs read it (PEM)."""
        return Response(_ca(ca_path), media_type="application/x-pem-file")

    @api.get("/v1/join")
    async def join(request: Request, scene: Annotated[str, Query(max_length=64)]) -> Invitation:
        """A link for phones; whoever may administer the scene can hand it out."""
        guard.require(request, Role.ADMIN, scene)
        scenes.scene(SceneId(scene))
        return invite(scene, request.headers.get("host", ""))

    @api.get("/v1/privacy")
    async def tell_privacy() -> Privacy:
        """What becomes of pictures and paths; for everybody."""
        return privacy

    @api.get("/v1/time")
    async def clock() -> dict[str, str]:
        """Unix nanoseconds of the server's clock, as text: they exceed what JSON numbers hold."""
        return {"now_ns": str(time.time_ns())}

    return api


def _count(scenes: Scenes, metrics: Metrics) -> None:
    """Look at what is there now: gauges that nobody has to keep while nobody asks."""
    summaries = scenes.scenes()
    metrics.scenes.set(len(summaries))
    for gauge in (metrics.nav_tiles, metrics.nav_tiles_refused, metrics.streams, metrics.waiting):
        gauge.clear()
    for summary in summaries:
        metrics.nav_tiles.labels(summary.scene).set(summary.num_tiles)
        metrics.nav_tiles_refused.labels(summary.scene).set(summary.num_tiles_refused)
    streams = scenes.streams()
    for kind, number in Counter(stream.kind for stream in streams).items():
        metrics.streams.labels(kind).set(number)
    metrics.saturated.set(scenes.readiness().is_saturated)
    tracked, dropped = sum(s.num_frames for s in streams), sum(s.num_dropped for s in streams)
    if streams:
        metrics.tracked_share.set(tracked / max(1, tracked + dropped))
    for device in scenes.devices():
        metrics.waiting.labels(device.device).set(device.num_waiting)
        metrics.busy_share.labels(device.device).set(device.busy_share)
        metrics.device_bytes.labels(device.device).set(device.device_bytes)
        metrics.device_up.labels(device.device).set(device.state == "ready")
        metrics.device_restarts.labels(device.device).set(device.num_restarts)
        for outcome, count in device.windows.items():
            metrics.device_windows.labels(device.device, outcome).set(count)
        for lane, count in device.queued.items():
            metrics.lane_depth.labels(device.device, lane).set(count)
        for quantile, ms in (("0.5", device.window_ms_p50), ("0.95", device.window_ms_p95)):
            if ms is not None:
                metrics.window_ms.labels(device.device, quantile).set(ms)


def _ca(path: Path | None) -> bytes:
    if path is None:
        raise NotFound("this server's certificate is not from an authority of its own; nothing has to be installed")
    return path.read_bytes()
