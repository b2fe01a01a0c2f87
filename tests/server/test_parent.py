"""A grandchild that asked for it ends when its parent is killed: seen by the kernel, not by polling."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux pidfd_open(2)")

PATIENCE_MS = 20_000
CHILD = """
import os, signal, sys
from server.parent import die_with
die_with(int(sys.argv[1]))
print(os.getpid(), flush=True)
signal.pause()
"""
MIDDLE = f"""
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())])
signal.pause()
"""


def ends(process: int) -> bool:
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    return bool(waiting.poll(PATIENCE_MS))


def test_a_child_does_not_outlive_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", MIDDLE], stdout=subprocess.PIPE) as middle:
        assert middle.stdout is not None
        child = os.pidfd_open(int(middle.stdout.readline()))
        middle.send_signal(signal.SIGKILL)
        try:
            assert ends(child)
        finally:
            os.close(child)


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    nobody = os.getpid() + 1_000_000_000
    late = subprocess.run([sys.executable, "-c", CHILD, str(nobody)], capture_output=True, timeout=60, check=False)
    assert late.returncode == 1
    assert late.stdout == b""
