"""Assets found in a folder: by what they are, not by where they lie, and without being led astray."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.assets import discovery
from server.assets.bus import AssetBus, get_asset_bus
from server.assets.catalog import Config
from server.datadir import DataDirBusy
from tests.server.assets.things import thing

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "Models" / "generated_assets"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def bus(tmp_path: Path, models: Path) -> Iterator[AssetBus]:
    config = Config.model_validate({"discovery": {"folder": str(models)}, "max_blob_bytes": 100_000})
    with AssetBus(tmp_path / "var", config) as made:
        yield made


def put(path: Path, content: bytes, age_ns: int = HOUR_NS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    then_ns = time.time_ns() - age_ns
    os.utime(path, ns=(then_ns, then_ns))
    return path


def found(bus: AssetBus) -> list[tuple[str, int]]:
    return [(version.asset, version.version) for version in bus.discover_assets()]


def test_files_of_one_name_are_one_asset(bus: AssetBus, models: Path) -> None:
    put(models / "chair.glb", thing("chair"))
    put(models / "chair.png", b"picture")
    said = {"asset": "stuhl", "name": "Stuhl", "tags": ["wood"], "provenance": {"provider": "trellis"}, "unknown": 1}
    put(models / "chair.json", json.dumps(said).encode())
    put(models / "characters" / "guard.glb", thing("guard"))
    put(models / "notes.txt", b"nothing")
    put(models / "lonely.png", b"a picture alone")
    assert found(bus) == [("stuhl", 1), ("characters_guard", 1)]
    chair = bus.get("stuhl")
    assert (chair.name, chair.tags, chair.type) == ("Stuhl", ("wood",), "prop")
    files = bus.do(lambda catalog, _: catalog.version("stuhl", 1)).files
    assert [(file.role, file.format) for file in files[:2]] == [("lod0", "glb"), ("preview", "png")]
    assert [one.asset for one in bus.list_assets(asset_type="character")] == ["characters_guard"]
    assert found(bus) == [], "nothing is new"


def test_copies_and_moves_are_no_new_assets_and_changes_are_versions(bus: AssetBus, models: Path) -> None:
    original = put(models / "chair.glb", thing("chair"))
    assert found(bus) == [("chair", 1)]
    put(models / "copy.glb", thing("chair"))
    original.rename(models / "moved.glb")
    assert found(bus) == []
    put(models / "chair.glb", thing("chair, better"))
    assert found(bus) == [("chair", 2)]
    bus.register("published", {"lod0": thing("by the API")})
    put(models / "same.glb", thing("by the API"))
    assert found(bus) == []


def test_what_is_still_written_waits(bus: AssetBus, models: Path) -> None:
    path = put(models / "chair.glb", thing(""), age_ns=0)
    assert found(bus) == []
    put(path, thing("whole"))
    assert found(bus) == [("chair", 1)]


def test_nothing_outside_is_read(bus: AssetBus, models: Path, tmp_path: Path) -> None:
    secret = put(tmp_path / "secret.glb", thing("secret"))
    (models / "link.glb").symlink_to(secret)
    (models / "folder").symlink_to(tmp_path)
    put(models / "large.glb", b"x" * 100_001)
    put(models / "evil.glb", thing("evil"))
    put(models / "evil.json", b'{"asset": "../../etc/passwd", "tags": [' + b'"x",' * 50 + b'"x"]}')
    put(models / "deep.glb", thing("deep"))
    put(models / "deep.json", b"[" * 60_000)
    put(models / "huge.glb", thing("huge"))
    put(models / "huge.json", b'{"name": "' + b"x" * 70_000 + b'"}')
    put(models / "...--- ä.glb", thing("odd"))
    os.mkfifo(models / "pipe.glb")
    assert sorted(found(bus)) == [("a", 1), ("deep", 1), ("evil", 1), ("huge", 1)]
    look = discovery.look(bus.config.discovery, 100_000, time.time_ns())
    assert {text.partition(":")[0] for text in look.skipped} == {
        "link.glb", "folder", "large.glb", "evil.json", "deep.json", "huge.json",
    }  # fmt: skip


def test_folders_are_searched_within_bounds(models: Path) -> None:
    for number in range(30):
        put(models / f"{number}.glb", b"%d" % number)
    put(models / "a" / "b" / "c" / "far.glb", b"far")
    config = discovery.Config(folder=models, max_files=10, max_depth=1)
    look = discovery.look(config, 1000, time.time_ns())
    assert len(look.groups) == 10
    assert look.skipped == ("all after 10 files",)
    nothing = discovery.look(discovery.Config(folder=models / "nothing"), 1000, 0)
    assert nothing == discovery.Look(skipped=(f"{models / 'nothing'}: there is no such folder",))


def test_the_deleted_do_not_come_back(bus: AssetBus, models: Path) -> None:
    put(models / "chair.glb", thing("chair"))
    found(bus)
    bus.do(lambda catalog, now_ns: catalog.bury("chair", "ugly", None, now_ns))
    assert found(bus) == []
    put(models / "chair.glb", thing("another"))
    ((name, version),) = found(bus)
    assert name.startswith("chair-")
    assert version == 1


def test_programs_have_one_bus_of_their_own(tmp_path: Path) -> None:
    bus = get_asset_bus(tmp_path)
    assert get_asset_bus(tmp_path) is bus
    chair = bus.register("chair", {"lod0": thing("chair")}, asset_type="prop", bbox_m=((0, 0, 0), (1, 1, 1)))
    bus.register("stool", {"lod0": thing("stool")})
    bus.bind("proxy_chair", chair.asset)
    (swapped,) = bus.hot_swap_asset("chair", "stool")
    assert swapped.current is not None
    assert swapped.current.asset == "stool"
    with pytest.raises(DataDirBusy), _another(tmp_path):
        pass
    bus.close()


def _another(folder: Path):  # type: ignore[no-untyped-def]
    from server.datadir import locked

    return locked(folder)
