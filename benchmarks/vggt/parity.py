"""Our VGGT beside the published network: the largest differences, array by array; all of it fit for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

GOLDENS = Path(__file__).parents[2] / "tests" / "goldens" / "vggt"
MAX_ABSOLUTE, MAX_RELATIVE = 1e-4, 1e-3
_ROUNDING = 2.0**-24
_NOT_COMPARED = {"shape", "query_points", "intrinsic"}
"""`intrinsic` is infinite where the published network sees no field of view; ours says something usable there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two arrays are apart; without figures where `why` says that they cannot be compared."""

    abs: float | None
    """Largest absolute difference."""
    rel: float | None
    """Largest difference of one value relative to that value, or to the array's root mean square where that is more: a
    value that happens to be near 0 says nothing about precision."""
    why: str | None = None

    @property
    def is_ok(self) -> bool:
        if self.abs is None or self.rel is None:
            return False
        return self.abs <= MAX_ABSOLUTE or self.rel <= MAX_RELATIVE


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Input and output of the published network, as stored."""

    views: int
    height: int
    width: int
    query_px: NDArray[np.float32]  # (n, 2)
    arrays: dict[str, NDArray[np.float32]]


def read(path: Path) -> Golden:
    """Read a stored golden.

    Raises:
        ValueError: it is not one.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        views, height, width = (int(n) for n in arrays["shape"])
        query_px = np.asarray(arrays["query_points"], np.float32).reshape(-1, 2)
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise ValueError(f"{path} is not a golden of VGGT: {error}") from error
    return Golden(views, height, width, query_px, {k: v for k, v in arrays.items() if k not in _NOT_COMPARED})


def difference(ours: NDArray[np.float32], golden: NDArray[np.float32]) -> Difference:
    """Compare two arrays of one shape, all of whose numbers are finite."""
    a, b = ours.astype(np.float64), golden.astype(np.float64)
    if a.shape != b.shape:
        return Difference(None, None, f"ours is {a.shape}, the golden {b.shape}")
    for name, array in (("ours", a), ("the golden", b)):
        if not np.isfinite(array).all():
            return Difference(None, None, f"{name} is not finite")
    apart = np.abs(a - b)
    scale = np.maximum(np.abs(b), np.sqrt(np.mean(b * b)))
    return Difference(float(apart.max()), float(np.max(apart / np.maximum(scale, 1e-12))))


def compare(config: str, path: Path, threads: int = 2, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Run our network, made of seeded weights, on a golden's input.

    Where an array is out of tolerance, `rounding` says how far our own outputs move when the heads' input is changed by
    the rounding of float32: what moves as far cannot be told from the published network by any machine that rounds in
    another order. `ok` takes no account of it. The tracker's last arrays are such (`flow_embedding` says why): computed
    in float64, visibility and confidence differ by 1 % from those stored at full size. Arrays that the network does not
    have are `unknown`; where there are no others, nothing was compared, and that is not `ok` either (`why`).

    Raises:
        ValueError: the file is not a golden.
    """
    from benchmarks.vggt.probe import probe, seeded_network, waves
    from mapping.engines.vggt.model.architecture import TINY, VGGT_1B

    golden = read(path)
    network = seeded_network({"tiny": TINY, "1b": VGGT_1B}[config]).to(device)
    images = waves(golden.views, golden.height, golden.width)
    ours = probe(network, images, golden.query_px, threads)
    differences = {name: difference(ours[name], array) for name, array in golden.arrays.items() if name in ours}
    wrong = [name for name, found in differences.items() if not found.is_ok]
    rounded = probe(network, images, golden.query_px, threads, noise=_ROUNDING) if wrong else {}
    return {
        "golden": path.name,
        "config": config,
        "arrays": {name: asdict(found) for name, found in differences.items()},
        "unknown": sorted(golden.arrays.keys() - differences.keys()),
        "ok": bool(differences) and not wrong,
        "why": None if differences else f"nothing to compare: it holds none of {', '.join(sorted(ours))}",
        "rounding": {name: asdict(difference(rounded[name], ours[name])) for name in wrong},
    }
