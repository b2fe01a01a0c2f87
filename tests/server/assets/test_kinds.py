"""Gaussians are told from triangles, and GLBs say what they require, however they come in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mapping.exporters import ply as mesh_ply
from mapping.objects import glb, meshopt
from mapping.objects.splats import gltf, ply
from server.assets.bus import AssetBus
from server.assets.catalog import Config
from server.assets.resolve import Wish, choose
from tests.mapping.objects.broken import triangle
from tests.mapping.objects.shapes import checkered_cube
from tests.mapping.objects.splats.clouds import cloud

CUBE = checkered_cube()
MESH = mesh_ply.encode(CUBE.vertices_m, np.zeros((len(CUBE.vertices_m), 3), np.uint8), CUBE.faces)
SPLATS = ply.encode(cloud(5, 1))


@pytest.mark.parametrize(("content", "role"), [(MESH, "source"), (SPLATS, "splat")])
def test_what_is_found_in_the_folder(content: bytes, role: str, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "thing.ply").write_bytes(content)
    os.utime(models / "thing.ply", (1e9, 1e9))
    with AssetBus(tmp_path / "var", Config.model_validate({"discovery": {"folder": str(models)}})) as bus:
        (version,) = bus.discover_assets()
        assert version.files[0].role == role


def test_what_is_published(tmp_path: Path) -> None:
    with AssetBus(tmp_path / "var") as bus:
        given = {"lod0": SPLATS, "other": MESH, "preview": SPLATS}
        version = bus.register("thing", given, formats=dict.fromkeys(given, "ply"))  # type: ignore[arg-type]
        assert [file.role for file in version.files] == ["splat", "other", "preview"]
        assert choose(version.files, Wish()).role == "splat"
        again = bus.register("thing", given, formats=dict.fromkeys(given, "ply"))  # type: ignore[arg-type]
        assert again.version == version.version, "the same is no new version"


@pytest.mark.parametrize(
    ("content", "role", "extensions"),
    [
        (glb.encode(CUBE), "lod0", ()),
        (meshopt.encode(CUBE, "cube", {}), "lod0", ("EXT_meshopt_compression",)),
        (gltf.encode(cloud(5, 1), "splats", {}), "splat", ("KHR_gaussian_splatting",)),
        (triangle(extensionsRequired=["no name!"]), "lod0", ()),
    ],
)
def test_what_a_glb_requires(content: bytes, role: str, extensions: tuple[str, ...], tmp_path: Path) -> None:
    with AssetBus(tmp_path / "var") as bus:
        file, *_ = bus.register("thing", {"lod0": content}).files
        assert (file.role, file.extensions) == (role, extensions)
