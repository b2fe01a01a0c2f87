"""Plain requests to a server, with its certificate authority and a token; nothing but the standard library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

from clients.address import tls_context

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 16 << 20


class HttpError(Exception):
    """The server said no, or cannot be reached (then `status` is None)."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    location: str | None
    """Absolute."""
    body: bytes


class Http:
    """Requests to one server."""

    def __init__(self, url: str, *, token: str | None = None, ca: str | os.PathLike[str] | bool = True) -> None:
        """
        Raises:
            ValueError: the URL is not a server's address.
            OSError: the file of the certificate authority cannot be read.
        """
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(f"{url!r} is not a server's address; want something like https://localhost:8443")
        self.url = url.rstrip("/") + "/"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        # No proxies: the server is on this network, and they rarely forward to it.
        https = urllib.request.HTTPSHandler(context=tls_context(url, ca))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        *,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Send a request to a path below the server's address, or to an absolute URL; at most `max_bytes` are read.

        Raises:
            HttpError: the answer is an error (its text is what the server's problem+json says), or there is none.
        """
        more = dict(headers or {}) | ({"Content-Type": content_type} if body is not None else {})
        return await asyncio.to_thread(self._request, method, urljoin(self.url, path), body, more, max_bytes)

    def _request(self, method: str, url: str, body: bytes | None, more: dict[str, str], max_bytes: int) -> Answer:
        request = urllib.request.Request(url, data=body, headers=self._headers | more, method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                location = response.headers.get("Location")
                return Answer(response.status, location and urljoin(url, location), response.read(max_bytes))
        except urllib.error.HTTPError as error:
            raise HttpError(f"{url} answered {error.code}: {_detail(error)}", error.code) from error
        except (OSError, HTTPException) as error:
            raise HttpError(f"cannot reach {url}: {error}") from error


def _detail(error: urllib.error.HTTPError) -> str:
    with contextlib.suppress(ValueError, OSError, KeyError, TypeError):
        return str(json.loads(error.read(MAX_ANSWER_BYTES))["detail"])
    return error.reason
