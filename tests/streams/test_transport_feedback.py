"""Reports are decoded here again, by a reader written from the draft for this test."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from streams.transport_feedback import HISTORY, INTERVAL_NS, TransportFeedback

MS = 1_000_000


def decode(packet: bytes) -> dict[int, int | None]:
    """Sequence number (16 bit) -> arrival in ticks of 250 us, None = not received."""
    first, kind, length = struct.unpack_from(">BBH", packet)
    assert (first & 0xDF, kind, (length + 1) * 4) == (0x80 | 15, 205, len(packet))
    base, count, reference = struct.unpack_from(">HHI", packet, 12)
    clock = (reference >> 8) * 256
    symbols: list[int] = []
    position = 20
    while len(symbols) < count:
        (chunk,) = struct.unpack_from(">H", packet, position)
        assert chunk >> 14 == 0b11
        symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        position += 2
    arrivals: dict[int, int | None] = {}
    for i, symbol in enumerate(symbols[:count]):
        number = (base + i) % 65536
        arrivals[number] = None
        if symbol == 1:
            clock += packet[position]
            position += 1
        elif symbol == 2:
            clock += struct.unpack_from(">h", packet, position)[0]
            position += 2
        if symbol:
            arrivals[number] = clock
    padding = packet[-1] if first & 0x20 else 0
    assert position + padding == len(packet)
    return arrivals


def test_a_report_names_what_arrived_when_and_what_did_not() -> None:
    feedback = TransportFeedback()
    for number, at_ms in [(65534, 1000), (65535, 1001), (1, 1090), (2, 1089)]:
        feedback.add(number, at_ms * MS)
    (packet,) = feedback.report(1100 * MS, 7, 8)
    assert decode(packet) == {65534: 4000, 65535: 4004, 0: None, 1: 4360, 2: 4356}
    assert struct.unpack_from(">II", packet, 4) == (7, 8)


def test_a_late_packet_is_reported_together_with_those_around_it() -> None:
    feedback = TransportFeedback()
    for number in (10, 12, 13):
        feedback.add(number, number * MS)
    feedback.report(0, 1, 1)
    feedback.add(11, 50 * MS)
    (packet,) = feedback.report(0, 1, 1)
    assert decode(packet) == {11: 200, 12: 48, 13: 52}
    assert packet[19] == 1  # the second report


def test_reports_keep_their_interval() -> None:
    feedback = TransportFeedback()
    assert not feedback.due(0)
    feedback.add(1, 0)
    assert feedback.due(0)
    feedback.report(0, 1, 1)
    feedback.add(2, MS)
    assert not feedback.due(MS)
    assert feedback.due(INTERVAL_NS)
    assert feedback.report(INTERVAL_NS, 1, 1)
    assert feedback.report(INTERVAL_NS, 1, 1) == []


def test_a_pause_too_long_for_one_report_makes_two() -> None:
    feedback = TransportFeedback()
    feedback.add(1, 0)
    feedback.add(2, 60_000 * MS)
    first, second = (decode(packet) for packet in feedback.report(0, 1, 1))
    assert (first, second) == ({1: 0}, {2: 240_000})


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 400)), min_size=1, max_size=60))
def test_whatever_arrives_is_reported_once_and_memory_is_bounded(arrivals: list[tuple[int, int]]) -> None:
    feedback = TransportFeedback()
    now_ns = 0
    for number, wait_ms in arrivals:
        now_ns += wait_ms * MS
        feedback.add(number, now_ns)
        if feedback.due(now_ns):
            for packet in feedback.report(now_ns, 1, 1):
                assert 1 <= len(decode(packet)) <= HISTORY
    assert len(feedback._arrivals) <= HISTORY
