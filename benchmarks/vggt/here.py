"""What any machine shows of VGGT in a few seconds, without a GPU or weights: figures, or why there are none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.vggt.cost import SIZE_PX, by_part
from benchmarks.vggt.parity import GOLDENS, compare

SMALL_PX, SMALL_VIEWS = (112, 154), (1, 8)


def parity(threads: int, folder: Path = GOLDENS) -> dict[str, Any] | str:
    """Ours beside each golden found; those of the full network need minutes and 10 GB, and are only named."""
    tiny, full = (sorted(folder.glob(f"vggt_{config}*.npz")) for config in ("tiny", "1b"))
    found: dict[str, Any] = {path.name: told(partial(compare, "tiny", path, threads)) for path in tiny}
    found |= {path.name: f"not run: --golden {path}" for path in full}
    return found or f"not measured: no goldens in {folder}"


def feature_storage(row: dict[str, float]) -> dict[str, Any]:
    """MB of one view's features of the full network, as kept for its heads and if every layer were.

    Args:
        row: of `counted`.
    """
    kept, every = row["features_mb_per_view"], row["all_layers_mb_per_view"]
    return {"size": SIZE_PX, "mb_per_view": kept, "all_layers_mb_per_view": every, "times_less": every / kept}


def cached_tokens(row: dict[str, float]) -> dict[str, float]:
    """Share of the work on a keyframe that is saved since all other views of its window are encoded already.

    Args:
        row: of `counted`.
    """
    return {"views": row["views"], "saved": row["saved_by_cached_tokens"], "saved_with_depth_of_few": row["saved"]}


def ms_by_part(threads: int) -> Any:
    """Of the tiny network on small pictures: that every part runs, and what it takes of the whole."""
    return told(partial(by_part, "tiny", list(SMALL_VIEWS), SMALL_PX, threads))


def told(measure: Callable[[], Any]) -> Any:
    """What was measured, or why it was not: the other lines still count."""
    from benchmarks.vggt.timing import why

    try:
        return measure()
    except Exception as error:
        return why(error)
