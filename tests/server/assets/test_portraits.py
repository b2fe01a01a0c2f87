"""Gaussians that come from elsewhere get a picture and a box; what has them, is no Gaussians or is broken, does not."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mapping.objects import glb, solid
from mapping.objects.splats import antimatter, gltf, ply, sog, spz
from mapping.objects.splats.cloud import Splats
from server.assets.bus import AssetBus
from server.assets.catalog import Config
from server.assets.values import Version
from tests.mapping.objects.splats.clouds import pillar
from tests.server.assets.live import live

ENCODED: dict[str, Callable[[Splats], bytes]] = {
    "ply": ply.encode, "spz": spz.encode, "sog": sog.encode, "splat": antimatter.encode,
    "glb": lambda splats: gltf.encode(splats, "pillar", {}),
}  # fmt: skip


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
        assert (said.bbox_m, said.quality) == (box, {"splats": 7})
        assert picture(bus, said).any()
        own = bus.register("own", {**data, "preview": b"\x89PNG"}, formats={"splat": "ply", "preview": "png"})
        assert [file.role for file in own.files] == ["splat", "preview"]
        assert own.bbox_m is not None


@pytest.mark.parametrize(
    ("content", "format"),
    [(glb.encode(solid.box(0.1, 0.1, 0.1)), "glb"), (ply.encode(pillar())[:-100], "ply"), (b"\x1f\x8bno", "spz")],
)
def test_what_is_no_gaussians_or_broken_is_published_as_it_is(content: bytes, format: str, tmp_path: Path) -> None:
    with AssetBus(tmp_path) as bus:
        role: Any = "lod0" if format == "glb" else "splat"
        version = bus.register("thing", {role: content}, formats={role: format})
        assert [file.role for file in version.files] == [role]
        assert version.bbox_m is None
