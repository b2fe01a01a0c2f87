"""What a GPU makes of it, unattended: every part in a process of its own, so that none can spoil another's figures.

A part that fails, crashes or hangs is a line that says so in the one JSON object; the others still count. Weights are
random: timings do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

PUBLISHED = {1: (0.04, 1.88), 8: (0.11, 3.23), 20: (0.31, 5.58), 50: (1.04, 11.4), 100: (3.12, 21.15)}
"""Seconds and GB of the published trunk on one H100 with FlashAttention 3, by views."""

PARTS_S = {
    "streaming": 170.0,
    "windows": 150.0,
    "outputs": 45.0,
    "golden": 45.0,
    "thinned": 45.0,
    "golden_1b": 120.0,
}
"""What is measured, the most important first, and for how long at most."""
BUDGET_S = 450.0
_LEAST_S, _TO_SAY_SO_S = 20.0, 8.0
_MAX_REASON_CHARS = 300

Ask = Callable[[str, float], Any]


def on_gpu(ask: Ask | None = None, budget_s: float = BUDGET_S, clock: Callable[[], float] = time.monotonic) -> Any:
    """All parts, one after the other.

    Args:
        ask: has a part measured within so many seconds; None = in a process of its own.
    """
    until = clock() + budget_s
    report: dict[str, Any] = {"published_h100": PUBLISHED}
    for part, most_s in PARTS_S.items():
        left_s = min(until - clock(), most_s)
        report[part] = (ask or _in_a_process)(part, left_s) if left_s >= _LEAST_S else "not measured: out of time"
    report["took_s"] = budget_s - (until - clock())
    return report


def said(command: Sequence[str], seconds: float) -> Any:
    """The last JSON line that a command printed before it ended or its time did, or why there is none."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=seconds)
            reason = f"ended with {process.returncode}: {(err.strip().splitlines() or ['nothing said'])[-1]}"
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            reason = "out of time"
    for line in reversed(out.splitlines()):
        try:
            return json.loads(line)
        except ValueError:
            continue
    return f"not measured: {reason[:_MAX_REASON_CHARS]}"


def _in_a_process(part: str, seconds: float) -> Any:
    command = [sys.executable, "-m", "benchmarks.vggt.gpu", part, "--seconds", str(seconds - _TO_SAY_SO_S)]
    return said(command, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description="One part of the GPU's benchmark; each line is what is known so far.")
    parser.add_argument("part", choices=list(PARTS_S))
    parser.add_argument("--seconds", type=float, default=BUDGET_S)
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    from benchmarks.vggt.parts import Parts, Plan

    parts = Parts(Plan(), lambda: time.monotonic() < until)
    for known in parts.measured(args.part):
        sys.stdout.write(json.dumps(known) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
