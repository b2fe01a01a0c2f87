"""From files in a job's spool to a version on the asset bus: checked, stored as blobs, then published exactly once."""

from __future__ import annotations

import json
import logging
import os
import stat
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from server.api.contract import Conflict, NotFound, Refused
from server.assets import formats
from server.assets.bus import LEAST_GRACE_S, AssetBus
from server.assets.catalog import Catalog
from server.assets.database import Gone
from server.assets.registry import WITHDRAWN
from server.assets.swap import target
from server.assets.values import AssetFile, NewAsset, NewVersion, Ref, Version
from server.generation.provider import Description, GenerationFailed
from server.jobs import fingerprint, legs
from server.jobs.values import Job

log = logging.getLogger(__name__)
GENERATED = "generated"
"""Tag of the assets that came into being with a job."""
PREVIEW = "preview"
"""In the provenance of what a job shows on its way."""
FACTS = ("bbox_m", "pivot_m", "placement", "scale_confidence", "quality")
MOST_SAID_BYTES = 4096
_MAGIC = {
    "glb": b"glTF",
    "png": b"\x89PNG",
    "jpg": b"\xff\xd8\xff",
    "usdz": b"PK",
    "ply": b"ply",
    "ktx2": b"\xabKTX 20",
    "spz": b"\x1f\x8b",
    "sog": b"PK",
    "step": b"ISO-10303-21;",
}


class Publisher:
    """Puts results on a bus. Methods block: call them beside the event loop."""

    def __init__(self, bus: AssetBus) -> None:
        self._bus = bus

    def store(self, job: Job, description: Description, told: Mapping[str, Any], folder: Path) -> NewVersion:
        """Check a result as a worker tells it, and store its files; they are on the disk when this returns.

        Raises:
            GenerationFailed: the result is no good; nothing of it will be seen.
            StorageFull: there is no room.
        """
        try:
            files = tuple(self._file(file, folder) for file in told["files"])
            facts = {name: told["metadata"][name] for name in FACTS if name in told["metadata"]}
            version = NewVersion(files=files, provenance=_provenance(job, description), **facts)
        except (ValidationError, KeyError, TypeError, AttributeError) as error:
            message = f"what it made cannot be described: {type(error).__name__}: {error}"[:1000]
            raise GenerationFailed("bad_result", message) from error
        if version.placement is not None and version.placement.scene != job.wanted.scene:
            raise GenerationFailed("bad_result", "it placed its asset in a scene that is not the job's")
        return version

    def publish(self, job: Job, made: NewVersion, step: str = "result") -> int:
        """Make it a version of the job's asset; doing so again finds the same one, as does what is the newest already.

        Args:
            step: names this publication among those of the job, the same in every attempt.

        Raises:
            Conflict: this step was published already, with other content; or the asset belongs to another scene.
            NotFound, Gone, Unprocessable: the asset was deleted; a blob is gone.
            StorageFull, Busy: not now.
        """
        wanted = job.wanted

        def work(catalog: Catalog, now_ns: int) -> int:
            try:
                scene = catalog.asset(job.asset, now_ns).scene
            except (NotFound, Gone):  # one that was withdrawn comes back
                name = wanted.asset_name or wanted.text[:128] or job.asset
                new = NewAsset(name=name, type=wanted.asset_type, tags=(GENERATED,), scene=wanted.scene)
                scene = catalog.register(job.asset, new, now_ns).scene
            if scene != wanted.scene:
                raise Conflict(f"asset {job.asset!r} belongs to another scene")
            if (version := _newest(catalog, job)) is None or not _is_same(version, made):
                version = catalog.publish(job.asset, made, f"#job {job.job} {step}", now_ns)
            if wanted.slot is not None:
                _put(catalog, wanted.slot, scene, version, now_ns)
            return version.version

        return self._bus.do(work)

    def offer(self, job: Job, made: NewVersion, step: str) -> int:
        """Publish what is there until there is better; nobody goes back to it. Raises what `publish` does."""
        return self.publish(job, made.model_copy(update={"provenance": {**made.provenance, PREVIEW: True}}), step)

    def withdraw(self, job: Job) -> None:
        """Take back what was shown of a job that came to nothing: what was there before it is the newest again.

        An asset that there was before the job, but without any version, keeps the preview. Doing so again changes
        nothing.

        Raises:
            StorageFull, Busy: not now.
        """

        def work(catalog: Catalog, now_ns: int) -> None:
            try:
                asset, newest = catalog.asset(job.asset, now_ns), catalog.version(job.asset, None)
            except (NotFound, Gone):  # it was never shown, or is not any more
                return
            if _is_of(newest, job) and (before := _before(catalog, newest, job)) is not None:
                fields = set(NewVersion.model_fields) - {"placement"}  # it stands wherever it stands by now
                newest = catalog.publish(job.asset, NewVersion(**before.model_dump(include=fields)), None, now_ns)
            if _is_of(newest, job):
                if GENERATED in asset.tags:
                    catalog.bury(job.asset, WITHDRAWN, None, now_ns)
                return
            slot = None if job.wanted.slot is None else catalog.find_slot(job.wanted.slot)
            shown = None if slot is None else target(slot)
            if slot is None or shown is None or shown.asset != job.asset:
                return
            if _is_of(catalog.version(shown.asset, shown.version), job):
                catalog.swap(slot.slot, slot.scene, Ref(newest.asset, newest.version), None, None, None, now_ns)

        self._bus.do(work)

    @property
    def grace_s(self) -> float:
        """For how long files stay that no version names."""
        return max(self._bus.config.grace_s, LEAST_GRACE_S)

    def path(self, file: AssetFile) -> Path:
        """Where a stored file can be read."""
        return self._bus.blobs.path(file.sha256)

    def has_all(self, version: NewVersion) -> bool:
        """Whether every file is still stored; if so, they stay for a while."""
        return all(self._bus.blobs.keep(file.sha256, time.time_ns()) for file in version.files)

    def _file(self, told: Mapping[str, Any], folder: Path) -> AssetFile:
        path = Path(told["path"])
        format = path.suffix[1:].lower()
        if format not in formats.MIME:
            raise GenerationFailed("bad_result", f"files of the format {format[:16]!r} are not published")
        data = _read_within(folder, path, self._bus.config.max_blob_bytes)
        _check(format, data)
        return AssetFile(
            role=told["role"],
            format=format,
            encoding=told["encoding"],
            sha256=self._bus.blobs.put(data),
            size=len(data),
            mime=formats.MIME[format],
            extensions=tuple(told["extensions"]),
            triangles=told["triangles"],
        )


def _newest(catalog: Catalog, job: Job) -> Version | None:
    """The newest version of a job's asset, if this job made it."""
    try:
        newest = catalog.version(job.asset, None)
    except NotFound:
        return None
    return newest if _is_of(newest, job) else None


def _is_of(version: Version, job: Job) -> bool:
    return version.provenance.get("job") == job.job


def _before(catalog: Catalog, version: Version, job: Job) -> Version | None:
    """The newest version before this one that is not the job's, too, and no preview."""
    versions = (catalog.version(job.asset, number) for number in range(version.version - 1, 0, -1))
    return next((v for v in versions if not _is_of(v, job) and not v.provenance.get(PREVIEW)), None)


def _is_same(version: Version, made: NewVersion) -> bool:
    facts = ("placement", "quality", "provenance")
    hashes = [[file.sha256 for file in one.files] for one in (version, made)]
    return hashes[0] == hashes[1] and all(getattr(version, name) == getattr(made, name) for name in facts)


def _put(catalog: Catalog, slot: str, scene: str | None, made: Version, now_ns: int) -> None:
    """Show it in the slot, unless somebody has emptied or used it since this job's version before."""
    known, to = catalog.find_slot(slot), Ref(made.asset, made.version)
    shown = None if known is None else target(known)
    if shown == to:
        return
    if made.version > 1:
        before = catalog.version(made.asset, made.version - 1)
        is_next = before.provenance.get("job") == made.provenance.get("job")
        if is_next and shown != Ref(before.asset, before.version):
            return
    try:
        catalog.swap(slot, scene, to, None, None, made.placement, now_ns)
    except Refused as refused:
        log.warning("a version was published, but not put into its slot", extra={"slot": slot, "why": refused.detail})


def _read_within(folder: Path, path: Path, max_bytes: int) -> bytes:
    """
    Raises:
        GenerationFailed: it is no plain file within the folder, or too large.
    """
    try:
        resolved = path.resolve(strict=True)
        descriptor = os.open(resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise GenerationFailed("bad_result", f"a file of the result cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not resolved.is_relative_to(folder.resolve()):
            raise GenerationFailed("bad_result", "a file of the result is not in the job's folder")
        if status.st_size > max_bytes:
            raise GenerationFailed(
                "bad_result", f"a file of the result has {status.st_size} bytes; at most {max_bytes}"
            )
        return file.read()


def _check(format: str, data: bytes) -> None:
    """
    Raises:
        GenerationFailed: it is not what its name says.
    """
    is_it = data.startswith(_MAGIC.get(format, b""))
    if is_it and format == "glb":
        is_it = _is_glb(data)
    if not data or not is_it:
        raise GenerationFailed("bad_result", f"a file of the result is no {format}")


def _is_glb(data: bytes) -> bool:
    if len(data) < 20:
        return False
    version, length, size = struct.unpack_from("<III", data, 4)
    if version != 2 or length != len(data) or 20 + size > length or data[16:20] != b"JSON":
        return False
    try:
        head = json.loads(data[20 : 20 + size])
    except (ValueError, RecursionError):
        return False
    return isinstance(head, dict) and isinstance(head.get("asset"), dict) and head["asset"].get("version") == "2.0"


def _provenance(job: Job, description: Description) -> dict[str, Any]:
    """Who made it, of what, under which terms; the same in every attempt."""
    wanted = job.wanted
    said = {"text": wanted.text, "params": wanted.params}
    facts: dict[str, Any] = {
        "job": job.job,
        "provider": description.name,
        "revision": description.revision,
        "licence": asdict(description.licence),
        "seed": wanted.seed,
        "inputs": [{"role": file.role, "sha256": file.sha256} for file in legs.inputs(job)],
        "request": fingerprint.of_result(wanted, legs.inputs(job), description.name, description.revision),
    }
    return facts | said if len(json.dumps(said)) <= MOST_SAID_BYTES else facts
