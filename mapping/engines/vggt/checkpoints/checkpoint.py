"""Published weights in files: checked tensor by tensor, and copied into a network.

`model.safetensors`, its shards with their index, and `model.pt` (weights only: nothing in it is executed).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.serialization import MAGIC_NUMBER

from mapping.engines.vggt.checkpoints.files import CheckpointError, others, shapes_in

_OLD_MAGIC = MAGIC_NUMBER.to_bytes(10, "little")  # near the start of what torch.save wrote before PyTorch 1.6


class _Source(Protocol):
    """Tensors by name, read when asked for."""

    def shape(self, key: str) -> tuple[int, ...] | None:
        """None where there is no such tensor."""
        ...

    def read(self, key: str) -> Tensor: ...


def check(network: nn.Module, paths: tuple[Path, ...]) -> None:
    """Whether the files hold every tensor the network has, in its shape; their numbers are not read.

    Raises:
        CheckpointError: a file cannot be read, or a tensor is missing or has another shape.
    """
    _compare(_opened(paths), network.state_dict(), _where(paths))


def load(network: nn.Module, paths: tuple[Path, ...]) -> None:
    """Copy every tensor the network has from the files; what else they hold is not read.

    Raises:
        CheckpointError: a file cannot be read, or a tensor is missing, has another shape, or holds something else than
            finite numbers.
    """
    source, where = _opened(paths), _where(paths)
    wanted = network.state_dict()
    _compare(source, wanted, where)
    with torch.no_grad():
        for key, target in wanted.items():
            values = source.read(key)
            if target.is_floating_point() and not values.is_floating_point():
                raise CheckpointError(f"{where}: {key} holds {values.dtype}, not floating-point numbers")
            target.copy_(values)
            if target.numel() and not all(map(torch.isfinite, target.aminmax())):
                raise CheckpointError(f"{where}: {key} holds numbers that are not finite; fetch the file again")


def _compare(source: _Source, wanted: Mapping[str, Tensor], where: str) -> None:
    missing = [key for key in wanted if source.shape(key) is None]
    if missing:
        raise CheckpointError(f"{where}: {missing[0]} is missing{others(len(missing))}")
    for key, target in wanted.items():
        if source.shape(key) != tuple(target.shape):
            raise CheckpointError(
                f"{where}: {key} has shape {source.shape(key)} where the network has {tuple(target.shape)}"
            )


def _where(paths: tuple[Path, ...]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} shards)"


def _opened(paths: tuple[Path, ...]) -> _Source:
    return _Safetensors(paths) if paths[0].suffix == ".safetensors" else _Pickled(paths[0])


class _Pickled:
    """`model.pt`, mapped into memory."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                if _OLD_MAGIC in file.read(32):
                    raise CheckpointError(
                        f"{path} is in the old format of torch.save; convert it once, in Python: "
                        f"torch.save(torch.load({str(path)!r}, weights_only=True), 'model.pt')"
                    )
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except CheckpointError:
            raise
        except Exception as error:  # anything at all; its text would advise to execute what the file holds
            raise CheckpointError(
                f"{path}: truncated, or not a checkpoint of weights only ({type(error).__name__} while opening it)"
            ) from None
        tensors = stored.get("model", stored) if isinstance(stored, Mapping) else None
        if not isinstance(tensors, Mapping):
            raise CheckpointError(f"{path} holds a {type(stored).__name__}, not tensors by name")
        self._path, self._tensors = path, tensors

    def shape(self, key: str) -> tuple[int, ...] | None:
        tensor = self._tensors.get(key)
        if not isinstance(tensor, Tensor):
            return None
        if tensor.is_nested or tensor.layout != torch.strided or tensor.is_meta:
            raise CheckpointError(f"{self._path}: {key} is not a plain tensor with numbers of its own")
        return tuple(tensor.shape)

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
            shapes = shapes_in(path)
            self._shapes |= shapes
            self._path_by_key |= dict.fromkeys(shapes, path)

    def shape(self, key: str) -> tuple[int, ...] | None:
        return self._shapes.get(key)

    def read(self, key: str) -> Tensor:
        path = self._path_by_key[key]
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                tensor: Tensor = file.get_tensor(key)
        except Exception as error:  # a header may say anything of what follows it
            raise CheckpointError(f"{path}: {key} cannot be read ({error})") from error
        return tensor
