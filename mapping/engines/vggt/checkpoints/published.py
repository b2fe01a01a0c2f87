"""Published checkpoints: their names, their licences, and whether one is on this machine. Loads no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint somebody published."""

    repository: str
    licence: str


PUBLISHED = {
    "VGGT-1B": Published("facebook/VGGT-1B", "non-commercial (CC BY-NC 4.0)"),
    "VGGT-1B-Commercial": Published(
        "facebook/VGGT-1B-Commercial", "VGGT Acceptable Use Policy (commercial use, no military use; gated)"
    ),
}
UNKNOWN_LICENCE = "unknown: read the model card"
CANDIDATES = ("model.safetensors", "model.safetensors.index.json", "model.pt", "vggt_1B_commercial.pt")
"""What a repository or folder may call its weights, best first."""


def published(weights: str) -> Published | None:
    """What is known of a checkpoint by its short name or its repository."""
    return PUBLISHED.get(weights) or next((p for p in PUBLISHED.values() if p.repository == weights), None)


def is_here(weights: str) -> bool:
    """Whether a path leads to weights, or the hub's cache holds them; asks no network."""
    path = Path(weights).expanduser()
    if path.exists():
        return path.is_file() or any((path / name).exists() for name in CANDIDATES)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    known = published(weights)
    repository = known.repository if known else weights
    try:
        return any(isinstance(try_to_load_from_cache(repository, name), str) for name in CANDIDATES)
    except HFValidationError:
        return False
