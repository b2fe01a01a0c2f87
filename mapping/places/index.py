"""Which remembered keyframes look like this one: the contract of place indexes, and the one in this process.

An index knows embeddings and where and when they come from, no features: what it finds still has to be verified.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.places.embedding import DIMENSIONS
from mapping.transforms import F64
from streams.frame import Intrinsics, StreamId


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One keyframe as an index knows it."""

    keyframe: KeyframeId
    stream: StreamId
    component: int
    embedding: NDArray[np.float32]  # (DIMENSIONS,) of unit length
    component_from_camera: F64  # (4, 4)
    intrinsics: Intrinsics
    timestamp_ns: int
    """When it was captured."""


@dataclass(frozen=True, slots=True)
class Match:
    """One answer; `likeness` 1 = the same picture, 0 = nothing in common."""

    keyframe: KeyframeId
    stream: StreamId
    component: int
    likeness: float


class PlaceIndex(Protocol):
    """Bounded; when it is full, the oldest entry goes. One caller at a time. Nothing here may wait for long."""

    def add(self, entry: Entry) -> None:
        """Remember a keyframe; one of the same id is replaced.

        Raises:
            ValueError: the embedding is not (DIMENSIONS,) or not finite.
        """
        ...

    def nearest(
        self, embedding: NDArray[np.float32], k: int, *, without: tuple[StreamId, int] | None = None
    ) -> list[Match]:
        """The k keyframes most alike, best first, those of one component (stream, number) left out."""
        ...

    def remove(self, stream: StreamId) -> None:
        """Forget all of a stream."""
        ...

    def discard(self, keyframes: Iterable[KeyframeId]) -> None:
        """Forget these keyframes; those that are not known are passed over."""
        ...

    def __len__(self) -> int: ...

    def close(self) -> None: ...


def checked(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """The embedding, if it is one.

    Raises:
        ValueError: it is not (DIMENSIONS,) or not finite.
    """
    if embedding.shape != (DIMENSIONS,) or not np.isfinite(embedding).all():
        raise ValueError(f"an embedding is ({DIMENSIONS},) finite numbers, got {embedding.shape}")
    return embedding


class LocalIndex:
    """Compares with every entry, in numpy: 0.2 ms for a thousand keyframes, exact, and nothing to tune."""

    def __init__(self, max_entries: int = 4096) -> None:
        self._rows: NDArray[np.float32] = np.zeros((max_entries, DIMENSIONS), np.float32)
        self._row_by_id: dict[KeyframeId, int] = {}  # oldest first
        self._entry_by_row: dict[int, Entry] = {}
        self._free = list(range(max_entries - 1, -1, -1))

    def add(self, entry: Entry) -> None:
        checked(entry.embedding)
        self.discard([entry.keyframe])
        if not self._free:
            self.discard([next(iter(self._row_by_id))])
        row = self._free.pop()
        self._rows[row] = entry.embedding
        self._row_by_id[entry.keyframe], self._entry_by_row[row] = row, entry

    def nearest(
        self, embedding: NDArray[np.float32], k: int, *, without: tuple[StreamId, int] | None = None
    ) -> list[Match]:
        looks = checked(embedding)
        rows = [row for row, e in self._entry_by_row.items() if (e.stream, e.component) != without]
        if not rows:
            return []
        likeness = self._rows[rows] @ looks
        best = np.argsort(-likeness, kind="stable")[:k]
        found = [(self._entry_by_row[rows[i]], float(likeness[i])) for i in best]
        return [Match(e.keyframe, e.stream, e.component, alike) for e, alike in found]

    def remove(self, stream: StreamId) -> None:
        self.discard([e.keyframe for e in self._entry_by_row.values() if e.stream == stream])

    def discard(self, keyframes: Iterable[KeyframeId]) -> None:
        for keyframe in keyframes:
            row = self._row_by_id.pop(keyframe, None)
            if row is not None:
                del self._entry_by_row[row]
                self._free.append(row)

    def __len__(self) -> int:
        return len(self._row_by_id)

    def close(self) -> None:
        """Nothing to let go of."""
