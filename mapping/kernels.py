"""How the inner loops of mapping are compiled: numba, cached on disk, without the GIL, and typed for the checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., object])


def kernel(function: _Function) -> _Function:
    """Compile on first call, keep the machine code for the next process, let other threads run meanwhile."""
    compiled: _Function = njit(cache=True, nogil=True)(function)
    return compiled


def fast_kernel(function: _Function) -> _Function:
    """Like `kernel`, where sums may be reordered for speed; not for code that must give the same bytes everywhere.

    Division by zero gives infinity instead of an exception: its test would keep loops from being vectorised.
    """
    compiled: _Function = njit(cache=True, nogil=True, fastmath=True, error_model="numpy")(function)
    return compiled
