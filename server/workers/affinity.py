"""Which device a stream belongs to. Pure policy: it knows streams, names of devices and the time it is given."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from streams.frame import StreamId

MAX_STREAMS_REMEMBERED = 4096


class Config(BaseModel):
    """When a stream changes its device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    idle_s: float = Field(default=30.0, gt=0)
    """A stream that asked for nothing for so long is no load."""
    imbalance: int = Field(default=2, ge=2)
    """A stream moves when its device has so many streams more than another: what was cached for it is computed anew."""


@dataclass(slots=True)
class _Home:
    device: str
    seen: float


class Affinity:
    """A stream stays while its device is up and not much fuller than another; else the emptiest takes it."""

    def __init__(self, config: Config = Config()) -> None:  # noqa: B008
        self._config = config
        self._homes: OrderedDict[StreamId, _Home] = OrderedDict()  # the longest silent first
        self.moves = 0
        """Streams that changed their device though it was up."""

    def choose(self, stream: StreamId, up: Collection[str], known: Collection[str], now: float) -> str:
        """A device of `up`, or of `known` when none is up; `now` in seconds never goes back."""
        candidates = up or known
        home = self._homes.get(stream)
        others = Counter(
            h.device for s, h in self._homes.items() if s != stream and now - h.seen <= self._config.idle_s
        )
        device = min(candidates, key=lambda name: others[name])
        if home is not None and home.device in candidates:
            if others[home.device] + 1 - others[device] < self._config.imbalance:
                device = home.device
            self.moves += device != home.device
        self._homes[stream] = _Home(device, now)
        self._homes.move_to_end(stream)
        if len(self._homes) > MAX_STREAMS_REMEMBERED:
            self._homes.popitem(last=False)
        return device
