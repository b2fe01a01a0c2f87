"""The slots of all scenes: `swap.py` decides, the database remembers, events tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from server.api.contract import Busy, NotFound
from server.assets import swap
from server.assets.database import Change, Database
from server.assets.swap import Config, Outcome, Policy, Slot, Step
from server.assets.values import Ref

Files = Callable[[Ref], list[dict[str, Any]]]
"""The files of a version, as events tell them."""


class Slots:
    """All slots in memory; each change of one is in the database before memory has it."""

    def __init__(self, database: Database, config: Config, max_slots: int, files: Files, now_ns: int) -> None:
        self._config, self._max_slots, self._files = config, max_slots, files
        rows = database.connection.execute("SELECT body FROM slots ORDER BY slot")
        stored = (msgspec.json.decode(body, type=Slot) for (body,) in rows)
        self._slots = {slot.slot: swap.restored(slot, now_ns, config) for slot in stored}
        self._bound: dict[str, dict[str, str | None]] = {}
        """The only scene that each client may see, by slot and client; None = all."""

    def get(self, slot: str) -> Slot:
        """
        Raises:
            NotFound: there is none of that name.
        """
        if slot not in self._slots:
            raise NotFound(f"there is no slot {slot[:64]!r}")
        return self._slots[slot]

    def find(self, slot: str) -> Slot | None:
        return self._slots.get(slot)

    def all(self) -> list[Slot]:
        return list(self._slots.values())

    def showing(self, asset: str) -> list[Slot]:
        """Slots that show an asset, or are about to."""
        return [slot for slot in self._slots.values() if (ref := swap.target(slot)) is not None and ref.asset == asset]

    def refs(self) -> set[Ref]:
        """Every version that a slot shows, is about to show, or could go back to."""
        return {ref for slot in self._slots.values() for ref in (slot.current, swap.target(slot), *slot.kept) if ref}

    def is_free(self, slot: str) -> bool:
        return slot not in self._slots and len(self._slots) < self._max_slots

    def policy(self, asked: Policy | None) -> Policy:
        """As asked, or as configured."""
        c = self._config
        deadline_ns, watch_ns = int(c.deadline_s * 1e9), int(c.watch_s * 1e9)
        return asked or Policy("all", 1.0, deadline_ns, watch_ns, c.max_failed_share)

    def begin(self, change: Change, slot: str, scene: str | None, to: Ref, revision: int, asked: Policy | None) -> Slot:
        """Swap, making the slot (revision 0) if there is none; raises what `swap.begin` does, and Busy at the limit."""
        known = self._slots.get(slot)
        if known is None:
            if not self.is_free(slot):
                raise Busy(f"there are {self._max_slots} slots, which is the limit")
            known = Slot(slot, scene)
        bound = self._bound.get(slot, {}).items()
        clients = frozenset(client for client, scope in bound if _sees(scope, known.scene))
        policy = self.policy(asked)
        return self._take(change, known, swap.begin(known, to, revision, policy, clients, change.now_ns, self._config))

    def roll_back(self, change: Change, slot: str, revision: int | None) -> Slot:
        known = self.get(slot)
        return self._take(change, known, swap.roll_back(known, revision, "asked for", change.now_ns))

    def answer(self, change: Change, slot: str, client: str, revision: int, is_ready: bool) -> None:
        if (known := self._slots.get(slot)) is not None:
            step = swap.answer(known, client, revision, is_ready, change.now_ns, self._config)
            self._take(change, known, step)

    def bind(self, slot: str, client: str, scope: str | None) -> None:
        """A client looks at the slot from now on, if it may; there need not be one of that name yet."""
        self._bound.setdefault(slot, {})[client] = scope
        if (known := self._slots.get(slot)) is not None and _sees(scope, known.scene):
            self._slots[slot] = swap.join(known, client)

    def unbind(self, change: Change, slot: str, client: str) -> None:
        bound = self._bound.get(slot, {})
        bound.pop(client, None)
        if not bound:
            self._bound.pop(slot, None)
        if (known := self._slots.get(slot)) is not None:
            self._take(change, known, swap.leave(known, client, change.now_ns, self._config))

    def remove(self, change: Change, slot: str) -> None:
        known = self.get(slot)
        change.connection.execute("DELETE FROM slots WHERE slot = ?", (slot,))
        change.emit("slot.removed", f"slot/{slot}", known.scene, {"slot": slot})
        change.after.append(lambda: self._forget(slot))

    def due(self, now_ns: int) -> bool:
        return (due_ns := self.due_ns()) is not None and due_ns <= now_ns

    def due_ns(self) -> int | None:
        """When `tick` has something to do."""
        return min(self._dues(), default=None)

    def tick(self, change: Change) -> None:
        for known in self.all():
            if (due_ns := swap.due_ns(known)) is not None and due_ns <= change.now_ns:
                self._take(change, known, swap.tick(known, change.now_ns, self._config))

    def view(self, slot: Slot) -> dict[str, Any]:
        """A slot as clients see it: what to show, and what to prepare for."""
        going = None
        if (now := slot.swap) is not None:
            going = {
                "phase": "watch" if now.is_committed else "prepare",
                "to": _ref(now.to),
                "files": self._files(now.to),
                "policy": _policy(now.policy),
                "commit_at_ms": _ms(now.commit_at_ns) if now.is_committed else None,
                "watch_until_ms": _ms(now.watch_until_ns) if now.is_committed else None,
                **{name: now.count(name) for name in ("waiting", "ready", "failed")},
            }
        return {
            "slot": slot.slot,
            "scene": slot.scene,
            "rev": slot.revision,
            "current": _ref(slot.current),
            "kept": [_ref(ref) for ref in slot.kept],
            "swap": going,
            "files": self._files(slot.current) if slot.current is not None else [],
            "reason": slot.reason,
        }

    def _dues(self) -> Iterator[int]:
        return (due_ns for slot in self._slots.values() if (due_ns := swap.due_ns(slot)) is not None)

    def _take(self, change: Change, before: Slot, step: Step) -> Slot:
        """Write what was decided and tell of it; answers that decide nothing cost no write."""
        if step.outcomes:
            body = (step.slot.slot, msgspec.json.encode(step.slot))
            change.connection.execute("INSERT OR REPLACE INTO slots VALUES (?, ?)", body)
            shown = before.current
            for outcome, slot in step.outcomes:
                change.emit(f"slot.{outcome}", f"slot/{slot.slot}", slot.scene, self._told(outcome, slot, shown))
                shown = slot.current
        change.after.append(lambda: self._slots.__setitem__(step.slot.slot, step.slot))
        return step.slot

    def _told(self, outcome: Outcome, slot: Slot, shown: Ref | None) -> dict[str, Any]:
        """`from` is what was shown before; `to` is what is to be shown from the commit's time on."""
        told: dict[str, Any] = {"slot": slot.slot, "rev": slot.revision, "from": _ref(shown)}
        now = slot.swap
        to = swap.target(slot)
        told |= {"to": _ref(to), "files": self._files(to) if to is not None else []}
        if outcome == "prepare" and now is not None:
            told |= {"deadline_ms": now.policy.deadline_ns / 1e6, "policy": _policy(now.policy)}
        elif outcome == "commit" and now is not None:
            told |= {"commit_at_ms": _ms(now.commit_at_ns), "watch_until_ms": _ms(now.watch_until_ns)}
        elif outcome == "rolled_back":
            told |= {"reason": slot.reason, "commit_at_ms": _ms(slot.changed_ns)}
        return told

    def _forget(self, slot: str) -> None:
        self._slots.pop(slot, None)


def _sees(scope: str | None, scene: str | None) -> bool:
    return scope is None or scene is None or scope == scene


def _ref(ref: Ref | None) -> dict[str, Any] | None:
    return None if ref is None else {"asset": ref.asset, "version": ref.version}


def _policy(policy: Policy) -> str:
    return f"quorum:{policy.share:g}" if policy.rule == "quorum" else policy.rule


def _ms(time_ns: int) -> float:
    return round(time_ns / 1e6, 3)
