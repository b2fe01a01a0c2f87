"""What one scene has published: the newest message of every key, and what was removed or moved since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from mapping.transforms import Sim3, quat_from_rotation
from server.bus.encode import PACKED, Footprint, Key, Publication, Removal
from server.bus.variants import plain, short, without
from server.protocol import (
    PARTS,
    Codec,
    Delta,
    Event,
    Layer,
    Part,
    Remove,
    Resume,
    SceneInfo,
    Xform,
    pack,
)

RECENT = 4096
SHORT_BELOW_BYTES = 16_384
"""A larger message is not made once more to save a hundredth of it."""

EntryKey = tuple[Layer, Key]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """The newest message of one key (or the news that it is gone), with the bytes that all clients share."""

    layer: Layer
    key: Key
    seq: int
    ver: int
    epoch: int
    capture_ns: int
    frame: bytes
    """With all its parts."""
    footprint_m: Footprint | None
    removed: bool = False
    _frames: dict[frozenset[str], bytes] = field(default_factory=dict, repr=False)

    def frame_with(self, parts: frozenset[Part], codecs: frozenset[Codec] = frozenset()) -> bytes:
        """The message for clients that asked for these parts and know these codecs.

        Made when the first of them is sent it, then shared.
        """
        if self.removed:
            return self.frame
        form = parts | codecs
        if form not in self._frames:
            self._frames[form] = self._made(parts, codecs)
        return self._frames[form]

    def _made(self, parts: frozenset[Part], codecs: frozenset[Codec]) -> bytes:
        frame = self.frame
        if self.layer == "nav" and len(parts) < len(PARTS):
            frame = without(frame, frozenset().union(*(PARTS[p] for p in PARTS if p not in parts)))
        if self.layer in PACKED and "meshopt" not in codecs:
            frame = plain(frame)
        return short(frame) if "short" in codecs and len(frame) < SHORT_BELOW_BYTES else frame


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """A correction of the whole map, which opened `epoch`."""

    seq: int
    epoch: int
    frame: bytes


class Listener(Protocol):
    """Whoever follows a channel; called in order, must not block."""

    def on_entry(self, entry: Entry) -> None: ...

    def on_move(self, move: Move) -> None: ...

    def on_event(self, frame: bytes) -> None: ...


class Channel:
    """The published state of one scene.

    Every change takes the next `seq`; versions count per key; the epoch counts corrections of the whole map. Memory is
    bounded by the map itself: one message per key, `max_tombstones` removals and `max_moves` corrections.
    """

    def __init__(
        self,
        scene: str,
        lineage: str,
        *,
        epoch: int = 0,
        max_tombstones: int = 4096,
        max_moves: int = 256,
    ) -> None:
        self.scene = scene
        self.lineage = lineage
        self.seq = 0
        self.epoch = epoch
        self.scale_source = "none"
        self.gravity_source = "none"
        self.agents: frozenset[str] | None = None
        """Whom the scene has a NavMesh for; None = nobody said."""
        self._entries: dict[EntryKey, Entry] = {}
        self._tombstones: OrderedDict[EntryKey, Entry] = OrderedDict()
        self._recent: OrderedDict[int, int] = OrderedDict()
        self._moves: list[Move] = []
        self._oldest_resume = 0
        self._first_epoch = epoch
        self._max_tombstones = max_tombstones
        self._max_moves = max_moves
        self._listeners: dict[Listener, None] = {}

    # -- what the scene does ------------------------------------------------------------------------------------------

    def publish(self, item: Publication | Removal, *, capture_ns: int, infer_ns: int, now_ns: int) -> int:
        """Make this the newest of its key and hand it to every listener; the version number is returned.

        Removing what is not there changes nothing and returns 0.
        """
        entry_key: EntryKey = (item.layer, item.key)
        before = self._entries.get(entry_key)
        if isinstance(item, Removal):
            return self._remove(entry_key, before) if before is not None else 0
        known = before or self._tombstones.pop(entry_key, None)
        self.seq += 1
        delta = Delta(
            scene=self.scene,
            seq=self.seq,
            epoch=self.epoch,
            layer=item.layer,
            key=list(item.key),
            ver=1 if known is None else known.ver + 1,
            capture_ns=capture_ns,
            infer_ns=infer_ns,
            publish_ns=now_ns,
            body=item.body,
            buffers=list(item.buffers),
        )
        frame = pack(delta, item.payload)
        entry = Entry(item.layer, item.key, self.seq, delta.ver, self.epoch, capture_ns, frame, item.footprint_m)
        self._entries[entry_key] = entry
        if capture_ns:
            self._recent[self.seq] = capture_ns
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)
        for listener in tuple(self._listeners):
            listener.on_entry(entry)
        return entry.ver

    def move(self, new_from_old: Sim3, epoch: int, reason: str) -> None:
        """Open a new epoch: everything published so far now lies at `new_from_old` of where it was.

        Raises:
            ValueError: the epoch is not newer than the present one.
        """
        if epoch <= self.epoch:
            raise ValueError(f"epoch {epoch} does not follow {self.epoch}")
        self.seq += 1
        self.epoch = epoch
        w, x, y, z = (float(v) for v in quat_from_rotation(new_from_old.rotation))
        tx, ty, tz = (float(v) for v in new_from_old.translation)
        xform = Xform(
            scene=self.scene,
            seq=self.seq,
            epoch=epoch,
            scale=float(new_from_old.scale),
            quat_wxyz=(w, x, y, z),
            translation_m=(tx, ty, tz),
            reason=reason,
        )
        move = Move(self.seq, epoch, pack(xform))
        self._moves.append(move)
        self._entries = {key: _carried(entry, new_from_old) for key, entry in self._entries.items()}
        for listener in tuple(self._listeners):
            listener.on_move(move)
        self._forget_moves()

    def restore(self, entries: Iterable[Entry], seq: int) -> None:
        """Take over what was published before a restart; counting goes on beyond `seq`, which clients may have seen.

        They start over: what they received last may not have reached the disk, and cannot be told from what did.

        Raises:
            ValueError: something was published here already.
        """
        if self.seq:
            raise ValueError("restore a channel before anything is published on it")
        for entry in sorted(entries, key=lambda entry: entry.seq):
            kept = self._tombstones if entry.removed else self._entries
            kept[entry.layer, entry.key] = entry
        self.seq = max([seq, *(e.seq for e in self._entries.values()), *(e.seq for e in self._tombstones.values())])
        self._oldest_resume = self.seq
        while len(self._tombstones) > self._max_tombstones:
            self._tombstones.popitem(last=False)

    def announce(self, name: str, data: dict[str, Any]) -> None:
        """Tell whoever is here now; not kept for later."""
        self.seq += 1
        frame = pack(Event(scene=self.scene, seq=self.seq, name=name, data=data))
        for listener in tuple(self._listeners):
            listener.on_event(frame)

    # -- what clients need --------------------------------------------------------------------------------------------

    def info(self, epoch: int | None = None) -> SceneInfo:
        return SceneInfo(
            self.scene,
            self.epoch if epoch is None else epoch,
            self.lineage,
            self.scale_source,
            self.gravity_source,
        )

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def get(self, entry_key: EntryKey) -> Entry | None:
        return self._entries.get(entry_key)

    def capture_ns(self, seq: int) -> int | None:
        """Capture time of one of the last `RECENT` publications."""
        return self._recent.get(seq)

    def can_resume(self, resume: Resume) -> bool:
        """Whether all that happened since is still known here."""
        return resume.lineage == self.lineage and self._oldest_resume <= resume.seq <= self.seq

    def removed_since(self, seq: int) -> list[Entry]:
        return [entry for entry in self._tombstones.values() if entry.seq > seq]

    def epoch_at(self, seq: int) -> int:
        """The epoch in which that change was published."""
        return next((move.epoch for move in reversed(self._moves) if move.seq <= seq), self._first_epoch)

    def moves_since(self, seq: int) -> list[Move]:
        return [move for move in self._moves if move.seq > seq]

    def listen(self, listener: Listener) -> None:
        self._listeners[listener] = None

    def unlisten(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    @property
    def num_listeners(self) -> int:
        return len(self._listeners)

    # -----------------------------------------------------------------------------------------------------------------

    def _remove(self, entry_key: EntryKey, before: Entry) -> int:
        del self._entries[entry_key]
        self.seq += 1
        layer, key = entry_key
        remove = Remove(scene=self.scene, seq=self.seq, layer=layer, key=list(key), ver=before.ver + 1)
        gone = Entry(layer, key, self.seq, remove.ver, self.epoch, 0, pack(remove), before.footprint_m, removed=True)
        self._tombstones[entry_key] = gone
        if len(self._tombstones) > self._max_tombstones:
            _, forgotten = self._tombstones.popitem(last=False)
            self._oldest_resume = max(self._oldest_resume, forgotten.seq)
        for listener in tuple(self._listeners):
            listener.on_entry(gone)
        return gone.ver

    def _forget_moves(self) -> None:
        """Drop moves no entry needs; beyond the bound, drop the entries that still need the oldest."""
        while len(self._moves) > self._max_moves:
            oldest = self._moves.pop(0)
            self._oldest_resume = max(self._oldest_resume, oldest.seq)
            self._first_epoch = oldest.epoch
            for entry_key, entry in list(self._entries.items()):
                if entry.epoch < oldest.epoch:
                    self._remove(entry_key, entry)


def _carried(entry: Entry, new_from_old: Sim3) -> Entry:
    """The same message with its footprint where the move puts it (bytes and versions stay)."""
    if entry.footprint_m is None:
        return entry
    x0, z0, x1, z1 = entry.footprint_m
    corners = np.array([[x, 0.0, z] for x in (x0, x1) for z in (z0, z1)])
    moved = new_from_old.apply(corners)
    low, high = moved.min(axis=0), moved.max(axis=0)
    return replace(entry, footprint_m=(float(low[0]), float(low[2]), float(high[0]), float(high[2])))
