"""Files named by the sha256 of their content. A blob is there whole or not at all; the same bytes are one blob.

A blob is written beside, hashed on the way, synced and renamed: a kill or a full disk at any point leaves at most a
temporary file, which the next sweep removes. Threads may write at once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mapping import disk
from server.api.contract import Refused, Unprocessable

CHUNK_BYTES = 1 << 20
_HEX = re.compile(r"[0-9a-f]{64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class BlobTooLarge(Refused):
    status = 413


class StorageFull(Refused):
    """Nothing was written."""

    status = 507


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed."""

    blobs: int = 0
    size_bytes: int = 0


class Blobs:
    """A folder of blobs, `sha256/ab/abcd...`; `incoming/` holds what is being written."""

    def __init__(self, folder: Path, max_blob_bytes: int, max_store_bytes: int) -> None:
        """
        Raises:
            OSError: the folder cannot be written.
        """
        self._root, self._incoming = folder / "sha256", folder / "incoming"
        self._max_blob_bytes, self._max_store_bytes = max_blob_bytes, max_store_bytes
        self._lock = threading.Lock()
        self._incoming.mkdir(parents=True, exist_ok=True)
        for first in range(256):
            (self._root / f"{first:02x}").mkdir(parents=True, exist_ok=True)
        disk.sync_directory(self._root)
        disk.sync_directory(folder)
        self._used_bytes = sum(entry.stat().st_size for entry in self._entries())

    @property
    def used_bytes(self) -> int:
        return self._used_bytes

    def path(self, sha256: str) -> Path:
        """Where a blob lies, or would lie.

        Raises:
            ValueError: that is no hash.
        """
        if _HEX.fullmatch(sha256) is None:
            raise ValueError("a blob's name is 64 lowercase hex digits")
        return self._root / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """Bytes of a blob; None when it is not here."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def keep(self, sha256: str, now_ns: int) -> bool:
        """Start its time of grace anew; False when it is not here."""
        with self._lock:
            return self._touch(self.path(sha256), now_ns)

    def put(self, data: bytes) -> str:
        """Store bytes; their hash."""
        with self.writing() as writer:
            writer.write(data)
            return writer.finish()

    def put_file(self, path: Path) -> str:
        """Store a copy of a file; its hash.

        Raises:
            OSError: it cannot be read, or changed while it was.
        """
        with path.open("rb") as source, self.writing() as writer:
            before = os.fstat(source.fileno())
            while chunk := source.read(CHUNK_BYTES):
                writer.write(chunk)
            after = os.fstat(source.fileno())
            if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, writer.size_bytes):
                raise OSError(errno.EBUSY, "the file changed while it was read", str(path))
            return writer.finish()

    @contextlib.contextmanager
    def writing(self) -> Iterator[BlobWriter]:
        """A blob in the making; without `finish` nothing remains of it.

        Raises:
            StorageFull: the disk, or what is allowed of it, is full.
        """
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        temporary = Path(name)
        try:
            with _explained(), os.fdopen(descriptor, "wb") as file:
                yield BlobWriter(self, file, temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def sweep(self, is_marked: Callable[[str], bool], grace_s: float, now_ns: int) -> Swept:
        """Remove every blob that is not marked and was not touched within the time of grace."""
        oldest_ns, count, size_bytes = now_ns - int(grace_s * 1e9), 0, 0
        for entry in list(self._entries()):
            if is_marked(entry.name):
                continue
            with self._lock, contextlib.suppress(FileNotFoundError):
                stat = entry.stat()
                if stat.st_mtime_ns < oldest_ns:
                    entry.unlink()
                    self._used_bytes -= stat.st_size
                    count, size_bytes = count + 1, size_bytes + stat.st_size
        for left_over in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if left_over.stat().st_mtime_ns < oldest_ns:
                    left_over.unlink()
        return Swept(count, size_bytes)

    def _entries(self) -> Iterator[Path]:
        for folder in self._root.iterdir():
            yield from folder.iterdir()

    def _touch(self, path: Path, now_ns: int) -> bool:
        try:
            os.utime(path, ns=(now_ns, now_ns))
        except FileNotFoundError:
            return False
        return True

    def _publish(self, temporary: Path, sha256: str, size_bytes: int) -> None:
        with self._lock:
            if self._touch(self.path(sha256), time.time_ns()):
                return
            if self._used_bytes + size_bytes > self._max_store_bytes:
                raise StorageFull(f"the asset store holds its {self._max_store_bytes} bytes; delete assets first")
            disk.rename(temporary, self.path(sha256))
            self._used_bytes += size_bytes

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._max_blob_bytes:
            raise BlobTooLarge(f"a file may have at most {self._max_blob_bytes} bytes")


class BlobWriter:
    """Takes a blob's bytes in pieces."""

    def __init__(self, blobs: Blobs, file: BinaryIO, temporary: Path) -> None:
        self._blobs, self._file, self._temporary = blobs, file, temporary
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """
        Raises:
            BlobTooLarge: that is more than one blob may have.
            StorageFull: the disk is full.
        """
        self.size_bytes += len(data)
        self._blobs._check(self.size_bytes)
        self._hash.update(data)
        with _explained():
            self._file.write(data)

    def finish(self, expected: str | None = None) -> str:
        """Make it a blob; its hash.

        Raises:
            Unprocessable: these are not the bytes of the expected hash.
            StorageFull: the disk, or what is allowed of it, is full.
        """
        found = self._hash.hexdigest()
        if expected is not None and found != expected:
            raise Unprocessable(f"the bytes have the hash {found}, not {expected}", found=found)
        with _explained():
            self._file.flush()
            disk.sync_file(self._file.fileno())
            self._blobs._publish(self._temporary, found, self.size_bytes)
        return found


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("the disk is full; nothing was stored") from error
        raise
