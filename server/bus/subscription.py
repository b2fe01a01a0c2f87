"""What one client still has to be sent of one scene: the newest of each key, never a log."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain
from math import inf

from server.bus.channel import Channel, Entry, EntryKey, Move
from server.bus.interest import Interest
from server.bus.order import in_order
from server.bus.region import LEAVE_FACTOR, Region, resolve
from server.bus.snapshot import plan, taken_back
from server.protocol import Codec, Layer, Part, Resume, Roi, Synced, pack

SYNCED_EVERY_S = 1.0

Outgoing = bytes | Entry | Move


class Subscription:
    """One client's view of one channel.

    The snapshot takes turns with what is published meanwhile. Published entries leave in the order of their `seq`,
    except that no key is sent more often than its interval allows. A move of the map overtakes nothing published and
    nothing published overtakes it. Entries of older epochs come late, in a snapshot or with a region that has changed:
    the client was sent every move since.
    """

    def __init__(
        self,
        channel: Channel,
        layers: frozenset[Layer],
        *,
        roi: Roi | None = None,
        max_hz: float | None = None,
        resume: Resume | None = None,
        parts: frozenset[Part] = frozenset(),
        codecs: frozenset[Codec] = frozenset(),
        agents: frozenset[str] | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_event: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        """Listen to the channel; `agents` None = everybody's `nav` tiles.

        `on_change` is called when there is something to send, `on_event` with events.
        """
        self.channel = channel
        self._interest = Interest(layers, agents)
        self.parts = parts
        self.codecs = codecs
        self._roi = roi
        self._region = resolve(roi, channel, None)
        self._min_interval_s = 1.0 / max_hz if max_hz else 0.0
        self._on_change, self._on_event = on_change, on_event
        snapshot = plan(channel, self._interest, self._region, resume)
        self._snapshot = snapshot.queue
        self._held: set[EntryKey] = snapshot.held
        self._pending: OrderedDict[EntryKey | int, Entry | Move] = OrderedDict()
        self._deferred: dict[EntryKey, Entry] = {}
        self._due: list[tuple[float, EntryKey]] = []
        self._sent_at: dict[EntryKey, float] = {}
        self._moves_pending = 0
        self._moves_in_snapshot = sum(isinstance(item, Move) for item in self._snapshot)
        self._snapshot_turn = True
        self._synced: tuple[int, Region | None] | None = None
        self._synced_at = float("-inf")
        self._is_void = False
        channel.listen(self)

    def close(self) -> None:
        self.channel.unlisten(self)

    # -- what happens in the channel ----------------------------------------------------------------------------------

    def on_entry(self, entry: Entry) -> None:
        if self._roi is not None and entry.layer == "pose" and entry.key == (self._roi.follow,):
            self.update_roi(self._roi)
        if not self._interest.covers(entry):
            return
        entry_key = (entry.layer, entry.key)
        if entry.removed:
            self._sent_at.pop(entry_key, None)
            if self._region is None or entry_key in self._held:
                self._held.discard(entry_key)
                self._queue(entry)
        elif self._wants(entry):
            self._held.add(entry_key)
            self._queue(entry)
        elif entry_key in self._held:
            self._take_back(entry)
        self._on_change()

    def on_move(self, move: Move) -> None:
        self._pending.update(self._deferred.items())  # they are of the old epoch: they go before the move
        self._deferred.clear()
        self._due.clear()
        self._pending[move.epoch] = move
        self._moves_pending += 1
        self._sort_out()
        self._on_change()

    def on_event(self, frame: bytes) -> None:
        if "event" in self._interest.layers:
            self._on_event(frame)

    # -- what the client asks -----------------------------------------------------------------------------------------

    def update_roi(self, roi: Roi | None) -> None:
        """Take back what lies outside the new region; queue what has come inside, in the order of a snapshot."""
        self._roi = roi
        region = resolve(roi, self.channel, self._region)
        if region != self._region:
            self._region = region
            self._void()
            self._sort_out()
            self._on_change()

    def _sort_out(self) -> None:
        entries = [entry for entry in self.channel.entries() if self._interest.covers(entry)]
        for entry in in_order(entries, self.channel, self._region):
            held = (entry.layer, entry.key) in self._held
            if held and not self._wants(entry):
                self._take_back(entry)
            elif not held and self._wants(entry):
                self._held.add((entry.layer, entry.key))
                self._queue(entry)

    def _wants(self, entry: Entry) -> bool:
        slack = LEAVE_FACTOR if (entry.layer, entry.key) in self._held else 1.0
        return self._region is None or self._region.covers(entry, slack)

    def _take_back(self, entry: Entry) -> None:
        self._void()
        self._held.discard((entry.layer, entry.key))
        self._queue(taken_back(self.channel, entry))

    def _void(self) -> None:
        """The client will hold other keys than those of the resume point it was given: take that back first."""
        if self._synced is not None:
            self._synced = None
            self._is_void = True

    def _queue(self, entry: Entry) -> None:
        entry_key = (entry.layer, entry.key)
        if entry_key in self._deferred and not entry.removed:
            self._deferred[entry_key] = entry
            return
        self._deferred.pop(entry_key, None)
        self._pending.pop(entry_key, None)
        self._pending[entry_key] = entry

    # -- what is sent -------------------------------------------------------------------------------------------------

    def pop(self, now: float, floor_s: float = 0.0) -> Outgoing | None:
        """The next message, or None while there is nothing or it is too early; `floor_s` slows every key down."""
        if self._is_void:
            self._is_void = False
            return pack(Synced(scene=self.channel.scene, resume=None))
        if self._due:
            self._release(now)
        if now - self._synced_at >= SYNCED_EVERY_S and (synced := self._sync(now)) is not None:
            return synced
        if not self._snapshot:
            self._snapshot_turn = True
            return self._pop_pending(now, max(self._min_interval_s, floor_s)) if self._pending else None
        barrier = self._moves_in_snapshot > 0 or isinstance(next(iter(self._pending.values()), None), Move)
        while self._snapshot and (self._snapshot_turn or barrier or not self._pending):
            self._snapshot_turn = False
            if (frame := self._pop_snapshot(now)) is not None:
                return frame
        self._snapshot_turn = True
        return self._pop_pending(now, max(self._min_interval_s, floor_s))

    def wait_s(self, now: float) -> float | None:
        """How long until there may be something to send; None = only when something happens."""
        sync_at = self._synced_at + SYNCED_EVERY_S
        due_at = self._due[0][0] if self._due else inf
        if due_at <= sync_at or self._progress() is None:
            return max(0.0, due_at - now) if self._due else None
        return max(0.0, sync_at - now)

    @property
    def unsent_bytes(self) -> int:
        """What waits, counted as it would be sent now."""
        waiting = [*self._pending.values(), *self._deferred.values(), *self._snapshot]
        return sum(len(self._frame_of(item)) for item in waiting)

    def _frame_of(self, item: Outgoing) -> bytes:
        if isinstance(item, bytes):
            return item
        return item.frame_with(self.parts, self.codecs) if isinstance(item, Entry) else item.frame

    def _pop_snapshot(self, now: float) -> Outgoing | None:
        item = self._snapshot.popleft()
        if isinstance(item, Move):
            self._moves_in_snapshot -= 1
        if not isinstance(item, Entry):
            return item
        entry_key = (item.layer, item.key)
        if item.removed:
            return item if entry_key not in self._held else None
        newest = self.channel.get(entry_key)
        if newest is None or newest.epoch != item.epoch or entry_key not in self._held:
            return None  # gone, or its newer version waits behind the move that opened its epoch
        self._pending.pop(entry_key, None)
        self._deferred.pop(entry_key, None)
        return self._note(newest, now)

    def _pop_pending(self, now: float, interval_s: float) -> Outgoing | None:
        while self._pending:
            _, item = self._pending.popitem(last=False)
            if isinstance(item, Move):
                self._moves_pending -= 1
                self._synced_at = float("-inf")
                return item
            entry_key = (item.layer, item.key)
            due = self._sent_at.get(entry_key, float("-inf")) + interval_s
            if due <= now or item.removed or self._moves_pending:
                return self._note(item, now, interval_s)
            self._deferred[entry_key] = item
            heapq.heappush(self._due, (due, entry_key))
        return None

    def _note(self, entry: Entry, now: float, interval_s: float = 0.0) -> Entry:
        if interval_s and not entry.removed:
            self._sent_at[(entry.layer, entry.key)] = now
        return entry

    def _release(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, entry_key = heapq.heappop(self._due)
            if (entry := self._deferred.pop(entry_key, None)) is not None:
                self._pending[entry_key] = entry

    def _sync(self, now: float) -> bytes | None:
        if (seq := self._progress()) is None:
            return None
        self._synced, self._synced_at = (seq, self._region), now
        roi = self._region.as_roi() if self._region else None
        return pack(Synced(scene=self.channel.scene, resume=Resume(self.channel.lineage, seq, roi)))

    def _progress(self) -> int | None:
        """Up to which change all that concerns this client has been sent, if that is news."""
        if self._snapshot:
            return None
        seq = self.channel.seq
        if self._pending or self._deferred:
            seq = min(item.seq for item in chain(self._pending.values(), self._deferred.values())) - 1
        known_seq, known_region = self._synced or (-1, None)
        return seq if seq > known_seq or (seq == known_seq >= 0 and self._region != known_region) else None
