from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.trickle import Candidate, TrickleError, candidate_from_sdp, read_fragment

LINE = "1 1 UDP 2130706431 192.0.2.7 61764 typ host"
FRAGMENT = f"""a=ice-ufrag:EsAw\r
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r
m=video 9 UDP/TLS/RTP/SAVPF 0\r
a=mid:0\r
a=candidate:{LINE} generation 0 ufrag EsAw\r
a=candidate:2 1 tcp 1 2001:db8::1 9 typ srflx raddr 10.0.0.1 rport 9 tcptype active\r
a=candidate:3 1 udp 5 0f9b3c1e-8b1a-4f6e-9b0e-0123456789ab.local 50000 typ host\r
a=end-of-candidates\r
"""


def test_a_fragment_is_read() -> None:
    fragment = read_fragment(FRAGMENT.encode())
    assert fragment.ufrag == "EsAw"
    assert fragment.complete
    assert fragment.candidates[0] == Candidate("1", 1, "udp", 2130706431, "192.0.2.7", 61764, "host")
    assert [c.usable for c in fragment.candidates] == [True, False, True]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"hello",
        b"a=candidate:" + LINE.encode(),
        b"a=ice-ufrag:a\r\na=ice-ufrag:b\r\n",
        b"a=ice-ufrag:a b\r\n",
        b"a=ice-ufrag:x\r\na=candidate:\r\n",
        b"a=ice-ufrag:x\r\n" * 2000,
        b"a=ice-ufrag:x\r\n" + b"".join(b"a=candidate:%d 1 udp 1 192.0.2.7 9 typ host\r\n" % i for i in range(65)),
    ],
)
def test_a_malformed_fragment_is_refused(body: bytes) -> None:
    with pytest.raises(TrickleError):
        read_fragment(body)


@pytest.mark.parametrize(
    "line",
    [
        "1 1 udp 1 192.0.2.7 9",
        "1 1 udp 1 192.0.2.7 9 type host",
        "1 1 udp 1 192.0.2.7 9 typ guest",
        "1 1 udp 1 192.0.2.7 65536 typ host",
        "1 1 udp 1 192.0.2.7 -1 typ host",
        "1 1 udp 1 192.0.2.7 ٣ typ host",
        "1 1 udp 1 example.org 9 typ host",
        "1 1 udp 1 0.0.0.0 9 typ host",
        "1 1 udp 1 224.0.0.1 9 typ host",
        "1 1 udp 99999999999999 192.0.2.7 9 typ host",
        f"{'f' * 33} 1 udp 1 192.0.2.7 9 typ host",
    ],
)
def test_a_malformed_candidate_is_refused(line: str) -> None:
    with pytest.raises(TrickleError):
        candidate_from_sdp(line)


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(TrickleError):
        assert read_fragment(body).ufrag


@given(st.lists(st.sampled_from([*LINE.split(), "", "-1", "x" * 300, "::", "é", "typ"]), max_size=12).map(" ".join))
def test_any_shuffle_of_fields_is_read_or_refused(line: str) -> None:
    try:
        candidate = candidate_from_sdp(line)
    except TrickleError:
        return
    assert 0 <= candidate.port <= 65535
    assert 0 <= candidate.component <= 256
