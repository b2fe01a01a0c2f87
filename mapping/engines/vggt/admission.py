"""How long a window may be for the device's memory: learnt from the peaks of windows that ran."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Memory(Protocol):
    """A device's memory, in bytes."""

    def free(self) -> int | None:
        """What a window may still take; None = nobody counts."""
        ...

    def total(self) -> int | None:
        """What the device has; None = nobody counts."""
        ...

    def held(self) -> int:
        """What this process holds of it."""
        ...

    def mark(self) -> None:
        """Watch from here."""
        ...

    def peak(self) -> int:
        """The most that was taken at once since `mark`, beyond what was held then."""
        ...


class CudaMemory:
    """What PyTorch has of a GPU, and what the GPU has left."""

    def __init__(self, device: torch.device, recorded_bytes: Callable[[], int]) -> None:
        """`recorded_bytes` are those that only recordings can use."""
        self._device, self._recorded_bytes, self._before = device, recorded_bytes, 0

    def free(self) -> int | None:
        used = torch.cuda.memory_allocated(self._device) + self._recorded_bytes()
        unused = max(torch.cuda.memory_reserved(self._device) - used, 0)
        return int(torch.cuda.mem_get_info(self._device)[0] + unused)

    def total(self) -> int | None:
        return int(torch.cuda.mem_get_info(self._device)[1])

    def held(self) -> int:
        return int(torch.cuda.memory_reserved(self._device))

    def mark(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        return int(torch.cuda.max_memory_allocated(self._device) - self._before)


class HostMemory:
    """The CPU's: windows are short there for other reasons."""

    def free(self) -> int | None:
        return None

    def total(self) -> int | None:
        return None

    def held(self) -> int:
        return 0

    def mark(self) -> None:
        pass

    def peak(self) -> int:
        return 0


class Admission:
    """Shortens windows that would not fit. A window's size is its number of tokens."""

    def __init__(self, memory: Memory, share: float = 0.9) -> None:
        """`share` of what is free may be taken: others use the device, too."""
        self._memory, self._share = memory, share
        self._peak_by_size: dict[int, int] = {}
        self._allowed: int | None = None
        """Views of the last window that had to be shorter; None = the last one did not."""

    def admit(self, views: Sequence[T], tokens_per_view: int) -> Sequence[T]:
        """The views of a window that fits: all, or the first, which is the reference, and the newest."""
        free = self._memory.free()
        if free is None:
            return views
        allowed, needed = len(views), self.expected(len(views) * tokens_per_view)
        while allowed > 1 and self.expected(allowed * tokens_per_view) > self._share * free:
            allowed -= 1
        self._tell(len(views), allowed, needed, free)
        return views if allowed == len(views) else shortened(views, allowed)

    def has_room(self, size: int) -> bool:
        """Whether a window of that size fits, as far as one knows."""
        free = self._memory.free()
        return free is None or self.expected(size) <= self._share * free

    def expected(self, size: int) -> int:
        """Bytes that a window of that size takes, between and in proportion to what was measured; 0 = nothing was."""
        known = sorted(self._peak_by_size.items())
        if not known:
            return 0
        below = max(((s, p) for s, p in known if s <= size), default=(0, 0))
        above = min(((s, p) for s, p in known if s >= size), default=None)
        if above is None:
            return below[1] * size // below[0]
        if above[0] == below[0]:
            return above[1]
        return below[1] + (above[1] - below[1]) * (size - below[0]) // (above[0] - below[0])

    @contextmanager
    def watched(self, size: int) -> Iterator[None]:
        """Learn what a window of that size takes while it lasts; one that is replayed would seem to take nothing."""
        self._memory.mark()
        yield
        self._learn(size, self._memory.peak())

    def ran_out(self, size: int) -> None:
        """A window of that size did not fit: it takes more than there was."""
        free = self._memory.free() or 0
        self._learn(size, free + 1)
        _log.warning("the device's memory ran out at a window of %d tokens with %.1f GB free", size, free / 1e9)

    def _learn(self, size: int, peak: int) -> None:
        """Remember the most that was seen; a longer window never takes less than a shorter one."""
        known = self._peak_by_size
        known[size] = max(peak, *(p for s, p in known.items() if s <= size), 0)
        known.update({s: max(p, known[size]) for s, p in known.items() if s > size})

    def _tell(self, views: int, allowed: int, needed: int, free: int) -> None:
        """One line when windows begin to be shorter, one when they need not be any more."""
        if allowed < views and allowed != self._allowed:
            _log.warning(
                "windows of %d views need %.1f GB of %.1f GB free: they have %d views",
                views, needed / 1e9, free / 1e9, allowed,
            )  # fmt: skip
            self._allowed = allowed
        elif allowed == views and self._allowed is not None and allowed > self._allowed:
            _log.info("windows have room for %d views again", views)
            self._allowed = None


def shortened(views: Sequence[T], count: int) -> Sequence[T]:
    """The first view and the newest ones, `count` in all; of one view, the newest."""
    return [*views[: min(count - 1, 1)], *views[len(views) - max(count - 1, 1) :]]
