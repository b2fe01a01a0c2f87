"""Assets, slots, leases and maps in one store; what is committed and what is told are the same."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapping import disk
from mapping.transforms import Sim3, exp_so3
from server.api.contract import Busy, Conflict, NotFound, Unprocessable
from server.assets import database
from server.assets.blobs import StorageFull
from server.assets.catalog import Catalog, Config
from server.assets.database import Event, Gone
from server.assets.leases import Held
from server.assets.resolve import NotAcceptable, Wish, choose
from server.assets.swap import Policy
from server.assets.values import AssetFile, NewAsset, NewVersion, Placement, Ref

S = 1_000_000_000
NOW = 1_790_000_000 * S
ANY = Policy("any", deadline_ns=2 * S, watch_ns=5 * S)


class Store:
    """A catalog that can be closed and opened again, and everything it told."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder, self.config = folder, Config.model_validate(config)
        self.told: list[Event] = []
        self.open()

    def open(self, now_ns: int = NOW) -> None:
        self.catalog = Catalog(self.folder, self.config, now_ns, self.told.extend)

    def publish(self, asset: str, content: bytes, request: str | None = None, **facts: Any) -> Any:
        self.catalog.register(asset, NewAsset(name=asset), NOW)
        return self.catalog.publish(asset, self.version(content, **facts), request, NOW)

    def version(self, content: bytes, **facts: Any) -> NewVersion:
        sha256 = self.catalog.blobs.put(content)
        return NewVersion(files=(AssetFile(role="lod0", format="glb", sha256=sha256, size=len(content)),), **facts)

    def show(self, slot: str, asset: str, policy: Policy | None = None, now_ns: int = NOW) -> Any:
        return self.catalog.swap(slot, None, Ref(asset, 0), None, policy, None, now_ns)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.told]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.catalog.close()


def test_publishing_again_is_no_new_version(store: Store) -> None:
    assert [store.publish("chair", b"one").version for _ in range(5)] == [1] * 5
    assert store.publish("chair", b"two").version == 2
    assert store.publish("chair", b"one").version == 3, "going back on purpose"
    assert store.types == ["asset.created"] + ["version.published"] * 3
    assert store.catalog.blobs.used_bytes == 6


def test_requests_may_be_repeated(store: Store) -> None:
    first = store.publish("chair", b"one", "key")
    store.publish("chair", b"two", "other")
    assert store.publish("chair", b"one", "key") == first
    with pytest.raises(Conflict, match="something else"):
        store.publish("chair", b"three", "key")
    assert [event.seq for event in store.told] == [1, 2, 3]


def test_what_is_missing_or_wrong_changes_nothing(store: Store) -> None:
    store.catalog.register("chair", NewAsset(name="chair"), NOW)
    good = store.version(b"here").files[0]
    for file in (good.model_copy(update={"sha256": "0" * 64}), good.model_copy(update={"size": 5})):
        with pytest.raises(Unprocessable):
            store.catalog.publish("chair", NewVersion(files=(file,)), None, NOW)
    with pytest.raises(NotFound):
        store.catalog.publish("table", store.version(b"here"), None, NOW)
    with pytest.raises(NotFound, match="has no published version"):
        store.show("place", "chair")
    with pytest.raises(Conflict, match="belongs to no scene"):
        store.catalog.register("chair", NewAsset(name="chair", scene="main"), NOW)
    assert store.types == ["asset.created"]


def test_events_are_gapless_survive_and_end_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "TRIM_EVERY", 16)
    store = Store(tmp_path, keep_events=20)
    for number in range(30):
        store.catalog.register("chair", NewAsset(name=f"chair {number}"), NOW)
    assert [event.seq for event in store.told] == list(range(1, 31))
    store.catalog.close()
    store.open()
    assert store.catalog.seq == 30
    page = store.catalog.events_since(25, 3)
    assert page is not None
    assert [event.seq for event in page] == [26, 27, 28]
    assert page[0].text == store.told[25].text
    assert json.loads(page[0].text)["name"] == "chair 25"
    assert store.catalog.events_since(30, 5) == []
    assert store.catalog.events_since(31, 5) is None
    for number in range(30, 70):
        store.catalog.register("chair", NewAsset(name=f"chair {number}"), NOW)
    assert store.catalog.events_since(0, 5) is None
    assert store.catalog.events_since(50, 1) is not None
    store.catalog.close()


def test_a_full_disk_changes_nothing(store: Store) -> None:
    store.publish("chair", b"one")
    connection = store.catalog._db.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(1000):
            store.catalog.register(f"chair{number}", NewAsset(name="x" * 128, tags=("t" * 64,) * 32), NOW)

    with pytest.raises(StorageFull):
        fill()
    assert store.catalog.seq == len(store.told)
    connection.execute("PRAGMA max_page_count = 1000000")
    store.publish("chair", b"two")
    assert [event.seq for event in store.told] == list(range(1, len(store.told) + 1))


def test_swaps_go_through_restarts(store: Store) -> None:
    store.publish("old", b"old")
    store.publish("new", b"new")
    shown = store.show("place", "old")
    assert (shown.current, shown.revision) == (Ref("old", 1), 1)
    store.catalog.bind("a", "place", None)
    store.catalog.bind("stranger", "place", "elsewhere")
    swapping = store.show("place", "new", ANY)
    assert swapping.swap is not None
    assert set(swapping.swap.clients) == {"a", "stranger"}, "a slot of no scene is everybody's"
    store.catalog.close()
    store.open()
    after = store.catalog.slot("place")
    assert (after.revision, after.current) == (2, Ref("old", 1))
    store.catalog.bind("b", "place", None)
    store.catalog.answer("b", "place", 2, True, NOW + 3 * S)
    assert store.catalog.slot("place").current == Ref("new", 1)
    store.catalog.answer("b", "place", 2, False, NOW + 4 * S)
    back = store.catalog.slot("place")
    assert (back.current, back.revision, back.reason) == (Ref("old", 1), 3, "too many clients failed")
    wanted = ["slot.prepare", "slot.commit", "slot.prepare", "slot.commit", "slot.rolled_back"]
    assert [type for type in store.types if type.startswith("slot")] == wanted
    told = json.loads(store.told[-1].text)
    assert (told["to"], told["from"]) == ({"asset": "old", "version": 1}, {"asset": "new", "version": 1})
    assert told["files"][0]["size"] == 3


def test_time_passes_by_ticks(store: Store) -> None:
    store.publish("old", b"old")
    store.publish("new", b"new")
    store.show("place", "old")
    assert store.catalog.due_ns() == NOW + int(5.15 * S)
    store.catalog.tick(NOW + 6 * S)
    store.catalog.bind("a", "place", None)
    store.show("place", "new", ANY, NOW + 6 * S)
    assert store.catalog.due_ns() == NOW + 8 * S
    store.catalog.tick(NOW + 8 * S)
    store.catalog.tick(NOW + 20 * S)
    slots = [type for type in store.types if type.startswith("slot")]
    assert slots == ["slot.prepare", "slot.commit", "slot.settled"] * 2
    assert store.catalog.due_ns() is None


def test_hot_swaps_change_every_slot_over_and_leave_an_alias(store: Store) -> None:
    for asset in ("old", "new"):
        store.publish(asset, asset.encode())
    for slot in ("here", "there"):
        store.show(slot, "old")
    store.show("elsewhere", "new")
    assert {slot.slot for slot in store.catalog.hot_swap("old", "new", NOW)} == {"here", "there"}
    assert [slot.current for slot in store.catalog.slots()] == [Ref("new", 1)] * 3
    assert store.catalog.resolve("old", None, Wish())[0].asset == "new"
    assert store.catalog.resolve("old", 1, Wish())[0].asset == "old"
    store.catalog.hot_swap("new", "old", NOW)
    assert store.catalog.resolve("new", None, Wish())[0].asset == "old"
    assert store.catalog.resolve("old", None, Wish())[0].asset == "old"
    with pytest.raises(Unprocessable):
        store.catalog.hot_swap("old", "old", NOW)


def test_the_deleted_are_gone_but_their_files_stay_while_held(tmp_path: Path) -> None:
    store = Store(tmp_path, grace_s=0)
    old, new = store.publish("old", b"old"), store.publish("new", b"new")
    third = store.publish("third", b"third")
    store.show("place", "old")
    stone = store.catalog.bury("old", "ugly", "new", NOW)
    assert store.catalog.bury("old", "again", None, NOW + S) == stone
    with pytest.raises(Gone, match="'new' replaces it") as gone:
        store.catalog.asset("old", NOW)
    assert gone.value.more["replacement"] == "new"
    assert store.catalog.slot("place").current == Ref("new", 1)
    far = 2**62
    assert store.catalog.sweep(far).blobs == 0, "a rollback may want it"
    store.catalog.bury("third", "unused", None, NOW)
    store.catalog.hold("game", [Held("place", Ref("third", 1))], far)
    assert store.catalog.sweep(far).blobs == 0, "somebody holds it"
    store.catalog.forget("game")
    assert store.catalog.sweep(far).blobs == 1
    assert store.catalog.blobs.size(third.files[0].sha256) is None
    store.catalog.remove_slot("place", NOW)
    assert store.catalog.sweep(far).blobs == 1
    assert [store.catalog.blobs.size(v.files[0].sha256) for v in (old, new)] == [None, 3]
    store.catalog.close()


def test_leases_count_and_run_out(store: Store) -> None:
    store.publish("chair", b"chair")
    for client in ("a", "b"):
        store.catalog.hold(client, [Held("x", Ref("chair", 1)), Held("y", Ref("chair", 1))], NOW)
    assert store.catalog.asset("chair", NOW).usage_count == 4
    store.catalog.renew("a", NOW + 20 * S)
    later = store.catalog.asset("chair", NOW + 31 * S)
    assert (later.usage_count, later.loaded) == (2, True)
    store.catalog.hold("a", [], NOW + 32 * S)
    last = store.catalog.asset("chair", NOW + 32 * S)
    assert (last.usage_count, last.loaded) == (0, False)


def test_placed_assets_move_with_the_map(store: Store) -> None:
    catalog = store.catalog
    catalog.open_map("main", "lineage", 4, NOW)
    stands = Placement(scene="main", epoch=4, position_m=(1, 0, 2))
    store.publish("chair", b"chair", placement=stands)
    first = Sim3(2.0, exp_so3(np.array([0, np.pi / 2, 0])), np.array([0.0, 1.0, 0.0]))
    second = Sim3(1.0, np.eye(3), np.array([5.0, 0.0, 0.0]))
    catalog.move_map("main", first, 5, NOW)
    catalog.move_map("main", second, 9, NOW)
    moved = catalog.asset("chair", NOW).placement
    assert moved is not None
    assert (moved.epoch, moved.scale) == (9, 2.0)
    assert moved.position_m == pytest.approx((9.0, 1.0, -2.0))
    assert store.types[-3:] == ["asset.moved"] * 3
    assert catalog.version("chair", 1).placement == stands, "versions never change"
    again = catalog.place("chair", stands, NOW)
    assert again == moved, "a pose of an old epoch is carried into the present"
    with pytest.raises(Conflict, match="at epoch 9"):
        catalog.place("chair", stands.model_copy(update={"epoch": 3}), NOW)
    with pytest.raises(Conflict, match="no map"):
        catalog.place("chair", stands.model_copy(update={"scene": "other"}), NOW)

    catalog.open_map("main", "lineage", 4, NOW)
    restored = catalog.asset("chair", NOW).placement
    assert restored is not None
    assert restored.epoch == 4, "the map lost its last half second; what stands in it goes back along"
    assert restored.position_m == pytest.approx(stands.position_m)
    catalog.open_map("main", "another map", 0, NOW)
    assert catalog.asset("chair", NOW).placement is None


def test_versions_that_suit_are_found() -> None:
    def file(role: Any, size: int, triangles: int, *extensions: str) -> AssetFile:
        sha256 = f"{size:064x}"
        return AssetFile(role=role, format="glb", sha256=sha256, size=size, triangles=triangles, extensions=extensions)

    plain, packed = file("lod0", 900, 8000), file("lod0", 300, 8000, "EXT_meshopt_compression")
    coarse, hull = file("lod1", 200, 2000), file("collision", 10, 12)
    on_gpu = file("lod0", 700, 8000, "KHR_texture_basisu")
    printable = file("lod0", 800, 8000).model_copy(update={"format": "stl"})
    files = (coarse, packed, plain, hull, on_gpu, printable)
    assert choose(files, Wish()) == plain
    assert choose(files, Wish(format="stl")) == printable
    assert choose((printable, hull), Wish()) == printable
    assert choose(files, Wish(extensions=frozenset({"EXT_meshopt_compression", "other"}))) == packed
    both = frozenset({"EXT_meshopt_compression", "KHR_texture_basisu"})
    assert choose(files, Wish(extensions=both)) == on_gpu
    assert choose(files, Wish(extensions=both, max_bytes=500)) == packed
    assert choose(files, Wish(max_triangles=4000)) == coarse
    assert choose(files, Wish(max_bytes=500)) == coarse
    assert choose(files, Wish(role="collision")) == hull
    for wish in (Wish(format="usdz"), Wish(max_bytes=5), Wish(role="splat")):
        with pytest.raises(NotAcceptable, match="there are: collision glb"):
            choose(files, wish)


def test_there_are_limits(tmp_path: Path) -> None:
    store = Store(tmp_path, limits={"max_assets": 2, "max_versions": 2}, max_slots=1)
    store.publish("a", b"1")
    store.publish("a", b"2")
    with pytest.raises(Busy):
        store.publish("a", b"3")
    store.publish("b", b"1")
    with pytest.raises(Busy):
        store.publish("c", b"1")
    store.show("place", "a")
    with pytest.raises(Busy):
        store.show("another", "a")
    store.catalog.close()


def test_what_is_answered_is_synced_after_its_events_and_a_power_cut_begins_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    store = Store(tmp_path)
    monkeypatch.setattr(disk, "sync_file", lambda _: order.append(f"synced after {len(store.told)} events"))
    store.catalog.register("chair", NewAsset(name="chair"), NOW)
    store.catalog.register("chair", NewAsset(name="chair"), NOW)
    assert order == ["synced after 1 events"], "what changes nothing needs no disk"
    epoch = store.catalog.epoch
    another = Catalog(tmp_path, Config(), NOW, store.told.extend)  # as after kill -9: nothing was closed
    assert another.epoch == epoch
    another.close()
    monkeypatch.setattr(database, "_boot", lambda: "before the power cut")
    Catalog(tmp_path, Config(), NOW, store.told.extend)
    monkeypatch.setattr(database, "_boot", lambda: "after it")
    after = Catalog(tmp_path, Config(), NOW, store.told.extend)
    assert after.epoch != epoch
    assert after.seq == 1
    after.close()
    again = Catalog(tmp_path, Config(), NOW, store.told.extend)
    assert again.epoch == after.epoch
    again.close()
    store.catalog.close()


def test_a_database_of_the_future_is_not_touched(tmp_path: Path) -> None:
    Store(tmp_path).catalog.close()
    with sqlite3.connect(tmp_path / "assets.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(sqlite3.DatabaseError, match="version 99"):
        Store(tmp_path)
