"""Names for requests: two that ask for the same have the same one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from server.jobs.values import InputFile, Wanted

_SAME_RESULT = {"text", "params", "seed", "output", "asset_type"}


@dataclass(frozen=True, slots=True)
class Key:
    """Under which a request may be repeated."""

    name: str
    digest: str
    """`of_request`, of the request as it was sent."""


def key(name: str | None, wanted: Wanted, inputs: tuple[InputFile, ...]) -> Key | None:
    """Of a request that its caller named, or did not."""
    return None if name is None else Key(name, of_request(wanted, inputs))


def of_result(wanted: Wanted, inputs: tuple[InputFile, ...], provider: str, revision: str) -> str:
    """sha256 of all that decides what a provider makes."""
    asked = wanted.model_dump(mode="json", include=_SAME_RESULT)
    files = [(file.role, file.sha256) for file in inputs]
    return _digest({"asked": asked, "files": files, "provider": provider, "revision": revision})


def of_request(wanted: Wanted, inputs: tuple[InputFile, ...]) -> str:
    """sha256 of a request as it was sent: to tell a repeated one from another one under the same key."""
    brought = [(file.role, file.sha256) for file in inputs if file.role != "keyframes"]  # those are the map's
    return _digest({"wanted": wanted.model_dump(mode="json"), "files": brought})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
