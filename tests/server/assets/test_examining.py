"""What comes from elsewhere is read: measured and completed when it is sound, refused with a reason when it is not."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mapping.objects import formats, glb, solid
from mapping.objects.splats import antimatter, gltf, ply, sog, spz
from mapping.objects.splats.cloud import Splats
from server.api import assets as assets_api
from server.assets.bus import AssetBus
from server.assets.catalog import Config
from server.assets.reader import Reader, get_reader
from server.assets.resolve import Wish, choose
from server.assets.values import Version
from tests.mapping.objects.broken import BROKEN, triangle
from tests.mapping.objects.shapes import ball
from tests.mapping.objects.splats.clouds import pillar
from tests.server.assets.live import Live, live
from tests.server.assets.things import thing
from tests.server.test_rest import assert_problem

ENCODED: dict[str, Callable[[Splats], bytes]] = {
    "ply": ply.encode, "spz": spz.encode, "sog": sog.encode, "splat": antimatter.encode,
    "glb": lambda splats: gltf.encode(splats, "pillar", {}),
}  # fmt: skip
OTHERS = ((ply.encode(pillar())[:-100], "ply"), (b"\x1f\x8bno", "spz"), (b"x" * 33, "splat"), (b"hello", "obj"))


def picture(bus: AssetBus, version: Version) -> np.ndarray[Any, Any]:
    (file,) = (file for file in version.files if file.role == "thumbnail")
    assert (file.format, file.mime, file.size) == ("png", "image/png", bus.blobs.size(file.sha256))
    return np.asarray(Image.open(io.BytesIO(bus.blobs.path(file.sha256).read_bytes())))


@pytest.mark.parametrize("format", ENCODED)
def test_what_is_registered_gets_picture_and_box(format: str, tmp_path: Path) -> None:
    with AssetBus(tmp_path) as bus:
        version = bus.register("pillar", {"splat": ENCODED[format](pillar())}, formats={"splat": format})
        assert version.bbox_m is not None
        assert np.array(version.bbox_m) == pytest.approx(pillar().bounds_m(), abs=0.002)
        assert version.quality["splats"] == 200
        drawn = picture(bus, version).astype(int)
        assert drawn.shape == (256, 256, 3)
        red, blue = (drawn[..., c] - drawn[..., 2 - c] > 80 for c in (0, 2))
        assert red.sum() > 500
        assert blue.sum() > 500
        assert np.nonzero(red)[0].mean() > np.nonzero(blue)[0].mean() + 30, "red is below"
        again = bus.register("pillar", {"splat": ENCODED[format](pillar())}, formats={"splat": format})
        assert again.version == version.version, "the same is no new version"


def test_what_is_found_in_the_folder_gets_them_too(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "pillar.ply").write_bytes(ply.encode(pillar()))
    os.utime(models / "pillar.ply", (1e9, 1e9))
    with AssetBus(tmp_path / "var", Config.model_validate({"discovery": {"folder": str(models)}})) as bus:
        (version,) = bus.discover_assets()
        assert [file.role for file in version.files] == ["splat", "thumbnail"]
        assert version.bbox_m is not None
        assert version.provenance["source"] == "discovered"
        assert bus.discover_assets() == []


async def test_what_is_published_over_http_gets_them_and_may_be_sent_again(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        data = ply.encode(pillar())
        first = await server.publish("pillar", data, file={"role": "splat", "format": "ply"})
        assert first.status_code == 201
        body = first.json()
        assert [file["role"] for file in body["files"]] == ["splat", "thumbnail"]
        assert body["bbox_m"] is not None
        again = await server.publish("pillar", data, file={"role": "splat", "format": "ply"})
        assert again.json()["version"] == body["version"]


def test_what_its_publisher_said_stays(tmp_path: Path) -> None:
    data = {"splat": ply.encode(pillar())}
    with AssetBus(tmp_path) as bus:
        box = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
        said = bus.register("said", data, formats={"splat": "ply"}, bbox_m=box, quality={"splats": 7})
        assert (said.bbox_m, said.quality["splats"], said.quality["degree"]) == (box, 7, 0)
        assert picture(bus, said).any()
        own = bus.register("own", {**data, "preview": b"\x89PNG"}, formats={"splat": "ply", "preview": "png"})
        assert [file.role for file in own.files] == ["splat", "preview"]
        assert own.bbox_m is not None


async def test_a_broken_file_is_not_published(server: Live) -> None:
    for name in BROKEN.keys() - {"long"}:
        data, reason = BROKEN[name]
        problem = assert_problem(await server.publish("thing", data), 422)
        assert re.search(f"lod0 glb: .*({reason})", problem["detail"]), name
    for data, format in OTHERS:
        refused = await server.publish("thing", data, file={"role": "lod0", "format": format})
        assert assert_problem(refused, 422)["file"] == hashlib.sha256(data).hexdigest()
    assert (await server.http.get("/v1/assets/thing/versions/1")).status_code == 404


async def test_roles_have_their_formats(server: Live) -> None:
    for role, format in (("lod0", "exe"), ("thumbnail", "glb"), ("splat", "png"), ("other", "html")):
        refused = await server.publish("thing", thing("thing"), file={"role": role, "format": format})
        problem = assert_problem(refused, 422)
        assert (problem["role"], problem["format"]) == (role, format)


async def test_what_is_sound_is_measured(server: Live) -> None:
    cube = glb.encode(solid.box(0.1, 0.2, 0.3))
    made = (await server.publish("cube", cube, file={"triangles": 5})).json()
    assert made["files"][0]["triangles"] == 12, "counted, not believed"
    assert np.array(made["bbox_m"]) == pytest.approx(np.array([[-0.05, 0, -0.15], [0.05, 0.2, 0.15]]), abs=1e-5)
    assert made["quality"]["is_manifold"] is True
    assert [file["role"] for file in made["files"]] == ["lod0", "thumbnail"]


@pytest.mark.parametrize("format", ["obj", "stl", "ply"])
def test_what_is_found_is_converted_once(format: str, tmp_path: Path) -> None:
    with found_in(tmp_path, {f"ball.{format}": formats.encode(format, ball())}) as bus:
        (version,) = bus.discover_assets()
        assert [(file.role, file.format) for file in version.files] == [
            ("source", format), ("lod0", "glb"), ("lod1", "glb"), ("lod2", "glb"), ("collision", "glb"),
            ("thumbnail", "png"),
        ]  # fmt: skip
        assert version.provenance == {"source": "discovered", "converted_from": format}
        plain = choose(version.files, Wish("glb"))
        shape = glb.decode(bus.blobs.path(plain.sha256).read_bytes())
        assert len(shape.faces) == plain.triangles == len(ball().faces)
        assert version.bbox_m is not None
        assert np.array(version.bbox_m) == pytest.approx(ball().bounds_m(), abs=1e-4)
        assert version.quality["problems"] == []
        (tmp_path / "models" / f"copy.{format}").write_bytes(formats.encode(format, ball()))
        os.utime(tmp_path / "models" / f"copy.{format}", (1e9, 1e9))
        assert bus.discover_assets() == []
        assert len(bus.list_assets()) == 1


def test_a_glb_that_is_found_keeps_its_bytes_and_gets_levels(tmp_path: Path) -> None:
    data = glb.encode(ball())
    with found_in(tmp_path, {"ball.glb": data}) as bus:
        (version,) = bus.discover_assets()
        assert [file.role for file in version.files] == ["lod0", "lod1", "lod2", "collision", "thumbnail"]
        assert bus.blobs.path(version.files[0].sha256).read_bytes() == data
        assert "converted_from" not in version.provenance


def test_what_moves_gets_no_still_levels(tmp_path: Path) -> None:
    with found_in(tmp_path, {"dancer.glb": triangle(animations=[{"channels": [], "samplers": []}])}) as bus:
        (version,) = bus.discover_assets()
        assert [file.role for file in version.files] == ["lod0", "thumbnail"]


def test_what_is_found_broken_is_named_and_read_again_when_it_changes(tmp_path: Path) -> None:
    given = {"bad.glb": BROKEN["no number"][0], "empty.obj": b"", "good.glb": thing("good")}
    with found_in(tmp_path, given) as bus:
        look = bus.look_for_assets()
        assert [version.asset for version in look.published] == ["good"]
        reasons = {"bad.glb": "lod0 glb: coordinates must be finite", "empty.obj": "source obj: the file is empty"}
        assert look.refused == reasons
        bus._examiner._reader = Reader(timeout_s=0)  # asked again, it would refuse for another reason
        assert bus.look_for_assets().refused == reasons
        bus._examiner._reader = get_reader()
        (tmp_path / "models" / "bad.glb").write_bytes(thing("mended"))
        os.utime(tmp_path / "models" / "bad.glb", (1e9, 1e9))
        assert [version.asset for version in bus.discover_assets()] == ["bad"]


async def test_the_answer_says_where_it_looked(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "bad.glb").write_bytes(b"hello")
        os.utime(tmp_path / "models" / "bad.glb", (1e9, 1e9))
        (tmp_path / "models" / "new.glb").write_bytes(thing("new"))
        body = (await server.http.post("/v1/assets/discover")).json()
        assert body["folder"] == str(tmp_path / "models")
        assert body["refused"] == [{"file": "bad.glb", "reason": "lod0 glb: not a GLB file"}]
        assert (body["published"], body["waiting"]) == ([], 1)


def test_letters_of_other_languages_make_names(tmp_path: Path) -> None:
    with found_in(tmp_path, {"Stuhl_Größe.glb": thing("stuhl")}) as bus:
        assert [version.asset for version in bus.discover_assets()] == ["Stuhl_Grosse"]


async def test_others_are_served_while_a_file_is_read(server: Live) -> None:
    await server.publish("first", thing("first"))
    process = get_reader()._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        publishing = asyncio.create_task(server.publish("second", thing("second")))
        while (await server.http.get("/v1/assets/second")).status_code != 200:
            assert not publishing.done()
        for _ in range(20):
            assert (await server.http.get("/assets/list")).status_code == 200
        assert not publishing.done()
    finally:
        process.send_signal(signal.SIGCONT)
    assert (await publishing).status_code == 201


async def test_no_more_versions_wait_to_be_read_than_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets_api, "MAX_WAITING", 1)
    async with live(tmp_path) as server:
        await server.publish("first", thing("first"))
        process = get_reader()._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            both = [asyncio.create_task(server.publish(name, thing(name))) for name in ("second", "third")]
            done, waiting = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            assert [one.result().status_code for one in done] == [503]
        finally:
            process.send_signal(signal.SIGCONT)
        assert [(await one).status_code for one in waiting] == [201]


async def test_more_than_is_kept_is_refused_and_not_a_crash(server: Live) -> None:
    refused = await server.publish("thing", thing("thing"), quality={"said": "x" * 16_350})
    assert "at most" in assert_problem(refused, 422)["detail"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as made:
        yield made


@contextlib.contextmanager
def found_in(folder: Path, files: dict[str, bytes]) -> Iterator[AssetBus]:
    """A bus whose folder holds these, written long ago."""
    models = folder / "models"
    models.mkdir()
    for name, data in files.items():
        (models / name).write_bytes(data)
        os.utime(models / name, (1e9, 1e9))
    with AssetBus(folder / "var", Config.model_validate({"discovery": {"folder": str(models)}})) as bus:
        yield bus
