"""Finds assets in a folder: files of one name are one asset (`chair.glb`, `chair.png`, `chair.json`).

Links are not followed, and nothing is read that still grows. `chair.json` may say `asset`, `name`, `type`, `tags` and
`provenance`; without it, the type is that of the folder (`characters/`), else a prop.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mapping.objects import words
from server.assets.values import AssetType, Facts, Name, NewAsset, Role, Tag

MODELS: dict[str, Role] = {
    "glb": "lod0", "ply": "source", "obj": "source", "stl": "source", "usdz": "source",
    "spz": "splat", "splat": "splat", "sog": "splat",
}  # fmt: skip
"""By suffix; the first of them that an asset has is what tells it from others."""
ROLES: dict[str, Role] = MODELS | {"png": "preview", "jpg": "preview", "webp": "preview"}
_TYPES: dict[str, AssetType] = {
    "character": "character",
    "characters": "character",
    "environment": "environment",
    "environments": "environment",
}
MAX_SIDECAR_BYTES = 64 << 10


class Config(BaseModel):
    """Where generated assets are put by whoever makes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Path("Models/generated_assets")
    every_s: float | None = Field(default=None, gt=0)
    """Look by oneself; None = only when asked."""
    stable_s: float = Field(default=2.0, ge=0)
    """A file that was written to since may not be whole yet."""
    max_files: int = Field(default=20_000, gt=0)
    max_depth: int = Field(default=4, ge=0, le=16)


class Sidecar(BaseModel):
    """What a .json beside a model may say."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    asset: Name | None = None
    name: str | None = Field(default=None, min_length=1, max_length=128)
    type: AssetType | None = None
    tags: tuple[Tag, ...] = Field(default=(), max_length=32)
    provenance: Facts = {}


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as the folder shows it."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def role(self) -> Role:
        return ROLES[self.format]

    @property
    def format(self) -> str:
        return self.path.suffix[1:].lower()


@dataclass(frozen=True, slots=True)
class Group:
    """Files that are one asset."""

    asset: str
    new: NewAsset
    provenance: Facts
    files: tuple[Seen, ...]
    """The telling one first."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a folder holds now."""

    groups: tuple[Group, ...] = ()
    unsettled: int = 0
    """Assets that are still being written."""
    skipped: tuple[str, ...] = ()
    """What was left out, and why."""


@dataclass(slots=True)
class _Walk:
    config: Config
    files: dict[tuple[Path, str], list[Seen]] = field(default_factory=dict)
    sidecars: dict[tuple[Path, str], Path] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    count: int = 0


def look(config: Config, max_file_bytes: int, now_ns: int) -> Look:
    """List the assets of the folder, without reading models; there need not be such a folder."""
    walk = _Walk(config)
    if not config.folder.is_dir() or config.folder.is_symlink():
        return Look(skipped=(f"{config.folder}: there is no such folder",))
    _enter(walk, config.folder, 0, max_file_bytes)
    newest_ns = now_ns - int(config.stable_s * 1e9)
    groups, unsettled = [], 0
    for (folder, stem), files in sorted(walk.files.items()):
        telling = [file for file in files if file.format in MODELS]
        if not telling:
            continue
        if any(file.mtime_ns > newest_ns for file in files):
            unsettled += 1
            continue
        order = list(ROLES)
        ordered = tuple(sorted(files, key=lambda file: order.index(file.format)))
        sidecar = _read(walk, walk.sidecars.get((folder, stem)))
        groups.append(_group(config.folder, folder, stem, ordered, sidecar))
    return Look(tuple(groups), unsettled, tuple(walk.skipped[:100]))


def _enter(walk: _Walk, folder: Path, depth: int, max_file_bytes: int) -> None:
    for entry in _entries(folder):
        path = Path(entry.path)
        walk.count += 1
        if walk.count > walk.config.max_files:
            if walk.count == walk.config.max_files + 1:
                walk.skipped.append(f"all after {walk.config.max_files} files")
            return
        if entry.is_symlink():
            walk.skipped.append(f"{path.name}: a link")
        elif entry.is_dir(follow_symlinks=False):
            if depth < walk.config.max_depth:
                _enter(walk, path, depth + 1, max_file_bytes)
        elif entry.is_file(follow_symlinks=False):
            suffix = path.suffix[1:].lower()
            if suffix == "json":
                walk.sidecars[folder, path.stem] = path
            elif suffix in ROLES:
                stat = entry.stat(follow_symlinks=False)
                if stat.st_size > max_file_bytes:
                    walk.skipped.append(f"{path.name}: {stat.st_size} bytes")
                else:
                    walk.files.setdefault((folder, path.stem), []).append(Seen(path, stat.st_size, stat.st_mtime_ns))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return  # gone meanwhile, or not ours to read


def _read(walk: _Walk, path: Path | None) -> Sidecar:
    if path is None:
        return Sidecar()
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SIDECAR_BYTES + 1)
        if len(text) > MAX_SIDECAR_BYTES:
            raise ValueError("too long")
        return Sidecar.model_validate(json.loads(text))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        walk.skipped.append(f"{path.name}: not understood ({type(error).__name__})")
        return Sidecar()


def _group(root: Path, folder: Path, stem: str, files: tuple[Seen, ...], said: Sidecar) -> Group:
    parts = folder.relative_to(root).parts
    told = [_TYPES[part.lower()] for part in reversed(parts) if part.lower() in _TYPES]
    kind: AssetType = said.type or (told[0] if told else "prop")
    asset = said.asset or _safe("_".join((*parts, stem)))
    name = said.name or stem.encode(errors="replace").decode()[:128]
    return Group(asset, NewAsset(name=name, type=kind, tags=said.tags), said.provenance, files)


def _safe(text: str) -> str:
    """As an asset's name; letters with accents lose them."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", words.plain(text)).lstrip("_.-")[:64] or "asset"
