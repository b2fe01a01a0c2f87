"""New files of a folder become blobs and versions; each is read once, as long as it does not change."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from server.assets import discovery
from server.assets.blobs import CHUNK_BYTES, Blobs
from server.assets.discovery import Config, Group, Seen
from server.assets.values import AssetFile, NewVersion, Version

Publish = Callable[[Group, NewVersion], Version | None]
"""Of a group whose files are blobs by now."""
log = logging.getLogger(__name__)


class Intake:
    """Looks into one folder again and again; any thread may, one after the other."""

    def __init__(self, config: Config, blobs: Blobs, max_blob_bytes: int) -> None:
        self._config, self._blobs, self._max_blob_bytes = config, blobs, max_blob_bytes
        self._hashes: dict[Path, tuple[int, int, str]] = {}
        """Size, time (ns) and hash of files that are there."""
        self._looking = threading.Lock()

    def look(self, is_known: Callable[[str], bool], publish: Publish) -> list[Version]:
        """Publish what is new; `is_known` says of a hash whether an asset has it already."""
        with self._looking:
            found = discovery.look(self._config, self._max_blob_bytes, time.time_ns())
            if found.skipped:
                log.warning("left out of the asset folder", extra={"files": found.skipped[:10]})
            taken = [self._take_in(group, is_known, publish) for group in found.groups]
            present = {seen.path for group in found.groups for seen in group.files}
            self._hashes = {path: known for path, known in self._hashes.items() if path in present}
        return [version for version in taken if version is not None]

    def _take_in(self, group: Group, is_known: Callable[[str], bool], publish: Publish) -> Version | None:
        try:
            if is_known(self._hash(group.files[0])):
                return None
            files = tuple(self._stored(seen) for seen in group.files)
        except OSError as error:
            log.warning("an asset cannot be read", extra={"asset": group.asset, "reason": str(error)})
            return None
        return publish(group, NewVersion(files=files, provenance={"source": "discovered", **group.provenance}))

    def _stored(self, seen: Seen) -> AssetFile:
        role, mime = seen.kind
        sha256 = self._blobs.put_file(seen.path)
        return AssetFile(role=role, format=seen.format, sha256=sha256, size=self._blobs.size(sha256) or 0, mime=mime)

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
