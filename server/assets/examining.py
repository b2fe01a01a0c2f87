"""What is to be published is read first: what is broken is refused, what is sound is measured.

Whoever generates assets here vouches for them; files that are uploaded or found in a folder are anybody's. They are
read one after the other in a process of their own (`reader`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from mapping.objects.reading import FORMATS
from server.api.contract import Unprocessable
from server.assets import formats
from server.assets.blobs import Blobs
from server.assets.kinds import told_apart
from server.assets.reader import Reader
from server.assets.resolve import AUTHORITY, rank
from server.assets.values import AssetFile, AssetType, NewVersion

MAX_FILES = 32
Wants = Literal["", "thumbnail", "levels", "all"]


class Examiner:
    """One for each store of blobs; any thread may use it."""

    def __init__(self, blobs: Blobs, reader: Reader) -> None:
        self._blobs, self._reader = blobs, reader

    def examined(self, version: NewVersion, name: str, type: AssetType, *, completes: bool = False) -> NewVersion:
        """The same version with what was measured and what it lacks; may take seconds.

        `bbox_m`, `quality` and a thumbnail are added unless its publisher gave them; triangles are counted.

        Args:
            completes: plain GLBs in three levels of detail and a hull are made, too.

        Raises:
            Unprocessable: a file is not what it is said to be, or is broken; the message says what is wrong.
            StorageFull: there is no room for what is made.
        """
        for file in version.files:
            formats.check(file)
        version = told_apart(version, self._blobs)
        readable = [number for number, file in enumerate(version.files) if self._is_readable(file)]
        readable.sort(key=lambda number: rank(version.files[number]))
        for number in readable:
            first = number == readable[0]
            wants = _wants(version, version.files[number], completes) if first else ""
            version = self._read(version, number, name, type, wants, measures=first)
        return version

    def _read(
        self, version: NewVersion, number: int, name: str, type: AssetType, wants: Wants, *, measures: bool
    ) -> NewVersion:
        file = version.files[number]
        with tempfile.TemporaryDirectory(prefix="asset-") as folder:
            path = str(self._blobs.path(file.sha256))
            told = self._reader.ask(
                path=path, format=file.format, name=name, asset_type=type, wants=wants, folder=folder
            )
            if "refused" in told:
                raise Unprocessable(f"{file.role} {file.format}: {told['refused']}", file=file.sha256)
            made = [self._stored(Path(folder), one) for one in told["files"]]
        counted = file if told["triangles"] is None else file.model_copy(update={"triangles": told["triangles"]})
        files = [*version.files[:number], counted, *version.files[number + 1 :], *made][:MAX_FILES]
        facts = _facts(version, told["facts"]) if measures else {}
        if wants == "all":
            facts["provenance"] = {**version.provenance, "converted_from": file.format}
        try:
            return NewVersion.model_validate({**dict(version), "files": tuple(files), **facts})
        except ValidationError as error:  # with what was measured it is more than is kept
            raise Unprocessable(f"{file.role} {file.format}: {error.errors()[0]['msg']}") from error

    def _stored(self, folder: Path, told: dict[str, Any]) -> AssetFile:
        path = folder / told["name"]
        sha256, format = self._blobs.put_file(path), path.suffix[1:]
        return AssetFile(
            role=told["role"], format=format, sha256=sha256, size=path.stat().st_size, mime=formats.MIME[format],
            triangles=told["triangles"],
        )  # fmt: skip

    def _is_readable(self, file: AssetFile) -> bool:
        is_plain = file.encoding == "identity" and file.format in FORMATS and file.role != "other"
        return is_plain and self._blobs.size(file.sha256) is not None  # what is not here is refused elsewhere


def _wants(version: NewVersion, file: AssetFile, completes: bool) -> Wants:
    """What is to be made of the most telling file."""
    if completes and file.role != "splat":
        return "levels" if file.format == AUTHORITY else "all"
    return "" if any(one.role in ("thumbnail", "preview") for one in version.files) else "thumbnail"


def _facts(version: NewVersion, found: dict[str, Any]) -> dict[str, Any]:
    """What the publisher said stays."""
    if not found:
        return {}
    return {"bbox_m": version.bbox_m or found["bbox_m"], "quality": {**found["quality"], **version.quality}}
