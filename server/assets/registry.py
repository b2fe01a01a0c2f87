"""Assets and their immutable versions, in the database. Methods that change something do so in the caller's change."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from server.api.contract import Busy, Conflict, NotFound, Unprocessable
from server.assets.blobs import Blobs
from server.assets.database import Change, Database, Gone
from server.assets.values import Asset, AssetType, NewAsset, NewVersion, Ref, Tombstone, Version

Row = tuple[str, str, int, str | None, str | None]
WITHDRAWN = "what it was to show came to nothing"
"""Why an asset is gone whose name may be used again."""
_COLUMNS = "asset, body, latest, alias_of, tombstone"


class Limits(BaseModel):
    """How much there may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_assets: int = Field(default=100_000, gt=0)
    max_versions: int = Field(default=10_000, gt=0)
    """Of one asset."""


class Registry:
    """What is known of assets; reads see the last commit, or the change in progress."""

    def __init__(self, database: Database, blobs: Blobs, limits: Limits) -> None:
        self._db, self._blobs, self._limits = database.connection, blobs, limits

    # -- reading -------------------------------------------------------------------------------------------------------

    def find(self, asset: str) -> Asset | None:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM assets WHERE asset = ?", (asset,)).fetchone()
        return None if row is None else _asset(row)

    def get(self, asset: str) -> Asset:
        """
        Raises:
            NotFound: there is none of that name.
            Gone: it was deleted; the refusal names what replaces it.
        """
        found = self.find(asset)
        if found is None:
            raise NotFound(f"there is no asset {asset[:64]!r}")
        if (stone := found.tombstone) is not None:
            hint = f"; {stone.replacement!r} replaces it" if stone.replacement else ""
            raise Gone(f"asset {asset!r} is gone ({stone.reason}){hint}", **stone.model_dump())
        return found

    def followed(self, asset: str) -> Asset:
        """The asset, or what it was swapped for; raises what `get` does."""
        seen = {asset}
        found = self.get(asset)
        while found.alias_of is not None and found.alias_of not in seen:
            seen.add(found.alias_of)
            found = self.get(found.alias_of)
        return found

    def page(self, type: AssetType | None, scope: str | None, after: str, limit: int) -> list[Asset]:
        """Assets that are not gone, by name, beginning after one of them; of one scene and of none, or all."""
        select = (
            f"SELECT {_COLUMNS} FROM assets WHERE tombstone IS NULL AND asset > ? AND (? IS NULL OR type = ?)"
            " AND (? IS NULL OR scene IS NULL OR scene = ?) ORDER BY asset LIMIT ?"
        )
        return [_asset(row) for row in self._db.execute(select, (after, type, type, scope, scope, limit))]

    def version(self, asset: str, version: int | None = None) -> Version:
        """A version, the latest if none is named; also of assets that are gone.

        Raises:
            NotFound: there is no such version.
        """
        number = version if version is not None else self.get(asset).latest
        row = self._db.execute("SELECT body FROM versions WHERE asset = ? AND version = ?", (asset, number)).fetchone()
        if row is None:
            what = f"version {number}" if number else "published version"
            raise NotFound(f"asset {asset[:64]!r} has no {what}")
        return Version.model_validate_json(row[0])

    def holders(self, sha256: str) -> list[Ref]:
        """The versions that a blob is part of, also of assets that are gone."""
        select = "SELECT asset, version FROM files WHERE sha256 = ?"
        return [Ref(asset, version) for asset, version in self._db.execute(select, (sha256,))]

    def marked(self, held: set[Ref]) -> set[str]:
        """Blobs that must stay: of assets that are not gone, and of versions that are held all the same."""
        alive = "SELECT DISTINCT sha256 FROM files JOIN assets USING (asset) WHERE tombstone IS NULL"
        hashes = {str(row[0]) for row in self._db.execute(alive)}
        for ref in held:
            select = "SELECT sha256 FROM files WHERE asset = ? AND version = ?"
            hashes.update(str(row[0]) for row in self._db.execute(select, (ref.asset, ref.version)))
        return hashes

    # -- changing ------------------------------------------------------------------------------------------------------

    def register(self, change: Change, asset: str | None, new: NewAsset) -> Asset:
        """Make an asset, or change what is known of one; without a name it gets one. The same again changes nothing.

        Raises:
            Gone: it was deleted; names are not used twice, but for what was withdrawn.
            Conflict: it belongs to another scene.
            Busy: there are too many.
        """
        name = asset or _named_after(new.name)
        known = self.find(name)
        if known is None:
            (count,) = self._db.execute("SELECT count(*) FROM assets").fetchone()
            if count >= self._limits.max_assets:
                raise Busy(f"there are {count} assets, which is the limit; delete some first")
            made = Asset(**new.model_dump(), asset=name, created_ns=change.now_ns)
            self._save(made)
            change.emit("asset.created", f"asset/{name}", made.scene, _told(made))
            return made
        if known.tombstone is not None and known.tombstone.reason == WITHDRAWN and new.scene == known.scene:
            self._db.execute("UPDATE assets SET tombstone = NULL WHERE asset = ?", (name,))
            change.emit("asset.created", f"asset/{name}", known.scene, _told(known))
        known = self.get(name)
        if new.scene != known.scene:
            raise Conflict(f"asset {name!r} belongs to {_scene(known.scene)}; it cannot change over")
        changed = known.model_copy(update=new.model_dump())
        if changed != known:
            self._save(changed)
            change.emit("asset.changed", f"asset/{name}", changed.scene, _told(changed))
        return changed

    def publish(self, change: Change, asset: str, new: NewVersion, request: str | None) -> Version:
        """Add a version. The newest one again is no new one; nor is a request that was answered before.

        Args:
            request: names the request, so that it may be repeated when its answer was lost.

        Raises:
            Unprocessable: a blob is missing, or of another size.
            Conflict: a request of that name asked for something else.
        """
        known = self.get(asset)
        body = new.model_dump_json()
        digest = hashlib.sha256(f"{asset}\n{body}".encode()).hexdigest()
        if (before := self._answered(asset, known, digest, request)) is not None:
            return before
        self._check_files(change, new)
        if known.latest >= self._limits.max_versions:
            raise Busy(f"asset {asset!r} has {known.latest} versions, which is the limit")
        made = Version(**new.model_dump(), asset=asset, version=known.latest + 1, created_ns=change.now_ns)
        values = (asset, made.version, digest, made.model_dump_json())
        self._db.execute("INSERT INTO versions VALUES (?, ?, ?, ?)", values)
        hashes = dict.fromkeys(file.sha256 for file in made.files)
        self._db.executemany("INSERT INTO files VALUES (?, ?, ?)", [(h, asset, made.version) for h in hashes])
        if request is not None:
            self._db.execute("INSERT INTO requests VALUES (?, ?, ?, ?)", (request, digest, asset, made.version))
        self._db.execute("UPDATE assets SET latest = ? WHERE asset = ?", (made.version, asset))
        told = {"asset": asset, "version": made.version, "files": [f.model_dump(mode="json") for f in made.files]}
        change.emit("version.published", f"version/{asset}", known.scene, told)
        return made

    def alias(self, change: Change, old: Asset, new: Asset) -> None:
        """Whoever asks for `old` is given `new` from now on; an alias the other way round ends."""
        self._db.execute("UPDATE assets SET alias_of = NULL WHERE asset = ?", (new.asset,))
        self._db.execute("UPDATE assets SET alias_of = ? WHERE asset = ?", (new.asset, old.asset))
        if old.alias_of != new.asset:
            told = {"asset": old.asset, "alias_of": new.asset}
            change.emit("asset.aliased", f"asset/{old.asset}", old.scene, told)

    def bury(self, change: Change, asset: str, reason: str, replacement: str | None) -> Tombstone:
        """Delete an asset; its files stay while somebody holds them. Deleting again changes nothing.

        Raises:
            NotFound: there was never one.
        """
        known = self.find(asset)
        if known is not None and known.tombstone is not None:
            return known.tombstone
        known = self.get(asset)
        stone = Tombstone(reason=reason, replacement=replacement, at_ns=change.now_ns)
        self._db.execute("UPDATE assets SET tombstone = ? WHERE asset = ?", (stone.model_dump_json(), asset))
        told = {"asset": asset, "reason": reason, "replacement": replacement}
        change.emit("asset.tombstoned", f"asset/{asset}", known.scene, told)
        return stone

    def _answered(self, asset: str, known: Asset, digest: str, request: str | None) -> Version | None:
        if request is not None:
            row = self._db.execute("SELECT digest, asset, version FROM requests WHERE key = ?", (request,)).fetchone()
            if row is None:
                return None
            if row[0] != digest:
                raise Conflict("a request with this Idempotency-Key asked for something else; take a new key")
            return self.version(row[1], row[2])
        if known.latest:
            select = "SELECT digest FROM versions WHERE asset = ? AND version = ?"
            if self._db.execute(select, (asset, known.latest)).fetchone()[0] == digest:
                return self.version(asset, known.latest)
        return None

    def _check_files(self, change: Change, new: NewVersion) -> None:
        for file in new.files:
            if not self._blobs.keep(file.sha256, change.now_ns):
                raise Unprocessable(f"the blob {file.sha256} is not here; PUT it first", missing=file.sha256)
            if (size := self._blobs.size(file.sha256)) != file.size:
                raise Unprocessable(f"the blob {file.sha256} has {size} bytes, not {file.size}")

    def _save(self, asset: Asset) -> None:
        body = asset.model_dump_json(exclude={"latest", "alias_of", "tombstone", "placement", "usage_count", "loaded"})
        self._db.execute(
            "INSERT INTO assets (asset, type, scene, body, latest) VALUES (?, ?, ?, ?, 0)"
            " ON CONFLICT (asset) DO UPDATE SET type = excluded.type, body = excluded.body",
            (asset.asset, asset.type, asset.scene, body),
        )


def _asset(row: Row) -> Asset:
    _, body, latest, alias_of, tombstone = row
    stone = None if tombstone is None else Tombstone.model_validate_json(tombstone)
    known = Asset.model_validate_json(body)
    return known.model_copy(update={"latest": latest, "alias_of": alias_of, "tombstone": stone})


def _told(asset: Asset) -> dict[str, Any]:
    told = asset.model_dump(mode="json", include={"asset", "name", "tags", "scene"})
    return told | {"asset_type": asset.type}


def _scene(scene: str | None) -> str:
    return "no scene" if scene is None else f"scene {scene!r}"


def _named_after(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:48]
    return f"{slug or 'asset'}-{secrets.token_hex(4)}"
