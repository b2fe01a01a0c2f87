"""The few disk operations whose order decides what survives a power cut.

Nothing here is clever: each function returns when what it names is on the disk, not merely on its way there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def sync_file(descriptor: int) -> None:
    """Bring an open file's data (and its length) to the disk."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_directory(path: Path) -> None:
    """Bring a directory's entries to the disk: creations, renames and removals in it."""
    with _opened(path) as descriptor:
        os.fsync(descriptor)


def sync_tree(path: Path) -> None:
    """Bring every file and directory below `path`, and `path` itself, to the disk."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            with _opened(Path(folder) / name) as descriptor:
                sync_file(descriptor)
        sync_directory(Path(folder))


def write_file(path: Path, data: bytes) -> None:
    """Replace a file's content so that a reader, at any instant and after any crash, finds the old or the new one."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        sync_file(file.fileno())
    rename(beside, path)


def rename(source: Path, target: Path) -> None:
    """Move within one directory; a file that is already there is replaced."""
    source.replace(target)
    sync_directory(target.parent)


def remove(path: Path) -> None:
    """Delete a file or a whole directory; nothing happens when it is not there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # what is left of it will be removed the next time
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
