"""The client's half of WHIP (RFC 9725): POST an offer, take the answer, DELETE the session at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlencode, urlsplit

from clients.http import Http, HttpError

SDP = "application/sdp"


class Session:
    """One WHIP session of one scene."""

    def __init__(self, http: Http, scene: str, query: Mapping[str, str]) -> None:
        self._http = http
        self._path = f"v1/scenes/{quote(scene, safe='')}/whip" + (f"?{urlencode(query)}" if query else "")
        self._location: str | None = None

    @property
    def id(self) -> str:
        """The last part of the session's URL, which is a secret; empty while there is none."""
        return unquote(urlsplit(self._location or "").path.rstrip("/").rpartition("/")[2])

    async def post(self, offer_sdp: str) -> str:
        """The answer to an offer that holds all candidates.

        Raises:
            HttpError: the server said no, answered something else, or did not answer.
        """
        answer = await self._http.request("POST", self._path, offer_sdp.encode(), SDP)
        if answer.status != 201 or answer.location is None:
            raise HttpError(f"{self._http.url} answered {answer.status} without a session: no WHIP endpoint?")
        self._location = answer.location
        return answer.body.decode("utf-8", "replace")

    async def delete(self) -> None:
        """End the session, if there is one; a server that is gone does not matter any more."""
        if self._location is not None:
            location, self._location = self._location, None
            with contextlib.suppress(HttpError):
                await self._http.request("DELETE", location)
