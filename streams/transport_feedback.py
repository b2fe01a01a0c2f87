"""Transport-wide congestion control, the receiver's half: tell the sender when each of its packets arrived.

With it a browser measures the link itself and sends its full size at once; without it, it creeps up for half a minute.
Follows draft-holmer-rmcat-transport-wide-cc-extensions-01. Sans-I/O.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
INTERVAL_NS = 80_000_000
HISTORY = 1024
"""Packets remembered and reported at most; older ones count as lost."""

_TICK_NS = 250_000
_REFERENCE_NS = 64_000_000
_NOT_RECEIVED, _SMALL_DELTA, _LARGE_DELTA = 0, 1, 2
_SYMBOLS_PER_CHUNK = 7


class TransportFeedback:
    """Collects arrivals and writes the RTCP packets that report them."""

    def __init__(self) -> None:
        self._arrivals: OrderedDict[int, int] = OrderedDict()  # unwrapped sequence number -> ns
        self._newest: int | None = None
        self._unreported: int | None = None  # lowest sequence number with news
        self._count = 0
        self._sent_ns: int | None = None

    def add(self, sequence_number: int, arrival_ns: int) -> None:
        """Note a packet by its 16-bit transport-wide sequence number."""
        newest = sequence_number if self._newest is None else self._newest
        number = newest + (sequence_number - newest + 0x8000) % 0x10000 - 0x8000
        if number in self._arrivals or number <= newest - HISTORY:
            return
        self._newest = max(newest, number)
        self._arrivals[number] = arrival_ns
        while len(self._arrivals) > HISTORY:
            self._arrivals.popitem(last=False)
        self._unreported = number if self._unreported is None else min(self._unreported, number)

    def due(self, now_ns: int) -> bool:
        """Whether it is time to report."""
        return self._unreported is not None and (self._sent_ns is None or now_ns - self._sent_ns >= INTERVAL_NS)

    def report(self, now_ns: int, sender_ssrc: int, media_ssrc: int) -> list[bytes]:
        """RTCP packets about everything since the last report; more than one if arrivals lie too far apart for one."""
        if self._unreported is None or self._newest is None:
            return []
        packets = []
        start, end = max(self._unreported, self._newest - HISTORY + 1), self._newest + 1
        while start < end:
            packet, start = self._packet(start, end, sender_ssrc, media_ssrc)
            packets.append(packet)
        self._unreported, self._sent_ns = None, now_ns
        return packets

    def _packet(self, start: int, end: int, sender_ssrc: int, media_ssrc: int) -> tuple[bytes, int]:
        """One packet from `start` on, and where the next one has to begin."""
        start = next(n for n in range(start, end) if n in self._arrivals)
        reference = self._arrivals[start] // _REFERENCE_NS
        clock = reference * _REFERENCE_NS // _TICK_NS
        symbols: list[int] = []
        deltas = bytearray()
        number = start
        while number < end:
            arrival_ns = self._arrivals.get(number)
            if arrival_ns is None:
                symbols.append(_NOT_RECEIVED)
            else:
                delta = arrival_ns // _TICK_NS - clock
                if not -0x8000 <= delta < 0x8000:
                    break
                clock += delta
                small = 0 <= delta <= 0xFF
                symbols.append(_SMALL_DELTA if small else _LARGE_DELTA)
                deltas += struct.pack(">B" if small else ">h", delta)
            number += 1
        head = struct.pack(">HHI", start & 0xFFFF, len(symbols), (reference & 0xFFFFFF) << 8 | self._count)
        self._count = (self._count + 1) & 0xFF
        body = struct.pack(">II", sender_ssrc, media_ssrc) + head + _chunks(symbols) + bytes(deltas)
        padding = -len(body) % 4
        if padding:
            body += bytes(padding - 1) + bytes([padding])
        first = 0x80 | bool(padding) << 5 | 15
        return struct.pack(">BBH", first, 205, len(body) // 4) + body, number


def _chunks(symbols: list[int]) -> bytes:
    """Status vector chunks of seven two-bit symbols (section 3.1.4)."""
    out = bytearray()
    for i in range(0, len(symbols), _SYMBOLS_PER_CHUNK):
        chunk = 0b11
        for symbol in [*symbols[i : i + _SYMBOLS_PER_CHUNK], *[0] * _SYMBOLS_PER_CHUNK][:_SYMBOLS_PER_CHUNK]:
            chunk = chunk << 2 | symbol
        out += struct.pack(">H", chunk)
    return bytes(out)
