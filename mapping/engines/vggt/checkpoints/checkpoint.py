"""Published weights in files: found, checked tensor by tensor, and copied into a network.

`model.safetensors`, its shards with their index, and `model.pt` (weights only: nothing in it is executed).
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mapping.engines.vggt.checkpoints.published import CANDIDATES

_MAX_HEADER_BYTES = 100 << 20


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; says which file and which tensor."""


class _Source(Protocol):
    """Tensors by name, read when asked for."""

    def shape(self, key: str) -> tuple[int, ...] | None:
        """None where there is no such tensor."""
        ...

    def read(self, key: str) -> Tensor: ...


def find(path: Path) -> tuple[Path, ...]:
    """The files of a checkpoint: the path itself, or the best of what its folder holds.

    Raises:
        CheckpointError: there is none, or the index names a shard that is missing.
    """
    if path.is_dir():
        names = [name for name in CANDIDATES if (path / name).exists()]
        if not names:
            raise CheckpointError(f"{path} holds none of {', '.join(CANDIDATES)}")
        path = path / names[0]
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    return _shards(path) if path.suffix == ".json" else (path,)


def digest(paths: tuple[Path, ...]) -> str:
    """SHA-256 of the file; of the shards' digests one after the other where there are several."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def load(network: nn.Module, paths: tuple[Path, ...]) -> None:
    """Copy every tensor the network has from the files; what else they hold is not read.

    Raises:
        CheckpointError: a file cannot be read, or a tensor is missing or has another shape.
    """
    wanted = dict(network.state_dict())
    where = ", ".join(path.name for path in paths)
    with _opened(paths, next(iter(wanted))) as source:
        missing = [key for key in wanted if source.shape(key) is None]
        if missing:
            raise CheckpointError(f"{where}: {missing[0]} is missing{_others(len(missing))}")
        for key, target in wanted.items():
            if source.shape(key) != tuple(target.shape):
                raise CheckpointError(
                    f"{where}: {key} has shape {source.shape(key)} where the network has {tuple(target.shape)}"
                )
        with torch.no_grad():
            for key, target in wanted.items():
                target.copy_(source.read(key))


def _others(missing: int) -> str:
    return f", and {missing - 1} more" if missing > 1 else ""


def _shards(index: Path) -> tuple[Path, ...]:
    try:
        by_key = json.loads(index.read_text())["weight_map"]
        names = sorted(set(by_key.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is not an index of shards: {error}") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{index}: {name!r} is not the name of a file beside it")
        if not (index.parent / name).exists():
            lost = next(key for key, shard in by_key.items() if shard == name)
            raise CheckpointError(f"{index.parent / name} does not exist; it should hold {lost}")
    return tuple(index.parent / name for name in names)


@contextmanager
def _opened(paths: tuple[Path, ...], first_key: str) -> Iterator[_Source]:
    if paths[0].suffix == ".safetensors":
        yield _Safetensors(paths)
        return
    try:
        stored = torch.load(paths[0], map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{paths[0]}: truncated, or not a checkpoint of weights only; {first_key} cannot be read ({reason})"
        ) from error
    tensors = stored.get("model", stored) if isinstance(stored, Mapping) else None
    if not isinstance(tensors, Mapping):
        raise CheckpointError(
            f"{paths[0]} holds a {type(stored).__name__}, not tensors by name; {first_key} is missing"
        )
    yield _Pickled(paths[0], tensors)


class _Pickled:
    """`model.pt`, mapped into memory."""

    def __init__(self, path: Path, tensors: Mapping[str, object]) -> None:
        self._path, self._tensors = path, tensors

    def shape(self, key: str) -> tuple[int, ...] | None:
        tensor = self._tensors.get(key)
        return tuple(tensor.shape) if isinstance(tensor, Tensor) else None

    def read(self, key: str) -> Tensor:
        tensor = self._tensors[key]
        assert isinstance(tensor, Tensor)
        return tensor


class _Safetensors:
    """`model.safetensors` or its shards."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._path_by_key: dict[str, Path] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for path in paths:
            self._add(path)

    def shape(self, key: str) -> tuple[int, ...] | None:
        return self._shapes.get(key)

    def read(self, key: str) -> Tensor:
        path = self._path_by_key[key]
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                tensor: Tensor = file.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: {key} cannot be read ({error})") from error
        return tensor

    def _add(self, path: Path) -> None:
        """Note what a file holds; its header says where each tensor ends, so a cut shows before anything is copied."""
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
                raise CheckpointError(f"{path}: truncated, or not a safetensors file: its header of tensors is missing")
            try:
                header = json.loads(file.read(length))
                entries = {key: entry for key, entry in header.items() if key != "__metadata__"}
                ends = {key: 8 + length + int(entry["data_offsets"][1]) for key, entry in entries.items()}
                shapes = {key: tuple(map(int, entry["shape"])) for key, entry in entries.items()}
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                raise CheckpointError(f"{path}: not a safetensors file: {error}") from error
        cut = [key for key, end in sorted(ends.items(), key=lambda item: item[1]) if end > size]
        if cut:
            raise CheckpointError(f"{path}: truncated: {cut[0]} ends beyond it{_others(len(cut))}")
        self._shapes |= shapes
        self._path_by_key |= dict.fromkeys(shapes, path)
