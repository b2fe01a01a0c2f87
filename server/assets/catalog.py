"""All of the asset bus for one thread: assets, slots, leases and blobs, each public method one transaction.

What a method changes and the events that tell of it are committed together; when it raises, nothing happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mapping.transforms import Sim3
from server.api.contract import Conflict, NotFound, Unprocessable
from server.assets.blobs import Blobs, Swept
from server.assets.database import Change, Database, Event
from server.assets.discovery import Config as DiscoveryConfig
from server.assets.discovery import Group
from server.assets.kinds import told_apart
from server.assets.leases import Held, Leases
from server.assets.placements import Placements
from server.assets.registry import Limits, Registry
from server.assets.resolve import Wish, choose
from server.assets.slots import Slots
from server.assets.swap import Config as SwapConfig
from server.assets.swap import Policy, Slot
from server.assets.values import (
    Asset,
    AssetFile,
    AssetType,
    NewAsset,
    NewVersion,
    Placement,
    Ref,
    Tombstone,
    Version,
)


class Config(BaseModel):
    """The asset bus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Limits = Limits()
    swap: SwapConfig = SwapConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    max_slots: int = Field(default=4096, gt=0)
    max_blob_bytes: int = Field(default=256 << 20, gt=0)
    max_store_bytes: int = Field(default=32 << 30, gt=0)
    """All blobs together; more get 507."""
    grace_s: float = Field(default=3600.0, ge=0)
    """So long a blob is kept that no version needs (yet, or any more)."""
    sweep_s: float = Field(default=600.0, gt=0)
    """Time between two looks for blobs that are not needed."""
    lease_ttl_s: float = Field(default=30.0, gt=0)
    """A client that is not heard of for so long holds nothing."""
    keep_events: int = Field(default=100_000, gt=0)
    """How far back a client may resume."""


class Catalog:
    """The asset bus of one folder; one thread at a time. `now_ns` is Unix ns."""

    def __init__(self, folder: Path, config: Config, now_ns: int, on_events: Callable[[list[Event]], None]) -> None:
        """`on_events` is told what was committed, in order, from within the methods.

        Raises:
            OSError, sqlite3.DatabaseError: the folder or the database in it cannot be used.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.config = config
        self.blobs = Blobs(folder / "blobs", config.max_blob_bytes, config.max_store_bytes)
        self._db = Database(folder / "assets.sqlite", config.keep_events, on_events)
        self._registry = Registry(self._db, self.blobs, config.limits)
        self._placements = Placements(self._db)
        self._slots = Slots(self._db, config.swap, config.max_slots, self._files, now_ns)
        self._leases = Leases(config.lease_ttl_s)

    @property
    def epoch(self) -> str:
        """Of the sequence numbers."""
        return self._db.epoch

    @property
    def seq(self) -> int:
        """Of the newest event."""
        return self._db.seq

    def close(self) -> None:
        self._db.close()

    # -- assets --------------------------------------------------------------------------------------------------------

    def assets(self, type: AssetType | None, scope: str | None, after: str, limit: int, now_ns: int) -> list[Asset]:
        """Assets that are not gone, by name, beginning after one of them.

        Args:
            scope: the only scene whose assets are listed, beside those of no scene; None = all.
        """
        usage = self._leases.usage(now_ns)
        return [self._seen(asset, usage[asset.asset]) for asset in self._registry.page(type, scope, after, limit)]

    def asset(self, asset: str, now_ns: int) -> Asset:
        """Raises: NotFound, Gone."""
        return self._seen(self._registry.get(asset), self._leases.usage(now_ns)[asset])

    def scene_of(self, asset: str) -> str | None:
        """Who may know of an asset; also of one that is gone. Raises: NotFound."""
        if (known := self._registry.find(asset)) is None:
            raise NotFound(f"there is no asset {asset[:64]!r}")
        return known.scene

    def register(self, asset: str | None, new: NewAsset, now_ns: int) -> Asset:
        """Make an asset, or change what is known of it; raises what `Registry.register` does."""
        with self._db.change(now_ns) as change:
            return self._registry.register(change, asset, new)

    def publish(self, asset: str, new: NewVersion, request: str | None, now_ns: int) -> Version:
        """Add a version; raises what `Registry.publish` and `Placements.present` do."""
        with self._db.change(now_ns) as change:
            made = self._registry.publish(change, asset, told_apart(new, self.blobs), request)
            if new.placement is not None:
                self._placements.put(change, "asset", asset, new.placement)
            return made

    def version(self, asset: str, version: int | None) -> Version:
        """Raises: NotFound, Gone."""
        return self._registry.version(asset, version)

    def resolve(self, asset: str, version: int | None, wish: Wish) -> tuple[Version, AssetFile]:
        """The file of an asset (or of what it was swapped for) that suits best.

        Raises:
            NotFound, Gone: there is no such asset or version.
            NotAcceptable: no file fits.
        """
        if version is None:
            asset = self._registry.followed(asset).asset
        else:
            self._registry.get(asset)
        found = self._registry.version(asset, version)
        return found, choose(found.files, wish)

    def place(self, asset: str, placement: Placement, now_ns: int) -> Placement:
        """Stand an asset somewhere else; the place in coordinates of the map's present epoch."""
        with self._db.change(now_ns) as change:
            self._registry.get(asset)
            return self._placements.put(change, "asset", asset, placement)

    def bury(self, asset: str, reason: str, replacement: str | None, now_ns: int) -> Tombstone:
        """Delete an asset. Slots that show it change over to the replacement, or keep it until they are given another.

        Raises:
            NotFound, Gone: there is no such asset or replacement.
        """
        with self._db.change(now_ns) as change:
            known = self._registry.find(asset)
            if known is not None and known.tombstone is None and replacement is not None:
                self._change_over(change, known, self._registry.get(replacement))
            return self._registry.bury(change, asset, reason, replacement)

    def hot_swap(self, old: str, new: str, now_ns: int) -> list[Slot]:
        """Change every slot that shows `old` over to `new`, and answer with `new` whoever asks for `old`.

        Raises:
            NotFound, Gone: there is no such asset, or nothing of it was published.
            Unprocessable: they are the same.
        """
        if old == new:
            raise Unprocessable("an asset cannot be swapped for itself")
        with self._db.change(now_ns) as change:
            return self._change_over(change, self._registry.get(old), self._registry.get(new))

    def _change_over(self, change: Change, old: Asset, new: Asset) -> list[Slot]:
        to = Ref(new.asset, self._registry.version(new.asset).version)
        showing = self._slots.showing(old.asset)
        swapped = [self._slots.begin(change, s.slot, s.scene, to, s.revision, None) for s in showing]
        self._registry.alias(change, old, new)
        return swapped

    # -- slots ---------------------------------------------------------------------------------------------------------

    def slots(self) -> list[Slot]:
        return self._slots.all()

    def slot(self, slot: str) -> Slot:
        """Raises: NotFound."""
        return self._slots.get(slot)

    def find_slot(self, slot: str) -> Slot | None:
        return self._slots.find(slot)

    def present(self, names: Iterable[str]) -> list[Slot]:
        """Those of the slots that (still) are there."""
        return [slot for name in names if (slot := self._slots.find(name)) is not None]

    def showing(self, asset: str) -> list[Slot]:
        """Slots that show an asset, or are about to."""
        return self._slots.showing(asset)

    def view(self, slot: Slot) -> dict[str, Any]:
        """A slot as clients see it."""
        placement = self._placements.get("slot", slot.slot)
        return self._slots.view(slot) | {"placement": None if placement is None else placement.model_dump(mode="json")}

    def swap(
        self,
        slot: str,
        scene: str | None,
        to: Ref,
        revision: int | None,
        policy: Policy | None,
        placement: Placement | None,
        now_ns: int,
    ) -> Slot:
        """Change a slot over, making it if there is none.

        Args:
            to: version 0 = the latest.
            revision: of the slot as the caller knows it, 0 for none; None = whatever it is.

        Raises:
            Conflict: somebody changed the slot meanwhile.
            NotFound, Gone: there is no such asset or version.
        """
        with self._db.change(now_ns) as change:
            known = self._slots.find(slot)
            asset = self._registry.get(to.asset)
            if asset.scene is not None and asset.scene != (known.scene if known else scene):
                raise Conflict(f"asset {asset.asset!r} belongs to scene {asset.scene!r}; this slot is elsewhere")
            found = self._registry.version(to.asset, to.version or None)
            expected = revision if revision is not None else (known.revision if known else 0)
            step = self._slots.begin(change, slot, scene, Ref(found.asset, found.version), expected, policy)
            if placement is not None:
                self._placements.put(change, "slot", slot, placement)
            return step

    def roll_back(self, slot: str, revision: int | None, now_ns: int) -> Slot:
        """Go back to what a slot showed before; raises what `swap.roll_back` does."""
        with self._db.change(now_ns) as change:
            return self._slots.roll_back(change, slot, revision)

    def remove_slot(self, slot: str, now_ns: int) -> None:
        """Raises: NotFound."""
        with self._db.change(now_ns) as change:
            self._slots.remove(change, slot)
            self._placements.remove("slot", slot)

    # -- clients -------------------------------------------------------------------------------------------------------

    def bind(self, client: str, slot: str, scope: str | None) -> dict[str, Any] | None:
        """A client looks at a slot; what it is to show, None while there is no such slot.

        Args:
            scope: the only scene whose slots the client may see; None = all.
        """
        self._slots.bind(slot, client, scope)
        known = self._slots.find(slot)
        return None if known is None else self.view(known)

    def answer(self, client: str, slot: str, revision: int, is_ready: bool, now_ns: int) -> None:
        """A client is ready for a swap, or failed."""
        with self._db.change(now_ns) as change:
            self._slots.answer(change, slot, client, revision, is_ready)

    def hold(self, client: str, held: Iterable[Held], now_ns: int) -> None:
        """This is all that a client holds now."""
        self._leases.renew(client, held, now_ns)

    def renew(self, client: str, now_ns: int) -> None:
        """It holds what it held."""
        self._leases.renew(client, None, now_ns)

    def leave(self, client: str, slots: Iterable[str], now_ns: int) -> None:
        """A client is gone, or looks at these slots no more."""
        with self._db.change(now_ns) as change:
            for slot in slots:
                self._slots.unbind(change, slot, client)

    def forget(self, client: str) -> None:
        """It holds nothing any more."""
        self._leases.end(client)

    def events_since(self, seq: int, limit: int) -> list[Event] | None:
        """What happened after `seq`, oldest first; None when that is not all kept any more."""
        return self._db.events_since(seq, limit)

    # -- time, maps and the disk ---------------------------------------------------------------------------------------

    def due_ns(self) -> int | None:
        """When `tick` has something to do."""
        return self._slots.due_ns()

    def tick(self, now_ns: int) -> None:
        """Let time pass: deadlines of swaps."""
        if self._slots.due(now_ns):
            with self._db.change(now_ns) as change:
                self._slots.tick(change)

    def open_map(self, scene: str, lineage: str, epoch: int, now_ns: int) -> None:
        """A scene's map is at this epoch."""
        with self._db.change(now_ns) as change:
            self._placements.open_map(change, scene, lineage, epoch)

    def move_map(self, scene: str, new_from_old: Sim3, epoch: int, now_ns: int) -> None:
        """A scene's map was corrected as a whole: what stands in it moves along."""
        with self._db.change(now_ns) as change:
            self._placements.move_map(change, scene, new_from_old, epoch)

    def sweep(self, now_ns: int) -> Swept:
        """Remove blobs that nothing needs: no asset that is not gone, no slot (nor its rollbacks), no client."""
        return self.blobs.sweep(self.marked(now_ns).__contains__, self.config.grace_s, now_ns)

    def marked(self, now_ns: int) -> set[str]:
        """Blobs that an asset, a slot, one of its rollbacks or a client needs."""
        return self._registry.marked(self._slots.refs() | self._leases.refs(now_ns))

    def knows(self, sha256: str) -> bool:
        """Whether these bytes are, or were, part of an asset."""
        return bool(self._registry.holders(sha256))

    def discovered(self, group: Group, new: NewVersion, now_ns: int) -> Version | None:
        """Take in what `discovery` found, its files being blobs by now, the telling one first.

        None when those bytes are known already.
        """
        with self._db.change(now_ns) as change:
            if self.knows(new.files[0].sha256):
                return None  # a copy, or moved
            known = self._registry.find(group.asset)
            if known is None or known.tombstone is not None or known.scene is not None:
                known = self._registry.register(change, None if known else group.asset, group.new)
            return self._registry.publish(change, known.asset, told_apart(new, self.blobs), None)

    # -----------------------------------------------------------------------------------------------------------------

    def _files(self, ref: Ref) -> list[dict[str, Any]]:
        try:
            version = self._registry.version(ref.asset, ref.version)
        except NotFound:
            return []
        return [file.model_dump(mode="json") for file in version.files]

    def _seen(self, asset: Asset, usage: int) -> Asset:
        placement = self._placements.get("asset", asset.asset)
        return asset.model_copy(update={"placement": placement, "usage_count": usage, "loaded": usage > 0})
