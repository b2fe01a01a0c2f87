"""The files of a checkpoint, fetched from the hub where they are not on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mapping.engines.vggt.checkpoints.checkpoint import CheckpointError, find
from mapping.engines.vggt.checkpoints.published import CANDIDATES, PUBLISHED, UNKNOWN_LICENCE, published


def locate(weights: str, tell: Callable[[str], None] = lambda _: None) -> tuple[tuple[Path, ...], str]:
    """The files of a checkpoint and the name of its licence; fetches them where `weights` is a hub name.

    Args:
        tell: hears how far a download is.

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
    return find(_fetched(repository, tell)), known.licence if known else UNKNOWN_LICENCE


def _fetched(repository: str, tell: Callable[[str], None]) -> Path:
    """The first candidate that the repository has, in the hub's cache; its own progress bar shows the download, too."""
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
    bar = _telling_bar(repository, tell)
    for name in CANDIDATES:
        try:
            path = Path(hf_hub_download(repository, name, tqdm_class=bar))
            if name.endswith(".json"):
                _fetch_shards(repository, path, bar)
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


def _telling_bar(repository: str, tell: Callable[[str], None]) -> Any:
    """The hub's progress bar, which tells how far it is also where nobody sees a bar."""
    from huggingface_hub.utils.tqdm import tqdm

    class TellingBar(tqdm):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)  # type: ignore[no-untyped-call]
            self._came = self.n
            self.update(0)

        def update(self, n: float | None = 1) -> Any:
            self._came += n or 0
            tell(f"{repository}: {self._came / 1e9:.2f} of {(self.total or 0) / 1e9:.2f} GB")
            return super().update(n)

    return TellingBar


def _fetch_shards(repository: str, index: Path, bar: Any) -> None:
    import json

    from huggingface_hub import hf_hub_download

    for name in sorted(set(json.loads(index.read_text())["weight_map"].values())):
        hf_hub_download(repository, name, tqdm_class=bar)
