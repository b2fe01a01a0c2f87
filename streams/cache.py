"""Keyframes in memory under one byte bound, with leases for those at work."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, PositiveInt

from streams.frame import StreamId
from streams.keyframes import Keyframe


class CacheConfig(BaseModel):
    """How much to hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: PositiveInt = 512 * 1024 * 1024
    keep_newest: PositiveInt = 12
    """Of each stream, the newest this many go only when nothing else is left: the next window needs them."""


class CacheFullError(Exception):
    """A keyframe does not fit, even with everything evicted that is not leased."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    keyframes: int
    nbytes: int
    leased: int
    evicted: int
    """Ever."""


class KeyframeCache:
    """Bound: bytes. Policy when full: least recently used first, each stream's newest few last, leased ones never.

    One thread at a time, as everything of a scene.
    """

    def __init__(self, config: CacheConfig = CacheConfig()) -> None:  # noqa: B008
        self._config = config
        self._by_id: OrderedDict[str, Keyframe] = OrderedDict()  # least recently used first
        self._order: dict[StreamId, list[str]] = {}  # by age, oldest first
        self._leases: Counter[str] = Counter()
        self._erased: set[str] = set()  # gone for queries, but a lease still holds their bytes
        self._nbytes = 0
        self._evicted = 0

    def __len__(self) -> int:
        return len(self._by_id) - len(self._erased)

    def __contains__(self, keyframe_id: str) -> bool:
        return keyframe_id in self._by_id and keyframe_id not in self._erased

    @property
    def stats(self) -> CacheStats:
        return CacheStats(len(self), self._nbytes, len(self._leases), self._evicted)

    def add(self, keyframe: Keyframe) -> tuple[str, ...]:
        """Take a keyframe in and return the ids that had to go. An id that is there already is left as it is.

        Raises:
            CacheFullError: leased keyframes leave no room for it; nothing was changed.
        """
        if keyframe.id in self._by_id:
            return ()
        evicted = self._choose(self._nbytes + keyframe.nbytes - self._config.max_bytes, keyframe.frame.stream)
        for victim in evicted:
            self._drop(victim)
        self._evicted += len(evicted)
        self._by_id[keyframe.id] = keyframe
        self._order.setdefault(keyframe.frame.stream, []).append(keyframe.id)
        self._nbytes += keyframe.nbytes
        return evicted

    def get(self, keyframe_id: str) -> Keyframe | None:
        """Look one up and mark it as used."""
        if keyframe_id not in self:
            return None
        self._by_id.move_to_end(keyframe_id)
        return self._by_id[keyframe_id]

    def window(self, stream: StreamId, newest: int, also: Iterable[str] = ()) -> tuple[Keyframe, ...]:
        """The stream's `newest` keyframes, preceded by those of `also` that are still here; each once, oldest first."""
        recent = self._order.get(stream, [])[-newest:] if newest > 0 else []
        ids = [i for i in dict.fromkeys(also) if i not in recent] + recent
        found = [k for i in ids if (k := self.get(i)) is not None]
        return tuple(sorted(found, key=lambda k: (k.id in recent, k.frame.capture_ns)))

    @contextmanager
    def lease(self, keyframe_ids: Iterable[str]) -> Iterator[tuple[Keyframe, ...]]:
        """Hold keyframes while a job works on them: inside the block they are not evicted. Unknown ids are left out."""
        held = [i for i in dict.fromkeys(keyframe_ids) if i in self]
        self._leases.update(held)
        try:
            yield tuple(self._by_id[i] for i in held)
        finally:
            for i in held:
                self._leases[i] -= 1
                if self._leases[i] == 0:
                    del self._leases[i]
                    if i in self._erased:
                        self._drop(i)

    def erase(self, stream: StreamId) -> int:
        """Forget a stream, as its owner may demand; what is leased is unreachable now and freed with the lease."""
        ids = self._order.pop(stream, [])
        for i in ids:
            if i in self._leases:
                self._erased.add(i)
            else:
                self._drop(i)
        return len(ids)

    def _choose(self, excess_bytes: int, incoming: StreamId) -> tuple[str, ...]:
        """Whom to evict to free that many bytes for a keyframe of stream `incoming`, which is that stream's newest."""
        if excess_bytes <= 0:
            return ()
        keep = self._config.keep_newest
        newest = {i for s, ids in self._order.items() for i in ids[max(0, len(ids) - keep + (s == incoming)) :]}
        free = [i for i in self._by_id if i not in self._leases]
        victims: list[str] = []
        for i in [i for i in free if i not in newest] + [i for i in free if i in newest]:
            victims.append(i)
            excess_bytes -= self._by_id[i].nbytes
            if excess_bytes <= 0:
                return tuple(victims)
        raise CacheFullError(
            f"{len(self._leases)} leased keyframes leave no room in {self._config.max_bytes} bytes; raise max_bytes"
        )

    def _drop(self, keyframe_id: str) -> None:
        keyframe = self._by_id.pop(keyframe_id)
        self._nbytes -= keyframe.nbytes
        self._erased.discard(keyframe_id)
        order = self._order.get(keyframe.frame.stream)
        if order is not None and keyframe_id in order:
            order.remove(keyframe_id)
            if not order:
                del self._order[keyframe.frame.stream]
