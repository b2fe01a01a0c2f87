"""The files of a checkpoint: found, and told apart from what only looks like them. Loads no PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

CANDIDATES = ("model.safetensors", "model.safetensors.index.json", "model.pt", "vggt_1B_commercial.pt")
"""What a repository or folder may call its weights, best first."""

_MAX_HEADER_BYTES = 100 << 20
_LFS = b"version https://git-lfs"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; says which file and which tensor."""


def find(path: Path) -> tuple[Path, ...]:
    """The files of a checkpoint, at least one: the path itself, or the best of what its folder holds.

    Raises:
        CheckpointError: there is none, it is empty or a stand-in, or the index names a shard that is missing.
    """
    if path.is_dir():
        names = [name for name in CANDIDATES if (path / name).exists()]
        if not names:
            raise CheckpointError(f"{path} holds none of {', '.join(CANDIDATES)}")
        path = path / names[0]
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    found = _shards(path) if path.suffix == ".json" else (path,)
    for each in found:
        _refuse_stand_in(each)
    return found


def digest(paths: tuple[Path, ...]) -> str:
    """SHA-256 of the file; of the shards' digests one after the other where there are several."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def shards_named(index: Path) -> Mapping[str, str]:
    """By tensor, the name of the file beside the index that holds it; at least one.

    Raises:
        CheckpointError: the index is none, or names something else than safetensors files beside it.
    """
    try:
        by_key = json.loads(index.read_text())["weight_map"]
        names = set(by_key.values())
    except KeyError:
        raise CheckpointError(f"{index} is not an index of shards: it has no weight_map") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is not an index of shards: {error}") from error
    if not names:
        raise CheckpointError(f"{index} names no shards: its weight_map is empty")
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{index}: {name!r} is not the name of a safetensors file beside it")
    found: Mapping[str, str] = by_key
    return found


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a safetensors file, by name, out of its header.

    The header says where each tensor ends, so a cut shows before anything is copied.

    Raises:
        CheckpointError: the file cannot be read, is another kind of file, or was cut.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
                raise CheckpointError(f"{path}: truncated, or not a safetensors file: its header of tensors is missing")
            header = json.loads(file.read(length))
        entries = {key: entry for key, entry in header.items() if key != "__metadata__"}
        ends = {key: 8 + length + int(entry["data_offsets"][1]) for key, entry in entries.items()}
        shapes = {key: tuple(map(int, entry["shape"])) for key, entry in entries.items()}
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # a header may hold anything
        raise CheckpointError(f"{path}: not a safetensors file ({type(error).__name__} in its header)") from error
    cut = [key for key, end in sorted(ends.items(), key=lambda item: item[1]) if end > size]
    if cut:
        raise CheckpointError(f"{path}: truncated: {cut[0]} ends beyond it{others(len(cut))}")
    return shapes


def others(count: int) -> str:
    """The end of a sentence that names one of so many."""
    return f", and {count - 1} more" if count > 1 else ""


def _shards(index: Path) -> tuple[Path, ...]:
    by_key = shards_named(index)
    for key, name in by_key.items():
        if not (index.parent / name).exists():
            raise CheckpointError(f"{index.parent / name} does not exist; it should hold {key}")
    return tuple(index.parent / name for name in sorted(set(by_key.values())))


def _refuse_stand_in(path: Path) -> None:
    """What a checkout or a broken copy leaves in a file's place."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise CheckpointError(f"{path} is empty")
    if head == _LFS:
        raise CheckpointError(f"{path} is a pointer of git-LFS, not the file itself; run `git lfs pull` beside it")
