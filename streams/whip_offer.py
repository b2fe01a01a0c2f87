"""Read an SDP offer as a WHIP endpoint must (RFC 9725), without touching the network.

Only what the rules need is read here; the WebRTC stack reads the rest. Candidates are taken out of the offer, so that
they are checked, counted and added one by one like trickled ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.problem import RequestRefused
from streams.trickle import Candidate, candidate_from_sdp

MAX_SDP_BYTES = 64 * 1024
MAX_SECTIONS = 8
MAX_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Offer:
    """A valid offer with exactly one video track to receive."""

    sdp: str
    """Without its candidates."""
    candidates: tuple[Candidate, ...]
    video_mid: str
    ice_ufrag: str
    has_data: bool


@dataclass(frozen=True, slots=True)
class _Section:
    kind: str
    port: int
    attributes: tuple[tuple[str, str], ...]

    def first(self, name: str) -> str | None:
        return next((value for key, value in self.attributes if key == name), None)


def read_offer(body: bytes) -> Offer:
    """Check an offer.

    Raises:
        RequestRefused: 413 too long; 400 not an SDP offer we can read; 422 readable, but not a video publisher.
    """
    if len(body) > MAX_SDP_BYTES:
        raise RequestRefused(413, "SDP offer too large", f"{len(body)} bytes; at most {MAX_SDP_BYTES}")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed("it is not UTF-8 text") from error
    session, sections = _split(text)
    media = [s for s in sections if s.kind in ("audio", "video") and s.port != 0]
    videos = [s for s in media if s.kind == "video"]
    if not videos:
        raise _unsuitable("there is no video track in it; publish the camera's video")
    if len(videos) > 1:
        raise _unsuitable("there is more than one video track in it; publish each camera with its own request")
    for section in sections:
        if section.port != 0:
            _check_transport(section, session)
    for section in media:
        _check_media(section)
    _check_bundle(session, [s for s in sections if s.port != 0])
    video = videos[0]
    kept = [line for line in text.splitlines() if line and not line.startswith(("a=candidate:", "a=end-of-candidates"))]
    return Offer(
        sdp="\r\n".join(kept) + "\r\n",
        candidates=_candidates(sections),
        video_mid=_require(video.first("mid"), "a=mid"),
        ice_ufrag=_require(video.first("ice-ufrag") or session.first("ice-ufrag"), "a=ice-ufrag"),
        has_data=any(s.kind == "application" and s.port != 0 for s in sections),
    )


def _split(text: str) -> tuple[_Section, list[_Section]]:
    lines = [line for line in text.splitlines() if line]
    if not lines or lines[0] != "v=0":
        raise _malformed("its first line is not v=0")
    head: tuple[str, int] = ("session", 0)
    attributes: list[tuple[str, str]] = []
    sections: list[_Section] = []
    for number, line in enumerate(lines, 1):
        if len(line) < 2 or line[1] != "=":
            raise _malformed(f"line {number} is not of the form x=value")
        if line[0] == "m":
            sections.append(_Section(*head, tuple(attributes)))
            head, attributes = _media_line(line), []
        elif line[0] == "a":
            key, _, value = line[2:].partition(":")
            attributes.append((key, value))
    sections.append(_Section(*head, tuple(attributes)))
    if len(sections) - 1 > MAX_SECTIONS:
        raise _unsuitable(f"it has {len(sections) - 1} media sections; at most {MAX_SECTIONS}")
    return sections[0], sections[1:]


def _media_line(line: str) -> tuple[str, int]:
    fields = line[2:].split()
    if len(fields) < 4 or not fields[1].isascii() or not fields[1].isdigit() or int(fields[1]) > 65535:
        raise _malformed("an m= line is not `m=<kind> <port> <profile> <formats>`")
    return fields[0], int(fields[1])


def _check_transport(section: _Section, session: _Section) -> None:
    def found(name: str) -> str:
        return _require(section.first(name) or session.first(name), f"a={name}")

    found("ice-ufrag"), found("ice-pwd")
    if len(found("fingerprint").split()) != 2:
        raise _malformed("a=fingerprint is not `<hash> <digest>`")
    if found("setup") not in ("actpass", "active", "passive"):
        raise _malformed("a=setup is none of actpass, active, passive")
    _require(section.first("mid"), "a=mid")


def _check_media(section: _Section) -> None:
    if section.first("rtcp-mux") is None:
        raise _unsuitable("RTP and RTCP must share a port (a=rtcp-mux)")
    directions = {"sendonly", "sendrecv", "recvonly", "inactive"} & {key for key, _ in section.attributes}
    if section.kind == "video" and not directions <= {"sendonly", "sendrecv"}:
        raise _unsuitable("a publisher's video must be sendonly (or sendrecv)")


def _check_bundle(session: _Section, active: list[_Section]) -> None:
    mids = [s.first("mid") or "" for s in active]
    if len(set(mids)) != len(mids):
        raise _malformed("two media sections have the same a=mid")
    if len(active) < 2:
        return
    groups = [value.split()[1:] for key, value in session.attributes if key == "group" and value.startswith("BUNDLE")]
    if not any(set(mids) <= set(group) for group in groups):
        raise _unsuitable("all tracks must share one transport (a=group:BUNDLE with every mid)")


def _candidates(sections: list[_Section]) -> tuple[Candidate, ...]:
    lines = [value for s in sections for key, value in s.attributes if key == "candidate"]
    if len(lines) > MAX_CANDIDATES:
        raise _unsuitable(f"it lists {len(lines)} ICE candidates; at most {MAX_CANDIDATES}")
    try:
        return tuple(dict.fromkeys(candidate_from_sdp(line) for line in lines))
    except ValueError as error:
        raise _malformed(str(error)) from error


def _require(value: str | None, name: str) -> str:
    if not value:
        raise _malformed(f"{name} is missing")
    return value


def _malformed(why: str) -> RequestRefused:
    return RequestRefused(400, "Malformed SDP offer", f"The offer cannot be read: {why}.")


def _unsuitable(why: str) -> RequestRefused:
    return RequestRefused(422, "Unsuitable SDP offer", f"The offer cannot be accepted: {why}.")
