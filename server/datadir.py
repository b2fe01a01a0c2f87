"""One server at a time writes a data folder; others learn from the lock where it can be reached."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path


class DataDirBusy(OSError):
    """Another server has the folder."""

    def __init__(self, folder: Path, url: str | None) -> None:
        super().__init__(f"{folder} belongs to a server that is running" + (f" at {url}" if url else ""))
        self.url = url


class DataLock:
    """Held while a server runs; the kernel lets go of it however the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def announce(self, url: str) -> None:
        """Tell other programs on this machine where the server is."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"url": url, "pid": os.getpid()}).encode(), 0)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[DataLock]:
    """Hold a data folder, making it if needed.

    Raises:
        DataDirBusy: a server runs on it.
        OSError: it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirBusy(folder, _url(os.pread(descriptor, 4096, 0))) from None
        os.ftruncate(descriptor, 0)
        yield DataLock(descriptor)
    finally:
        os.close(descriptor)


def _url(content: bytes) -> str | None:
    try:
        url = json.loads(content).get("url")
    except (ValueError, AttributeError):
        return None
    return url if isinstance(url, str) else None
