"""What a client that subscribes has to be sent first: all that is there, or all that changed since it was here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from server.bus.channel import Channel, Entry, EntryKey, Move
from server.bus.interest import Interest
from server.bus.order import in_order
from server.bus.region import LEAVE_FACTOR, Region
from server.protocol import Remove, Resume, SnapshotBegin, SnapshotEnd, pack

Queued = bytes | Move | Entry
"""A ready message, a move, or an entry: of what is there the newest version of the same epoch is to be sent, what is
gone is to be removed unless it has come back meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    queue: deque[Queued]
    held: set[EntryKey]
    """What the client has once the queue is sent."""


def plan(channel: Channel, interest: Interest, region: Region | None, resume: Resume | None) -> Snapshot:
    """All moves of the map, then the entries by layer and nearness, whatever epoch they are of.

    A fresh client starts in the epoch of the oldest entry of the whole channel, so that it has seen every move that
    an older entry, also one that enters its region later, may need. One that resumes continues in the epoch it had.
    """
    had = Region(resume.roi.center_m, resume.roi.radius_m) if resume and resume.roi and resume.roi.center_m else None
    resumed = resume is not None and channel.can_resume(resume)
    since = resume.seq if resume is not None and resumed else 0
    if (had is not None and channel.moves_since(since)) or (had is None and region is not None):
        resumed, since = False, 0  # a region of another epoch, or none told: what the client holds is not known
    wanted = [e for e in channel.entries() if interest.covers(e)]
    inside = [e for e in wanted if region is None or region.covers(e)]
    if resumed:
        fresh = [e for e in inside if e.seq > since or (had is not None and not had.covers(e))]
        gone = [e for e in channel.removed_since(since) if interest.covers(e)]
        outside = [e for e in wanted if region is not None and not region.covers(e)]
        gone += [taken_back(channel, e) for e in outside if e.seq > since or had is None or had.covers(e, LEAVE_FACTOR)]
        epoch = channel.epoch_at(since)
        moves = channel.moves_since(since)
    else:
        fresh, gone = inside, []
        epoch = min((e.epoch for e in channel.entries()), default=channel.epoch)
        moves = [move for move in channel.moves_since(0) if move.epoch > epoch]
    begin = SnapshotBegin(scene=channel.info(epoch), seq=channel.seq, entries=len(fresh), resumed=resumed)
    queue: deque[Queued] = deque([pack(begin), *gone, *moves, *in_order(fresh, channel, region)])
    queue.append(pack(SnapshotEnd(scene=channel.scene, seq=channel.seq)))
    return Snapshot(queue, {(e.layer, e.key) for e in inside})


def taken_back(channel: Channel, entry: Entry) -> Entry:
    """The removal, for one client alone, of an entry that its region does not reach any more.

    Counts as older than everything (seq 0): until it is sent, no resume point of the new region holds.
    """
    remove = Remove(scene=channel.scene, seq=channel.seq, layer=entry.layer, key=list(entry.key), ver=entry.ver)
    return Entry(entry.layer, entry.key, 0, entry.ver, channel.epoch, 0, pack(remove), entry.footprint_m, removed=True)
