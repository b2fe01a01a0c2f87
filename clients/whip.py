"""The client's half of WHIP (RFC 9725): POST an offer, take the answer, DELETE the session at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from clients.transport import tls_context

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 256 * 1024


class WhipError(Exception):
    """The server refused a session, or cannot be reached."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


class Session:
    """One WHIP session of one scene."""

    def __init__(
        self, url: str, scene: str, *, token: str | None, ca: str | os.PathLike[str] | bool, query: Mapping[str, str]
    ) -> None:
        """
        Raises:
            ValueError: the URL is not a server's address.
        """
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is not a server's address; want something like https://localhost:8443")
        self.url = f"{url.rstrip('/')}/v1/scenes/{quote(scene, safe='')}/whip" + (
            f"?{urlencode(query)}" if query else ""
        )
        self._tls = tls_context(url, ca)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._location: str | None = None

    @property
    def stream(self) -> str:
        """The last part of the session's URL; empty while there is none."""
        return unquote(urlsplit(self._location or "").path.rstrip("/").rpartition("/")[2])

    async def post(self, offer_sdp: str) -> str:
        """The answer to an offer that holds all candidates.

        Raises:
            WhipError: the server said no, answered something else, or did not answer.
        """
        status, location, body = await asyncio.to_thread(self._request, "POST", self.url, offer_sdp.encode())
        if status != 201 or location is None:
            raise WhipError(f"{self.url} answered {status} without a session: no WHIP endpoint?", status)
        self._location = urljoin(self.url, location)
        return body.decode("utf-8", "replace")

    async def delete(self) -> None:
        """End the session, if there is one; a server that is gone does not matter any more."""
        if self._location is not None:
            location, self._location = self._location, None
            with contextlib.suppress(WhipError):
                await asyncio.to_thread(self._request, "DELETE", location, None)

    def _request(self, method: str, url: str, body: bytes | None) -> tuple[int, str | None, bytes]:
        headers = {**self._headers, **({"Content-Type": "application/sdp"} if body else {})}
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        # No proxies: the server is on this network, and they rarely forward to it.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )
        try:
            with opener.open(request, timeout=TIMEOUT_S) as response:
                return response.status, response.headers.get("Location"), response.read(MAX_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            raise WhipError(f"{url} answered {error.code}: {_detail(error)}", error.code) from error
        except (OSError, HTTPException) as error:
            raise WhipError(f"cannot reach {url}: {error}") from error


def _detail(error: urllib.error.HTTPError) -> str:
    """What the server's problem+json says, or its reason phrase."""
    with contextlib.suppress(ValueError, OSError, KeyError, TypeError):
        return str(json.loads(error.read(MAX_ANSWER_BYTES))["detail"])
    return error.reason
