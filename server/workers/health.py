"""Whether a device's windows come to anything, and which of its failures are news. Pure policy: times are given."""

from __future__ import annotations

import math
import re
from collections import OrderedDict, deque

LAST = 16
"""Windows by which a device is judged."""
QUIET_S = 60.0
MAX_KINDS = 64
_NUMBER = re.compile(r"\d+")


class Health:
    """The last outcomes, and why the latest failure was one. Times are seconds on one monotonic clock.

    A window that the engine refuses (a blank wall) is a failure, but none of the device.
    """

    def __init__(self) -> None:
        self._is_failed: deque[bool] = deque(maxlen=LAST)
        self._is_broken: deque[bool] = deque(maxlen=LAST)
        self._told: OrderedDict[str, float] = OrderedDict()
        self._last_failed = -math.inf
        self.last_failure: str | None = None

    def succeeded(self) -> None:
        self._is_failed.append(False)
        self._is_broken.append(False)

    def failed(self, reason: str, now: float, *, is_refusal: bool = False) -> bool:
        """Note a failure; whether it is news: none for the same reason, numbers aside, was told for a minute."""
        self._is_failed.append(True)
        self._is_broken.append(not is_refusal)
        self.last_failure, self._last_failed = reason, now
        kind = _NUMBER.sub("", reason)
        if now - self._told.get(kind, -math.inf) < QUIET_S:
            return False
        self._told[kind] = now
        self._told.move_to_end(kind)
        if len(self._told) > MAX_KINDS:
            self._told.popitem(last=False)
        return True

    @property
    def failed_share(self) -> float | None:
        """Of the last windows, 0..1; None = there was none."""
        return sum(self._is_failed) / len(self._is_failed) if self._is_failed else None

    def is_failing(self, now: float) -> bool:
        """Whether all of the last windows failed, and none was refused.

        A minute after them it is over: who gets no work cannot recover.
        """
        return sum(self._is_broken) == LAST and now - self._last_failed < QUIET_S
