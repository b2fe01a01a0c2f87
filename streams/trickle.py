"""Trickled ICE candidates: the body of a WHIP PATCH, `application/trickle-ice-sdpfrag` (RFC 8840, RFC 9725 4.3.1)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

MAX_FRAGMENT_BYTES = 16 * 1024
MAX_FRAGMENT_CANDIDATES = 64

_TOKEN = re.compile(r"[A-Za-z0-9+/]{1,256}")
_MDNS_NAME = re.compile(r"[0-9A-Za-z-]{1,63}\.local")


class TrickleError(ValueError):
    """A fragment or candidate that does not follow its RFC."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where a peer may be reached (RFC 8839, section 5.1)."""

    foundation: str
    component: int
    protocol: str
    priority: int
    host: str
    """An IP address, or a `.local` name that hides one."""
    port: int
    type: str

    @property
    def usable(self) -> bool:
        """UDP to the one component that RTP and RTCP share; what else is offered is lawful, but not for us."""
        return self.component == 1 and self.protocol == "udp" and self.port > 0 and self.type != "prflx"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A PATCH body, read."""

    ufrag: str
    """Of the ICE session the candidates belong to; another than the session's own asks for an ICE restart."""
    candidates: tuple[Candidate, ...]
    complete: bool
    """No more will come."""


def candidate_from_sdp(value: str) -> Candidate:
    """Read what follows `a=candidate:`.

    Raises:
        TrickleError: it is not a candidate attribute.
    """
    fields = value.split()
    if len(fields) < 8 or fields[6] != "typ":
        raise TrickleError("a candidate needs foundation, component, protocol, priority, address, port and type")
    foundation, component, protocol, priority, host, port, _, kind = fields[:8]
    if not _TOKEN.fullmatch(foundation) or len(foundation) > 32:
        raise TrickleError("a candidate's foundation is not 1 to 32 letters, digits, + or /")
    if kind not in ("host", "srflx", "prflx", "relay"):
        raise TrickleError("a candidate's type is none of host, srflx, prflx, relay")
    return Candidate(
        foundation,
        _number(component, 256, "component"),
        protocol.lower()[:8],
        _number(priority, 2**32 - 1, "priority"),
        _host(host),
        _number(port, 65535, "port"),
        kind,
    )


def read_fragment(body: bytes) -> Fragment:
    """Read a PATCH body.

    Raises:
        TrickleError: it is too long, not text, without ICE credentials, or holds a malformed candidate.
    """
    if len(body) > MAX_FRAGMENT_BYTES:
        raise TrickleError(f"{len(body)} bytes; at most {MAX_FRAGMENT_BYTES}")
    try:
        lines = [line for line in body.decode("utf-8").splitlines() if line]
    except UnicodeDecodeError as error:
        raise TrickleError("it is not UTF-8 text") from error
    if any(len(line) < 2 or line[1] != "=" for line in lines):
        raise TrickleError("a line is not of the form x=value")
    attributes = [line[2:].partition(":")[::2] for line in lines if line[0] == "a"]
    ufrags = {value for key, value in attributes if key == "ice-ufrag"}
    if len(ufrags) != 1 or not all(_TOKEN.fullmatch(u) for u in ufrags):
        raise TrickleError("it needs one a=ice-ufrag that says which ICE session the candidates belong to")
    found = dict.fromkeys(candidate_from_sdp(value) for key, value in attributes if key == "candidate")
    if len(found) > MAX_FRAGMENT_CANDIDATES:
        raise TrickleError(f"{len(found)} candidates; at most {MAX_FRAGMENT_CANDIDATES}")
    return Fragment(ufrags.pop(), tuple(found), any(key == "end-of-candidates" for key, _ in attributes))


def _number(text: str, largest: int, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= largest):
        raise TrickleError(f"a candidate's {name} is not a number from 0 to {largest}")
    return int(text)


def _host(text: str) -> str:
    if _MDNS_NAME.fullmatch(text):
        return text.lower()
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise TrickleError("a candidate's address is neither an IP address nor a .local name") from error
    if address.is_multicast or address.is_unspecified:
        raise TrickleError("a candidate's address cannot be sent to")
    return str(address).partition("%")[0]
