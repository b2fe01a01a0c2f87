"""An append-only file of groups: what a crash leaves of it is exactly a prefix of the groups, never half of one.

Layout, little-endian: a header `magic, version, first sequence, crc`, then frames `u32 length | u32 crc | payload`. The
top bit of `length` says that the group goes on in the next frame, so a group of any size is all there or not there. The
crc covers the length too: a run of zeros (what a power cut may leave) is no frame. A sequence number counts groups.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mapping import disk

MAGIC = b"CGLOG"
VERSION = 1
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
WRITE_ABOVE_BYTES = 1024 * 1024
"""Appended bytes wait in memory up to this much, then go to the operating system (not yet to the disk)."""

_HEADER = struct.Struct("<5sBHQI")
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_GOES_ON = 0x8000_0000


class LogError(OSError):
    """The log cannot be used as it is: damaged header, newer format, or a disk that failed under it."""


@dataclass(frozen=True, slots=True)
class LogExtent:
    """What a scan found: how much of a log file can be believed."""

    first_sequence: int
    groups: int
    good_bytes: int
    cut_bytes: int
    """Bytes behind the last whole group: a torn tail."""

    @property
    def last_sequence(self) -> int:
        """Of the newest whole group; one less than the first when there is none."""
        return self.first_sequence + self.groups - 1


def groups(path: Path) -> Iterator[tuple[int, list[memoryview]]]:
    """(end offset, payloads) of each whole group, in order; stops silently at the first byte that is not one.

    Raises:
        LogError: the header is not one of ours.
        FileNotFoundError: no such log.
    """
    data = memoryview(path.read_bytes())
    _first_sequence(path, data)
    offset, group = _HEADER.size, []
    while offset + _FRAME.size <= len(data):
        word, crc = _FRAME.unpack_from(data, offset)
        start, length = offset + _FRAME.size, word & ~_GOES_ON
        end = start + length
        if length > MAX_PAYLOAD_BYTES or end > len(data):
            return
        if zlib.crc32(data[start:end], zlib.crc32(data[offset : offset + _LENGTH.size])) != crc:
            return
        group.append(data[start:end])
        offset = end
        if not word & _GOES_ON:
            yield offset, group
            group = []


def scan(path: Path) -> LogExtent:
    """Check a log from end to end without decoding it.

    Raises:
        LogError: the header is not one of ours.
    """
    count, good = 0, _HEADER.size
    for end, _ in groups(path):
        count, good = count + 1, end
    with path.open("rb") as file:
        first = _first_sequence(path, memoryview(file.read(_HEADER.size)))
    return LogExtent(first, count, good, path.stat().st_size - good)


def recover(path: Path) -> LogExtent:
    """Scan, and cut a torn tail off, so that the next append follows the last whole group."""
    extent = scan(path)
    if extent.cut_bytes:
        with path.open("r+b") as file:
            file.truncate(extent.good_bytes)
            disk.sync_file(file.fileno())
    return extent


class LogWriter:
    """Appends to one log file. Not thread-safe, but `sync` may run beside `append` (a slow disk stops nobody)."""

    def __init__(self, path: Path, extent: LogExtent) -> None:
        """Continue a file that `create` or `recover` described."""
        self._file = path.open("r+b", buffering=0)
        self._file.seek(extent.good_bytes)
        self._good_bytes = extent.good_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._last_sequence = extent.last_sequence
        self._failure: OSError | None = None

    @classmethod
    def create(cls, path: Path, first_sequence: int) -> LogWriter:
        """Start a log; once this returns, the file is there after any crash."""
        header = _HEADER.pack(MAGIC, VERSION, 0, first_sequence, 0)
        disk.write_file(path, header[: -_LENGTH.size] + _LENGTH.pack(zlib.crc32(header[: -_LENGTH.size])))
        return cls(path, LogExtent(first_sequence, 0, _HEADER.size, 0))

    @property
    def last_sequence(self) -> int:
        """Of the newest group appended, durable or not."""
        return self._last_sequence

    @property
    def size_bytes(self) -> int:
        return self._good_bytes + self._pending_bytes

    def append(self, payloads: Sequence[bytes]) -> int:
        """Add one group; it is durable once `flush` and then `sync` have returned.

        Raises:
            ValueError: no payload, or one above MAX_PAYLOAD_BYTES.
            LogError: an earlier write or sync failed.
        """
        if not payloads:
            raise ValueError("a group needs at least one payload")
        self._check()
        frames: list[bytes] = []
        for i, payload in enumerate(payloads):
            if len(payload) > MAX_PAYLOAD_BYTES:
                raise ValueError(f"record of {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES}")
            length = _LENGTH.pack(len(payload) | (_GOES_ON if i + 1 < len(payloads) else 0))
            frames += [length, _LENGTH.pack(zlib.crc32(payload, zlib.crc32(length))), payload]
        self._pending += frames
        self._pending_bytes += sum(map(len, frames))
        self._last_sequence += 1
        if self._pending_bytes > WRITE_ABOVE_BYTES:
            self.flush()
        return self._last_sequence

    def flush(self) -> None:
        """Hand what is pending to the operating system.

        Raises:
            LogError: the disk refused (full, gone). What is pending is lost to this writer; reopen the log.
        """
        self._check()
        data = memoryview(b"".join(self._pending))
        try:
            while data:
                written = self._file.write(data)
                data = data[written:]
        except OSError as error:
            self._fail(error)
        self._good_bytes += self._pending_bytes
        self._pending, self._pending_bytes = [], 0

    def sync(self) -> None:
        """Bring what was flushed to the disk.

        A failed sync is final: the kernel may have dropped the dirty pages, and a second sync would lie about them.

        Raises:
            LogError: the disk refused.
        """
        self._check()
        try:
            disk.sync_file(self._file.fileno())
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Close the file; flush and sync first if what is pending shall survive."""
        self._file.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise LogError(f"the log failed earlier and must be reopened: {self._failure}") from self._failure

    def _fail(self, error: OSError) -> None:
        self._failure = error
        raise LogError(error.errno, f"cannot write the log: {error.strerror or error}") from error


def _first_sequence(path: Path, data: memoryview) -> int:
    if len(data) < _HEADER.size:
        raise LogError(f"{path.name} is shorter than a log's header")
    magic, version, _, first, crc = _HEADER.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[: _HEADER.size - _LENGTH.size]) != crc:
        raise LogError(f"{path.name} is not a Commonground log")
    if version != VERSION:
        raise LogError(f"{path.name} has log format {version}; this version reads {VERSION}: upgrade Commonground")
    return int(first)
