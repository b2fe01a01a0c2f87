"""Every error a client sees over HTTP: `application/problem+json` (RFC 9457) with what went wrong and what to do."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from server.api.contract import Refused
from server.auth import Denied
from streams.problem import RequestRefused

log = logging.getLogger(__name__)


def problem(
    status: int, detail: str, *, headers: dict[str, str] | None = None, retry_after_s: float | None = None, **more: Any
) -> JSONResponse:
    """One problem; `more` are extension members."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    headers = dict(headers or {})
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Turn every exception that requests can cause into a problem."""

    async def denied(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Denied)
        return problem(error.status, error.detail)

    async def unfit(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestRefused)
        return problem(error.status, error.detail, reason=error.title)

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refused)
        return problem(error.status, error.detail, retry_after_s=error.retry_after_s, **error.more)

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, Refused):  # raised while FastAPI read the body
            return await refused(_, error.__cause__)
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()[:16]]
        detail = "; ".join(f"{e['where']}: {e['what']}" for e in errors[:3])
        return problem(422, detail, errors=errors)

    async def crashed(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", exc_info=error, extra={"method": request.method, "route": _route(request)})
        return problem(500, "the server failed at this request; its log says why")

    app.add_exception_handler(Denied, denied)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RequestRefused, unfit)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, crashed)


def _route(request: Request) -> str:
    """The route's pattern: paths hold session ids, which are secrets."""
    return str(getattr(request.scope.get("route"), "path", "-"))
