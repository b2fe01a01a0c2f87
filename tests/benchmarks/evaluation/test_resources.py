"""What work costs, children included."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.evaluation.resources import Meter

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\ninput()"


def test_cpu_of_this_process_and_its_children_counts() -> None:
    with Meter() as meter:
        child = subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "burnt\n"
        until_s = time.process_time() + 0.1
        while time.process_time() < until_s:
            pass
    child.communicate("\n")
    assert meter.cost(1.0, 0.0).cpu_s == pytest.approx(0.42, abs=0.12)
    assert meter.cost(1.0, 0.1).cpu_s == pytest.approx(meter.cost(1.0, 0.0).cpu_s - 0.1)


def test_the_peak_is_of_this_stretch_alone() -> None:
    large = np.ones(40_000_000)
    del large
    with Meter() as meter:
        pass
    before_mb = meter.cost(0.0, 0.0).rss_mb
    with Meter() as meter:
        held = np.ones(20_000_000)
    assert meter.cost(0.0, 0.0).rss_mb - before_mb == pytest.approx(held.nbytes / 2**20, abs=25)
