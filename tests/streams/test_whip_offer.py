from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.problem import RequestRefused
from streams.whip_offer import read_offer

OFFER = """v=0
o=- 4962303333179871722 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0 1
a=ice-options:trickle
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=ice-ufrag:zjkk
a=ice-pwd:TP5upXdJSTrlTAkSZ+QMXXXX
a=fingerprint:sha-256 DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09:DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF
a=setup:actpass
a=mid:0
a=sendonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=ice-ufrag:zjkk
a=ice-pwd:TP5upXdJSTrlTAkSZ+QMXXXX
a=fingerprint:sha-256 DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09:DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF
a=setup:actpass
a=mid:1
a=sendonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=candidate:1 1 udp 2130706431 192.0.2.7 61764 typ host
a=end-of-candidates
""".replace("\n", "\r\n")
AUDIO, VIDEO = OFFER.index("m=audio"), OFFER.index("m=video")


def test_a_good_offer_is_read_and_its_candidates_are_taken_out() -> None:
    offer = read_offer(OFFER.encode())
    assert (offer.video_mid, offer.ice_ufrag, offer.has_data) == ("1", "zjkk", False)
    assert [c.host for c in offer.candidates] == ["192.0.2.7"]
    assert "candidate" not in offer.sdp
    assert offer.sdp.count("m=") == 2


def test_attributes_of_the_session_hold_for_its_media() -> None:
    head, media = OFFER[:AUDIO], OFFER[VIDEO:]
    moved = "".join(re.findall(r"a=(?:ice-ufrag|ice-pwd|fingerprint|setup):.*\r\n", media))
    text = (head + moved + re.sub(r"a=(?:ice-ufrag|ice-pwd|fingerprint|setup):.*\r\n", "", media)).replace(
        "BUNDLE 0 1", "BUNDLE 1"
    )
    assert read_offer(text.encode()).ice_ufrag == "zjkk"


def without(pattern: str) -> bytes:
    return re.sub(pattern, "", OFFER).encode()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "v=0"),
        (b"\xff\xff", 400, "UTF-8"),
        (b"v=0\r\nhello\r\n", 400, "line 2"),
        (b"v=0\r\nm=video nine UDP/TLS/RTP/SAVPF 96\r\n", 400, "m="),
        (b"v=0\r\n" + b"a=x\r\n" * 20000, 413, "at most"),
        (OFFER[:VIDEO].replace("BUNDLE 0 1", "BUNDLE 0").encode(), 422, "no video"),
        ((OFFER + OFFER[VIDEO:].replace("mid:1", "mid:2")).encode(), 422, "more than one video"),
        (OFFER.replace("m=video 9", "m=video 0").encode(), 422, "no video"),
        (OFFER.replace("a=sendonly", "a=recvonly").encode(), 422, "sendonly"),
        (OFFER.replace("a=sendonly", "a=inactive").encode(), 422, "sendonly"),
        (without("a=rtcp-mux\r\n"), 422, "rtcp-mux"),
        (without("a=group.*\r\n"), 422, "BUNDLE"),
        (without("a=ice-ufrag.*\r\n"), 400, "ice-ufrag"),
        (without("a=ice-pwd.*\r\n"), 400, "ice-pwd"),
        (without("a=fingerprint.*\r\n"), 400, "fingerprint"),
        (without("a=setup.*\r\n"), 400, "setup"),
        (without("a=mid.*\r\n"), 400, "mid"),
        (OFFER.replace("a=mid:1", "a=mid:0").encode(), 400, "same"),
        (OFFER.replace("setup:actpass", "setup:holdconn").encode(), 400, "setup"),
        (OFFER.replace("61764", "99999").encode(), 400, "port"),
        ((OFFER + "a=candidate:1 1 udp 1 192.0.2.7 9 typ host\r\n" * 70).encode(), 422, "64"),
        ((OFFER + "m=audio 0 X 0\r\n" * 9).encode(), 422, "media sections"),
    ],
)
def test_what_is_wrong_with_an_offer_is_said(body: bytes, status: int, says: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_offer(body)
    assert refused.value.status == status
    assert says in refused.value.detail
    assert refused.value.title


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_status(body: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_offer(body)
    assert refused.value.status in (400, 413, 422)


@given(st.lists(st.tuples(st.integers(0, len(OFFER)), st.integers(0, 40), st.text(max_size=8)), min_size=1, max_size=4))
def test_any_damage_to_an_offer_is_survived_or_refused(damage: list[tuple[int, int, str]]) -> None:
    text = OFFER
    for start, length, instead in damage:
        text = text[:start] + instead + text[start + length :]
    with contextlib.suppress(RequestRefused):
        offer = read_offer(text.encode("utf-8", "surrogatepass"))
        assert offer.video_mid
        assert offer.ice_ufrag
