"""New files of a folder become blobs and versions; each is read once, as long as it does not change."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from server.api.contract import Unprocessable
from server.assets import discovery, formats
from server.assets.blobs import CHUNK_BYTES, Blobs
from server.assets.discovery import Config, Group, Seen
from server.assets.values import AssetFile, NewVersion, Version

Publish = Callable[[Group, NewVersion], Version | None]
"""Of a group whose files are blobs by now."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look into the folder came to."""

    folder: Path
    published: tuple[Version, ...]
    refused: Mapping[str, str]
    """Files below the folder, and why; what is refused is not read again until it changes."""
    unsettled: int
    """Assets that are still being written."""
    skipped: tuple[str, ...]
    """What was left out, and why."""


class Intake:
    """Looks into one folder again and again; any thread may, one after the other."""

    def __init__(self, config: Config, blobs: Blobs, max_blob_bytes: int) -> None:
        self._config, self._blobs, self._max_blob_bytes = config, blobs, max_blob_bytes
        self._hashes: dict[Path, tuple[int, int, str]] = {}
        """Size, time (ns) and hash of files that are there."""
        self._broken: dict[Seen, str] = {}
        """Files as they were when they were refused, and why."""
        self._looking = threading.Lock()

    def look(self, is_known: Callable[[str], bool], publish: Publish) -> Found:
        """Publish what is new; `is_known` says of a hash whether an asset has it already."""
        with self._looking:
            found = discovery.look(self._config, self._max_blob_bytes, time.time_ns())
            if found.skipped:
                log.warning("left out of the asset folder", extra={"files": found.skipped[:10]})
            taken, refused = list[Version](), dict[str, str]()
            for group in found.groups:
                try:
                    version = self._take_in(group, is_known, publish)
                except (OSError, Unprocessable) as error:
                    refused[str(group.files[0].path.relative_to(self._config.folder))] = _said(error)
                else:
                    taken += [] if version is None else [version]
            present = {seen.path for group in found.groups for seen in group.files}
            self._hashes = {path: known for path, known in self._hashes.items() if path in present}
            self._broken = {seen: reason for seen, reason in self._broken.items() if seen.path in present}
        return Found(self._config.folder, tuple(taken), refused, found.unsettled, found.skipped)

    def _take_in(self, group: Group, is_known: Callable[[str], bool], publish: Publish) -> Version | None:
        """
        Raises:
            OSError: a file cannot be read.
            Unprocessable: it is broken.
        """
        for seen in group.files:
            if (reason := self._broken.get(seen)) is not None:
                raise Unprocessable(reason)
        if is_known(self._hash(group.files[0])):
            return None
        files = tuple(self._stored(seen) for seen in group.files)
        said = {"source": "discovered", **group.provenance}
        try:
            return publish(group, NewVersion(files=files, provenance=said))
        except Unprocessable as refused:
            log.warning("an asset is refused", extra={"asset": group.asset, "reason": refused.detail})
            broken = refused.more.get("file")
            self._broken |= {
                seen: refused.detail for seen, file in zip(group.files, files, strict=True) if file.sha256 == broken
            }
            raise

    def _stored(self, seen: Seen) -> AssetFile:
        sha256, mime = self._blobs.put_file(seen.path), formats.MIME[seen.format]
        size = self._blobs.size(sha256) or 0
        return AssetFile(role=seen.role, format=seen.format, sha256=sha256, size=size, mime=mime)

    def _hash(self, seen: Seen) -> str:
        """Of a file's content, read anew only when size or time changed."""
        known = self._hashes.get(seen.path)
        if known is not None and known[:2] == (seen.size, seen.mtime_ns):
            return known[2]
        digest = hashlib.sha256()
        with seen.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        self._hashes[seen.path] = (seen.size, seen.mtime_ns, digest.hexdigest())
        return digest.hexdigest()


def _said(error: OSError | Unprocessable) -> str:
    return error.detail if isinstance(error, Unprocessable) else str(error.strerror or error)
