"""How phones get in: a link with a short-lived token behind `#`, and the same as a QR code."""

from __future__ import annotations

import io
import time

import segno

from server.auth import Grant, Role, Tokens, is_loopback


class Invitations:
    """Makes links to the phone page of one server."""

    def __init__(self, tokens: Tokens, ttl_s: int, scheme: str, port: int, addresses: list[str]) -> None:
        """`addresses` are those by which others on the network reach this machine, the best first."""
        self._tokens = tokens
        self._ttl_s = ttl_s
        self._scheme = scheme
        self._port = port
        self._addresses = addresses

    def link(self, scene: str, host: str = "") -> str:
        """A link with a token to publish in a scene; `host` is how the asker addressed us, if that works for others."""
        token = self._tokens.issue(Grant(scene, Role.PUBLISH), self._ttl_s, int(time.time()))
        return f"{self._scheme}://{self._reachable(host)}/phone#token={token}"

    def _reachable(self, host: str) -> str:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        is_own = name == "localhost" or is_loopback(name.strip("[]"))
        if host and not is_own:
            return host
        address = self._addresses[0] if self._addresses else "localhost"
        return f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}"


def svg(link: str) -> str:
    """A QR code as an SVG image that scales."""
    out = io.BytesIO()
    segno.make_qr(link, error="l").save(out, kind="svg", border=2, omitsize=True, xmldecl=False)
    return out.getvalue().decode()


def terminal(link: str) -> str:
    """A QR code in half blocks, for a terminal."""
    out = io.StringIO()
    segno.make_qr(link, error="l").terminal(out, border=1, compact=True)
    return out.getvalue()
