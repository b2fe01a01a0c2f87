"""Published checkpoints: their names, their licences, and whether one is on this machine. Loads no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mapping.engines.vggt.checkpoints.files import CANDIDATES, CheckpointError, find


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint somebody published."""

    repository: str
    licence: str

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.repository}"


PUBLISHED = {
    "VGGT-1B": Published("facebook/VGGT-1B", "non-commercial (CC BY-NC 4.0)"),
    "VGGT-1B-Commercial": Published(
        "facebook/VGGT-1B-Commercial", "VGGT Acceptable Use Policy (commercial use, no military use; gated)"
    ),
}
UNKNOWN_LICENCE = "unknown: read the model card"


def published(weights: str, stated_licence: str = "") -> Published:
    """What is known of a checkpoint by its short name or its repository; of others, what the operator states.

    Raises:
        CheckpointError: it is no name of the hub.
    """
    path = Path(weights)
    known = PUBLISHED.get(weights) or next((p for p in PUBLISHED.values() if p.repository == weights), None)
    if known is not None:
        return known
    is_path = weights.startswith((".", "~")) or path.is_absolute() or path.suffix in {".pt", ".safetensors", ".json"}
    if weights.count("/") != 1 or is_path:
        raise CheckpointError(
            f"{weights} is neither a file, nor a folder, nor one of {', '.join(PUBLISHED)}, nor a hub name (org/name)"
        )
    return Published(weights, licence_of_others(stated_licence))


def licence_of_others(stated: str) -> str:
    """The licence of what we did not publish here: as the operator states it, or unknown."""
    return f"{stated} (as configured)" if stated else UNKNOWN_LICENCE


def cached(repository: str) -> tuple[Path, ...]:
    """The files of a repository's checkpoint in the hub's cache; none unless all are there. Asks no network.

    Raises:
        CheckpointError: the hub has no names like this.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for name in CANDIDATES:
        try:
            path = try_to_load_from_cache(repository, name)
        except HFValidationError as error:
            raise CheckpointError(f"the hub cannot have {repository}: {error}") from error
        if isinstance(path, str):
            try:
                return find(Path(path))
            except CheckpointError:  # its shards were never fetched
                continue
    return ()
