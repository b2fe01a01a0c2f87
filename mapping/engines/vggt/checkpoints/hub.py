"""The files of a checkpoint, fetched from the hub where they are not on this machine."""

from __future__ import annotations

from pathlib import Path

from mapping.engines.vggt.checkpoints.checkpoint import CheckpointError, find
from mapping.engines.vggt.checkpoints.published import CANDIDATES, PUBLISHED, UNKNOWN_LICENCE, published


def locate(weights: str) -> tuple[tuple[Path, ...], str]:
    """The files of a checkpoint and the name of its licence; fetches them where `weights` is a hub name.

    Raises:
        CheckpointError: there is no such file, or the hub does not give it.
    """
    path = Path(weights).expanduser()
    if path.exists():
        return find(path), UNKNOWN_LICENCE
    known = published(weights)
    repository = known.repository if known else weights
    if repository.count("/") != 1 or path.is_absolute() or path.suffix in {".pt", ".safetensors", ".json"}:
        raise CheckpointError(
            f"{weights} is neither a file, nor a folder, nor one of {', '.join(PUBLISHED)}, nor a hub name (org/name)"
        )
    return find(_fetched(repository)), known.licence if known else UNKNOWN_LICENCE


def _fetched(repository: str) -> Path:
    """The first candidate that the repository has, in the hub's cache; its own progress bar shows the download."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    page = f"https://huggingface.co/{repository}"
    last: Exception | None = None
    for name in CANDIDATES:
        try:
            path = Path(hf_hub_download(repository, name))
            if name.endswith(".json"):
                _fetch_shards(repository, path)
            return path
        except LocalEntryNotFoundError as error:  # offline: perhaps another form of it is in the cache
            last = error
        except EntryNotFoundError:
            continue
        except GatedRepoError as error:
            raise CheckpointError(
                f"{repository} is gated: accept its licence at {page}, then run `hf auth login`"
            ) from error
        except (RepositoryNotFoundError, HFValidationError) as error:
            raise CheckpointError(f"the hub has no {repository} for you to see") from error
        except (HfHubHTTPError, OSError) as error:
            last = error
            break
    if last is None:
        raise CheckpointError(f"{repository} holds none of {', '.join(CANDIDATES)}")
    raise CheckpointError(
        f"{repository} is not in the local cache and the hub cannot be reached (is HF_HUB_OFFLINE set?); "
        f"fetch it elsewhere from {page} and give its path as `weights`"
    ) from last


def _fetch_shards(repository: str, index: Path) -> None:
    import json

    from huggingface_hub import hf_hub_download

    for name in sorted(set(json.loads(index.read_text())["weight_map"].values())):
        hf_hub_download(repository, name)
