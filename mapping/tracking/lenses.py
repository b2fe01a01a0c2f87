"""Focal lengths of cameras that did not know theirs: what one session learns is the guess of the next."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass

_FLOOR = 0.02  # relative; one map's own estimate is never surer: distortion it does not model bends it
_MOST = 512  # names kept; the longest unused goes first


@dataclass(frozen=True, slots=True)
class Learnt:
    """A focal length in long sides of the picture, and its relative standard deviation."""

    focal: float
    sigma: float

    @property
    def fov_deg(self) -> float:
        """Field of view of the long side."""
        return math.degrees(2 * math.atan(0.5 / self.focal))


class Lenses:
    """By name of device and lens. Shared by the trackers of a process, whatever their threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._learnt: dict[str, Learnt] = {}

    def recall(self, name: str) -> Learnt | None:
        """What is known of a lens; None for a new one."""
        with self._lock:
            found = self._learnt.pop(name, None)
            if found is not None:
                self._learnt[name] = found  # used last
            return found

    def learn(self, name: str, focal: float, sigma: float) -> None:
        """Take in one map's estimate; estimates are averaged by their certainty.

        Raises:
            ValueError: focal or sigma is not a positive, finite number.
        """
        if not (math.isfinite(focal) and math.isfinite(sigma) and focal > 0 and sigma > 0):
            raise ValueError(f"not a focal length: {focal} +- {sigma}")
        sigma = max(sigma, _FLOOR)
        with self._lock:
            before = self._learnt.pop(name, None)
            if before is not None:
                weight, other = before.sigma**-2, sigma**-2
                focal = (weight * before.focal + other * focal) / (weight + other)
                sigma = (weight + other) ** -0.5
            self._learnt[name] = Learnt(focal, sigma)
            while len(self._learnt) > _MOST:
                del self._learnt[next(iter(self._learnt))]

    def to_json(self) -> str:
        """Everything, to be kept between sessions."""
        with self._lock:
            return json.dumps({name: [known.focal, known.sigma] for name, known in self._learnt.items()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Lenses:
        """What `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        lenses = cls()
        try:
            for name, (focal, sigma) in json.loads(text).items():
                lenses.learn(str(name), float(focal), float(sigma))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not a record of lenses: {error}") from error
        return lenses
