"""A clip played like a live phone: frames come when they are due, and whoever is late misses them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.clips import Clip
from streams.frame import Frame, StreamId


@dataclass(slots=True, eq=False)
class Playback:
    """Iterate to get frames. Live: a thread decodes ahead and hands over the newest at its instant; fast: all of them.

    The clock is the machine's monotonic one; frames carry Unix nanoseconds counted from `start_ns`.
    """

    clip: Clip
    stream: StreamId
    fast: bool
    posed: bool
    with_intrinsics: bool
    start_ns: int = 1_700_000_000_000_000_000
    dropped: int = 0
    """Live frames that were replaced by newer ones before anybody took them."""

    def __iter__(self) -> Iterator[Frame]:
        if self.fast:
            return (self._decode(i) for i in range(len(self.clip.images)))
        return self._live()

    def age_ms(self, frame: Frame) -> float:
        """How long ago a live frame was captured."""
        return (time.monotonic_ns() - self._began_ns - (frame.capture_ns - self.start_ns)) * 1e-6

    _began_ns: int = 0

    def _live(self) -> Iterator[Frame]:
        slot: list[Frame] = []
        changed = threading.Condition()
        done = False
        self._began_ns = time.monotonic_ns() + 200_000_000  # room to decode the first frame

        def deliver() -> None:
            nonlocal done
            try:
                for i in range(len(self.clip.images)):
                    frame = self._decode(i)
                    due_s = (self._began_ns + i * self.clip.frame_ns - time.monotonic_ns()) * 1e-9
                    with changed:
                        changed.wait_for(lambda: done, timeout=max(0.0, due_s))
                        if done:
                            return
                        self.dropped += len(slot)
                        slot[:] = [frame]
                        changed.notify_all()
            finally:
                with changed:
                    done = True
                    changed.notify_all()

        thread = threading.Thread(target=deliver, name=f"playback-{self.clip.name}", daemon=True)
        thread.start()
        try:
            while True:
                with changed:
                    changed.wait_for(lambda: bool(slot) or done)
                    if not slot:
                        return
                    frame = slot.pop()
                yield frame
        finally:
            with changed:
                done = True
                changed.notify_all()
            thread.join()

    def _decode(self, index: int) -> Frame:
        frame = self.clip.frame(
            index,
            stream=self.stream,
            start_ns=self.start_ns,
            posed=self.posed,
            with_intrinsics=self.with_intrinsics,
        )
        _ = frame.image.gray  # a decoder hands over luma for nothing; here it is the player's work
        return frame
