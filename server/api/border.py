"""What every HTTP request passes first: size, rate and origin; and the headers every answer carries."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.contract import Refused
from server.api.guard import Guard
from server.api.problems import problem

BODY_PATIENCE_S = 10.0
"""How long a request's body may pause."""
BODY_BYTES_PER_S = 64_000
"""How fast one has to come on the whole, once it has taken `BODY_PATIENCE_S`: a slow one holds what others wait for."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: mediastream:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), accelerometer=(self), gyroscope=(self)",
}


class TooLarge(Refused):
    """The body is longer than the route takes."""

    status = 413


class TooSlow(Refused):
    """The body stopped coming, or trickles."""

    status = 408


class Border:
    """ASGI middleware. `frame_suffix`, `picture_suffix`, `blob_prefix` and `job_paths` name what takes large bodies."""

    def __init__(
        self,
        app: ASGIApp,
        guard: Guard,
        max_body_bytes: int,
        max_frame_bytes: int,
        max_blob_bytes: int = 0,
        *,
        frame_suffix: str = "/frames",
        picture_suffix: str = "/locate",
        blob_prefix: str = "/v1/blobs/",
        job_paths: frozenset[str] = frozenset(),
        max_job_bytes: int = 0,
    ) -> None:
        self._app = app
        self._guard = guard
        self._max_body_bytes, self._max_frame_bytes = max_body_bytes, max_frame_bytes
        self._max_blob_bytes = max(max_body_bytes, max_blob_bytes)
        self._max_job_bytes = max(max_body_bytes, max_job_bytes)
        self._frame_suffix, self._picture_suffix = frame_suffix, picture_suffix
        self._blob_prefix, self._job_paths = blob_prefix, job_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        origin = connection.headers.get("origin")
        cross_origin = origin if origin is not None and self._guard.is_cross_origin(origin) else None

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if cross_origin is not None:
                    headers["Access-Control-Allow-Origin"] = cross_origin
                    headers["Access-Control-Expose-Headers"] = "Location, ETag, Link, Retry-After, Content-Range"
                    headers.add_vary_header("Origin")
            await send(message)

        if cross_origin is not None and _is_preflight(scope, connection):
            await _preflight(scope)(scope, receive, send_with_headers)
            return
        is_frame = scope["path"].endswith(self._frame_suffix)
        is_blob = scope["method"] == "PUT" and scope["path"].startswith(self._blob_prefix)
        is_job = scope["method"] == "POST" and scope["path"] in self._job_paths
        is_large = is_frame or scope["path"].endswith(self._picture_suffix)
        limit = self._max_frame_bytes if is_large else self._max_blob_bytes if is_blob else self._max_body_bytes
        limit = self._max_job_bytes if is_job else limit
        try:
            if scope["method"] not in SAFE:
                if not self._guard.allows_origin(connection):
                    response = problem(403, "pages from there may not do this; see auth.origins")
                    await response(scope, receive, send_with_headers)
                    return
                self._guard.throttle(connection, is_frame=is_frame)
            _check_length(connection, limit)
            await self._app(scope, _capped(receive, limit), send_with_headers)
        except Refused as refused:  # of this file or the guard: nothing has been answered yet
            response = problem(refused.status, refused.detail, retry_after_s=refused.retry_after_s)
            await response(scope, receive, send_with_headers)


def _check_length(connection: HTTPConnection, limit: int) -> None:
    length = connection.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > limit:
        raise TooLarge(f"the body has {length[:20]} bytes; at most {limit} are taken here")


def _capped(receive: Receive, limit: int) -> Receive:
    received, complete = 0, False
    began_s: float | None = None

    async def receive_capped() -> Message:
        nonlocal received, complete, began_s
        if complete:
            return await receive()
        began_s = time.monotonic() if began_s is None else began_s
        left_s = began_s + BODY_PATIENCE_S + received / BODY_BYTES_PER_S - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), min(max(left_s, 0.0), BODY_PATIENCE_S))
        except TimeoutError:
            raise TooSlow(f"the body stopped, or comes at less than {BODY_BYTES_PER_S / 1000:g} kB a second") from None
        complete = message["type"] != "http.request" or not message.get("more_body", False)
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLarge(f"the body is longer than the {limit} bytes that are taken here")
        return message

    return receive_capped


def _is_preflight(scope: Scope, connection: HTTPConnection) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in connection.headers


def _preflight(scope: Scope) -> Response:
    headers = {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Range",
        "Access-Control-Max-Age": "600",
    }
    if scope["path"].endswith("/whip"):
        headers["Accept-Post"] = "application/sdp"
    return Response(status_code=204, headers=headers)
