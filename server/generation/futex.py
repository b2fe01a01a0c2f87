"""Waiting for a 32-bit word of shared memory to change, across processes: Linux's futex(2). Standard library only."""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
import time

_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 98}
_WAIT, _WAKE, _EVERYBODY = 0, 1, 0x7FFFFFFF
_number = _NUMBERS.get(platform.machine(), 0) if sys.platform == "linux" and sys.maxsize > 2**32 else 0
_libc = ctypes.CDLL(None) if _number else None
WITHOUT_FUTEX_S = 0.001
"""Where there is none, the word is looked at so often."""


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Words:
    """The 32-bit words of a shared mapping."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.values = memoryview(memory).cast("I")

    def wait(self, index: int, value: int, timeout_s: float) -> None:
        """Return when the word is no longer `value`, at the time-out, or for no reason."""
        if _libc is None:
            if self.values[index] == value:
                time.sleep(min(timeout_s, WITHOUT_FUTEX_S))
            return
        timeout = _Timespec(int(timeout_s), int(timeout_s % 1 * 1e9))
        _libc.syscall(
            ctypes.c_long(_number), ctypes.c_void_p(self._first + 4 * index), ctypes.c_int(_WAIT),
            ctypes.c_uint32(value), ctypes.byref(timeout), None, ctypes.c_int(0),
        )  # fmt: skip

    def wake(self, index: int) -> None:
        """Let everybody who waits for this word look again; never waits itself."""
        if _libc is not None:
            _libc.syscall(
                ctypes.c_long(_number), ctypes.c_void_p(self._first + 4 * index), ctypes.c_int(_WAKE),
                ctypes.c_int(_EVERYBODY), None, None, ctypes.c_int(0),
            )  # fmt: skip
