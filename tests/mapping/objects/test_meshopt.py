"""Packed GLBs, read by three.js: another reader than the packer's own library."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gltf_validator
from mapping.objects import glb, meshopt
from mapping.objects.creases import creased
from mapping.objects.mesh import Material, from_arrays, volume_m3
from tests.mapping.objects.shapes import ball, checkered_cube

PACKAGES = Path(__file__).parents[3] / "clients" / "engines" / "web" / "node_modules"


def as_three_reads(data: bytes) -> dict:
    script = Path(__file__).with_name("read_glb.mjs")
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run([node, str(script), str(PACKAGES)], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_three_reads_the_same_shape() -> None:
    thing = replace(creased(ball()), material=Material((200, 36, 32)))
    packed = meshopt.encode(thing, "ball", {"job": "1"})
    read = as_three_reads(packed)
    back = from_arrays(np.array(read["positions"]).reshape(-1, 3), np.array(read["indices"]).reshape(-1, 3))
    assert len(back.faces) == len(thing.faces)
    assert volume_m3(back) == pytest.approx(volume_m3(thing), rel=1e-3)
    assert np.allclose(back.bounds_m(), thing.bounds_m(), atol=2e-5)
    assert read["color"] == 0xC82420
    plain = as_three_reads(glb.encode(thing))
    assert len(plain["indices"]) == len(read["indices"])


def test_it_is_smaller_valid_and_says_what_it_needs() -> None:
    thing = creased(ball())
    plain, packed = glb.encode(thing), meshopt.encode(thing, "ball", {})
    assert len(packed) < 0.6 * len(plain)
    assert gltf_validator.errors({"ball": packed, "cube": meshopt.encode(checkered_cube(), "cube", {})}) == []
    tree = json.loads(packed[20 : 20 + int.from_bytes(packed[12:16], "little")])
    assert tree["extensionsRequired"] == [meshopt.EXTENSION]


def test_another_order_is_the_same_mesh() -> None:
    cube = checkered_cube()
    again = meshopt.ordered(cube)
    assert volume_m3(again) == pytest.approx(volume_m3(cube))

    def corners(mesh) -> set:
        return {
            tuple(np.r_[v, t].round(5))
            for v, t in zip(mesh.vertices_m[mesh.faces.ravel()], mesh.uv[mesh.faces.ravel()], strict=True)
        }

    assert corners(again) == corners(cube)
    assert np.array_equal(np.unique(again.faces), np.arange(len(again.vertices_m)))
