"""Has files read in a process of its own: what kills it, or takes too long, is refused and harms nobody."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import server

TIMEOUT_S = 120.0
_ROOT = str(Path(server.__file__).parent.parent)
_START = f"import sys; sys.path.append({_ROOT!r}); from server.assets.reading import main; main(int(sys.argv[1]))"
_ENVIRONMENT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Reader:
    """One process, started when it is needed; any thread may ask, one after the other."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._asking = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def ask(self, **request: str) -> dict[str, Any]:
        """What `reading.answer` says; `refused`, too, when the process did not survive it."""
        with self._asking:
            was_there = self._process is not None
            try:
                return self._answer(request)
            except (EOFError, OSError):
                self.stop()
            if was_there:  # it may have ended because nobody asked
                with contextlib.suppress(EOFError, OSError):
                    return self._answer(request)
                self.stop()
            return {"refused": "its reader died of it"}

    def stop(self) -> None:
        """End the process; the next question starts another."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._connection = None

    def _answer(self, request: dict[str, str]) -> dict[str, Any]:
        connection = self._connection or self._start()
        connection.send_bytes(json.dumps(request).encode())
        if not connection.poll(self._timeout_s):
            self.stop()
            return {"refused": f"reading it takes more than {self._timeout_s:g} s"}
        answer: dict[str, Any] = json.loads(connection.recv_bytes())
        return answer

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
                | dict.fromkeys(_THREADS, "1"),
            )
            self._connection = Connection(ours.detach())
        return self._connection


@functools.cache
def get_reader() -> Reader:
    """The reader of this program, which all its asset buses share; its process ends by itself."""
    reader = Reader()
    atexit.register(reader.stop)
    return reader
