"""The program that folds log segments into a snapshot: `python -m mapping.store.roll_up TARGET SNAPSHOT SEGMENT...`.

Started by the store, in a process of its own: decoding, merging and compressing a whole scene would hold up the
server's event loop for tens of milliseconds at a time. Files go in, one new directory comes out; what counts is for the
store to decide. When the store's process dies, this one does too: its standard input ends.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from mapping.store.directory import StoreError
from mapping.store.scene_store import fold

NICE = 10


def main(arguments: Sequence[str]) -> str | None:
    """Fold; what went wrong, if anything did."""
    os.nice(NICE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target, snapshot, *segments = arguments
    try:
        fold(Path(target), Path(snapshot) if snapshot else None, [Path(segment) for segment in segments])
    except (StoreError, OSError) as error:
        return str(error)
    return None


def _end_with_parent() -> None:
    os.read(0, 1)  # not through sys.stdin, whose lock would be held at a normal exit
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
