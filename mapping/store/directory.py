"""The files of one stored scene, and which of them count.

`manifest.json` names the snapshot and the first log segment that counts after it; it is replaced in one rename, so at
every instant, and after every crash, exactly one set of files is the scene. All else is left over and removed.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

import msgspec

from mapping import disk
from mapping.store import log
from mapping.store.log import LogError, LogWriter

FORMAT = 1

_LOG = logging.getLogger(__name__)


class StoreError(OSError):
    """A scene's directory cannot be used: locked by another process, damaged, or written by a newer version."""


class Manifest(msgspec.Struct, frozen=True):
    """What counts."""

    format: int = FORMAT
    snapshot: str | None = None
    first_segment: int = 1
    sequence: int = 0
    """Newest group that the snapshot holds."""


class SceneDirectory:
    """One directory, locked to this process until closed."""

    def __init__(self, path: Path) -> None:
        """Lock the directory (made if need be), read its manifest and remove what no longer counts.

        Raises:
            StoreError: another process has it open, it is damaged, or a newer version wrote it.
        """
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.manifest = self._read_manifest()
            self.remove_leftovers()
        except BlockingIOError as error:
            self.close()
            raise StoreError(f"{path} is open in another process: stop that one, or choose another folder") from error
        except BaseException:
            self.close()
            raise

    @property
    def snapshot(self) -> Path | None:
        return None if self.manifest.snapshot is None else self.path / self.manifest.snapshot

    def segments(self) -> list[int]:
        """Numbers of the log segments that count, oldest first."""
        return sorted(int(path.stem) for path in self.path.glob("*.log") if path.stem.isdecimal())

    def segment(self, number: int) -> Path:
        return self.path / f"{number:08d}.log"

    def recover(self) -> tuple[int, LogWriter]:
        """The newest segment's number and a writer that goes on behind its last whole group.

        Raises:
            StoreError: a segment's header is damaged or of a newer format.
        """
        numbers = self.segments() or [self.manifest.first_segment]
        sequence = self.manifest.sequence
        try:
            if not self.segment(numbers[-1]).exists():
                return numbers[-1], LogWriter.create(self.segment(numbers[-1]), sequence + 1)
            for path in map(self.segment, numbers):
                extent = log.recover(path)
                if extent.cut_bytes:
                    _LOG.warning("cut %d bytes off %s: they are no whole group", extent.cut_bytes, path)
                if extent.first_sequence != sequence + 1:
                    _LOG.error("%s begins at %d after %d: groups are lost", path, extent.first_sequence, sequence)
                sequence = extent.last_sequence
            return numbers[-1], LogWriter(path, extent)
        except LogError as error:
            raise StoreError(f"{self.path}: {error}; restore the folder from a copy") from error

    def switch(self, manifest: Manifest) -> None:
        """Let other files count from now on, and remove those that do not any more."""
        disk.write_file(self.path / "manifest.json", msgspec.json.encode(manifest))
        self.manifest = manifest
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Delete what the manifest does not name: an unfinished snapshot, or what a roll-up made redundant."""
        for path in self.path.iterdir():
            is_segment = path.suffix == ".log" and path.stem.isdecimal()
            is_old_segment = is_segment and int(path.stem) < self.manifest.first_segment
            is_other_snapshot = path.suffix == ".zarr" and path.name != self.manifest.snapshot
            if path.suffix == ".tmp" or is_old_segment or is_other_snapshot:
                disk.remove(path)
        disk.sync_directory(self.path)

    def close(self) -> None:
        """Unlock."""
        os.close(self._lock)

    def _read_manifest(self) -> Manifest:
        path = self.path / "manifest.json"
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            manifest = Manifest()
            disk.write_file(path, msgspec.json.encode(manifest))
        except msgspec.DecodeError as error:
            raise StoreError(f"{path} is damaged ({error}); restore the folder from a copy") from error
        if manifest.format != FORMAT:
            raise StoreError(f"{self.path} has format {manifest.format}, this version reads {FORMAT}: upgrade")
        return manifest
