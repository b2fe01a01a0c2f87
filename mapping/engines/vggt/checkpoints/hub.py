"""The files of a checkpoint, fetched from the hub where they are not on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mapping.engines.vggt.checkpoints.files import CANDIDATES, CheckpointError, find, shards_named
from mapping.engines.vggt.checkpoints.published import Published, cached, licence_of_others, published

_log = logging.getLogger(__name__)


def locate(
    weights: str, tell: Callable[[str], None] = lambda _: None, *, stated_licence: str = ""
) -> tuple[tuple[Path, ...], str]:
    """The files of a checkpoint and the name of its licence; fetches them where `weights` is a hub name.

    What the hub's cache holds whole is taken as it is: the hub is not asked.

    Args:
        tell: hears under which licence a download comes, and how far it is.
        stated_licence: of what is not among the published.

    Raises:
        CheckpointError: there is no such file, or the hub does not give it.
    """
    path = Path(weights).expanduser()
    if path.exists():
        return find(path), licence_of_others(stated_licence)
    source = published(weights, stated_licence)
    return cached(source.repository) or find(_fetched(source, tell)), source.licence


def _fetched(source: Published, tell: Callable[[str], None]) -> Path:
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

    repository = source.repository
    _log.info("fetching %s, licence: %s, see %s", repository, source.licence, source.page)
    tell(f"{repository}: licence {source.licence}, see {source.page}")
    bar = _telling_bar(repository, tell)
    for name in CANDIDATES:
        try:
            path = Path(hf_hub_download(repository, name, tqdm_class=bar))
            if name.endswith(".json"):
                for shard in sorted(set(shards_named(path).values())):
                    hf_hub_download(repository, shard, tqdm_class=bar)
            return path
        except GatedRepoError as error:
            raise CheckpointError(
                f"{repository} is gated: accept its licence at {source.page}, then run `hf auth login`"
            ) from error
        except (RepositoryNotFoundError, HFValidationError) as error:
            raise CheckpointError(f"the hub has no {repository} for you to see") from error
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):  # the hub was not reached: nor will it be for other names
                raise _unreachable(source) from error
        except (HfHubHTTPError, OSError) as error:
            raise _unreachable(source) from error
    raise CheckpointError(f"{repository} holds none of {', '.join(CANDIDATES)}")


def _unreachable(source: Published) -> CheckpointError:
    return CheckpointError(
        f"{source.repository} is not in the local cache and the hub cannot be reached (is HF_HUB_OFFLINE set?); "
        f"fetch it elsewhere from {source.page} and give its path as `weights`"
    )


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
