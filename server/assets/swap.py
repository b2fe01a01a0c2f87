"""How a slot changes over from one asset to another: prepare, acknowledge, commit, watch, roll back. Pure.

Each step takes the slot, what happened and `now`, and gives the new slot with the outcomes to be told, in order:

    begin -> prepare -> (answers, or the deadline) -> commit -> (watching) -> settled
                                    |                                |
                                    +--- too many failed ------------+-> rolled_back

Clients keep what they show until the commit's time, a little ahead on the server's clock, and can take it up again
until the change is settled. So there is no moment without an asset, whoever fails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from server.api.contract import Conflict
from server.assets.values import Ref

Standing = Literal["waiting", "ready", "failed"]
Outcome = Literal["prepare", "commit", "rolled_back", "settled"]
Rule = Literal["all", "quorum", "any", "now"]


class Config(BaseModel):
    """Times of a swap; requests may ask for others, within bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deadline_s: float = Field(default=5.0, gt=0, le=600)
    """From prepare to a commit whoever is ready."""
    lead_s: float = Field(default=0.15, ge=0, le=10)
    """From the decision to the moment at which all clients change over; longer than events travel."""
    watch_s: float = Field(default=5.0, ge=0, le=3600)
    """From the commit until old versions need not be held any more."""
    max_failed_share: float = Field(default=0.2, ge=0, le=1)
    """More failed clients than this bring the old version back."""
    rollback_depth: int = Field(default=3, ge=1, le=64)
    """Versions of before that a slot remembers, and whose files are kept."""
    rejoin_s: float = Field(default=2.0, ge=0)
    """After a restart of the server, clients have so long to come back before a swap is judged."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a prepared swap commits before its deadline."""

    rule: Rule = "all"
    share: float = 1.0
    """Of a quorum: that share of the clients is ready."""
    deadline_ns: int = 5_000_000_000
    """A duration, like the next."""
    watch_ns: int = 5_000_000_000
    max_failed_share: float = 0.2


@dataclass(frozen=True, slots=True)
class Swap:
    """A change that is not settled yet."""

    policy: Policy
    to: Ref
    deadline_ns: int
    judge_from_ns: int = 0
    """Before that, missing answers mean nothing: clients are still coming back. 0 = they have been here all along."""
    commit_at_ns: int = 0
    """0 = still preparing."""
    watch_until_ns: int = 0
    clients: Mapping[str, Standing] = field(default_factory=dict)
    """Those that take part; never changed in place."""

    @property
    def is_committed(self) -> bool:
        return self.commit_at_ns > 0

    def count(self, standing: Standing) -> int:
        return sum(1 for one in self.clients.values() if one == standing)

    @property
    def has_failed(self) -> bool:
        return self.count("failed") > self.policy.max_failed_share * len(self.clients)


@dataclass(frozen=True, slots=True)
class Slot:
    """A named place and what is in it."""

    slot: str
    scene: str | None = None
    revision: int = 0
    current: Ref | None = None
    kept: tuple[Ref, ...] = ()
    """What it showed before, newest first."""
    swap: Swap | None = None
    reason: str = ""
    """Of the last rollback."""
    changed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """The slot after something happened, and what is to be told, each with the slot as it was then."""

    slot: Slot
    outcomes: tuple[tuple[Outcome, Slot], ...] = ()

    def then(self, later: Step) -> Step:
        return Step(later.slot, self.outcomes + later.outcomes)


def begin(slot: Slot, to: Ref, revision: int, policy: Policy, clients: frozenset[str], now_ns: int, c: Config) -> Step:
    """Prepare a swap, if the slot is still at `revision`. Asking the same again changes nothing.

    Raises:
        Conflict: somebody changed the slot meanwhile; `revision` of the refusal is the present one.
    """
    if revision == slot.revision - 1 and to == target(slot):
        return Step(slot)  # a repeated request whose answer was lost
    if revision != slot.revision:
        detail = f"slot {slot.slot!r} is at revision {slot.revision}, not {revision}; look at it and decide again"
        raise Conflict(detail, revision=slot.revision)
    waiting: dict[str, Standing] = dict.fromkeys(sorted(clients), "waiting")
    swap = Swap(policy, to, now_ns + policy.deadline_ns, clients=waiting)
    began = replace(slot, revision=slot.revision + 1, swap=swap, reason="", changed_ns=now_ns)
    return Step(began, (("prepare", began),)).then(_judge(began, now_ns, c))


def answer(slot: Slot, client: str, revision: int, is_ready: bool, now_ns: int, c: Config) -> Step:
    """A client is ready, or failed (before or after the commit). Late and foreign answers change nothing."""
    swap = slot.swap
    if swap is None or revision != slot.revision or client not in swap.clients:
        return Step(slot)
    if swap.clients[client] == "failed":
        return Step(slot)
    return _judge(_with_clients(slot, swap, {**swap.clients, client: "ready" if is_ready else "failed"}), now_ns, c)


def join(slot: Slot, client: str) -> Slot:
    """A client binds to the slot; it takes part in a swap that is being prepared or watched."""
    swap = slot.swap
    if swap is None or client in swap.clients:
        return slot
    return _with_clients(slot, swap, {**swap.clients, client: "waiting"})


def leave(slot: Slot, client: str, now_ns: int, c: Config) -> Step:
    """A client is gone; nobody waits for it."""
    swap = slot.swap
    if swap is None or client not in swap.clients:
        return Step(slot)
    rest = {name: standing for name, standing in swap.clients.items() if name != client}
    return _judge(_with_clients(slot, swap, rest), now_ns, c)


def roll_back(slot: Slot, revision: int | None, reason: str, now_ns: int) -> Step:
    """Give up a swap that is being prepared, or go back to what was shown before.

    Raises:
        Conflict: the slot is at another revision, or there is nothing to go back to.
    """
    if revision is not None and revision != slot.revision:
        raise Conflict(f"slot {slot.slot!r} is at revision {slot.revision}, not {revision}", revision=slot.revision)
    if slot.swap is not None and not slot.swap.is_committed:
        back = replace(slot, revision=slot.revision + 1, swap=None, reason=reason, changed_ns=now_ns)
    elif slot.kept:
        back = Slot(slot.slot, slot.scene, slot.revision + 1, slot.kept[0], slot.kept[1:], None, reason, now_ns)
    else:
        raise Conflict(f"slot {slot.slot!r} has nothing to go back to", revision=slot.revision)
    return Step(back, (("rolled_back", back),))


def tick(slot: Slot, now_ns: int, c: Config) -> Step:
    """Let time pass: deadlines and the end of watching."""
    swap = slot.swap
    if swap is not None and swap.is_committed and now_ns >= swap.watch_until_ns:
        settled = replace(slot, swap=None)
        return Step(settled, (("settled", settled),))
    if swap is not None and swap.judge_from_ns and now_ns >= swap.judge_from_ns:
        slot = replace(slot, swap=replace(swap, judge_from_ns=0))
    return _judge(slot, now_ns, c)


def due_ns(slot: Slot) -> int | None:
    """When `tick` has something to do."""
    swap = slot.swap
    if swap is None:
        return None
    if swap.is_committed:
        return swap.watch_until_ns
    return swap.judge_from_ns or swap.deadline_ns


def restored(slot: Slot, now_ns: int, c: Config) -> Slot:
    """As it is after a restart of the server: the clients are gone and come back."""
    if slot.swap is None:
        return slot
    until_ns = now_ns + int(c.rejoin_s * 1e9)
    swap = replace(slot.swap, clients={}, judge_from_ns=until_ns, deadline_ns=max(slot.swap.deadline_ns, until_ns))
    return replace(slot, swap=swap)


def target(slot: Slot) -> Ref | None:
    """What the slot shows, or is about to."""
    return slot.swap.to if slot.swap is not None else slot.current


def _judge(slot: Slot, now_ns: int, c: Config) -> Step:
    """Commit or roll back if it is time to."""
    swap = slot.swap
    if swap is None:
        return Step(slot)
    if swap.has_failed and (slot.kept or not swap.is_committed):
        return roll_back(slot, None, "too many clients failed", now_ns)
    if swap.is_committed or not _may_commit(swap, now_ns):
        return Step(slot)
    commit_at_ns = now_ns + int(c.lead_s * 1e9)
    committed = replace(swap, commit_at_ns=commit_at_ns, watch_until_ns=commit_at_ns + swap.policy.watch_ns)
    before = () if slot.current is None else (slot.current,)
    kept = (before + slot.kept)[: c.rollback_depth]
    done = replace(slot, current=swap.to, kept=kept, swap=committed, changed_ns=now_ns)
    return Step(done, (("commit", done),))


def _may_commit(swap: Swap, now_ns: int) -> bool:
    if swap.policy.rule == "now" or now_ns >= swap.deadline_ns:
        return True
    if now_ns < swap.judge_from_ns:
        return False
    ready, everybody = swap.count("ready"), len(swap.clients)
    if ready + swap.count("failed") == everybody:
        return True  # nobody is left to wait for
    if swap.policy.rule == "any":
        return ready > 0
    return swap.policy.rule == "quorum" and ready >= math.ceil(swap.policy.share * everybody - 1e-9)


def _with_clients(slot: Slot, swap: Swap, clients: Mapping[str, Standing]) -> Slot:
    return replace(slot, swap=replace(swap, clients=clients))
