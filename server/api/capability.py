"""URLs that only their camera knows: whoever has one may act on the stream behind it.

Everybody in a scene sees the names of its streams. The URL a camera is given holds, beside that name, a seal that only
this server can make; so it proves ownership without being stored, also when the stream has long ended.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from streams.frame import StreamId

SEAL_BYTES = 18
MAX_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Owned:
    """What a sealed name stands for."""

    stream: StreamId
    session: str
    """Of a WHIP session; empty for other streams."""


class Seals:
    """Seals names with a key of its own."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, stream: StreamId, session: str = "") -> str:
        """A name fit for a URL's last part."""
        body = f"{session}.{stream}" if session else stream
        return f"{body}.{self._mac(body)}"

    def open(self, name: str) -> Owned | None:
        """The inverse; None for names that this server did not seal."""
        body, _, mac = name[:MAX_LENGTH].rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(body).encode()):
            return None
        session, _, stream = body.rpartition(".")
        return Owned(StreamId(stream), session)

    def _mac(self, body: str) -> str:
        digest = hmac.new(self._key, body.encode(), hashlib.sha256).digest()[:SEAL_BYTES]
        return base64.urlsafe_b64encode(digest).decode()
