"""Files that nobody vouches for: what is sound is read alike in every format, what is not is refused with a reason."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.objects import basisu, formats, glb, meshopt, reading
from mapping.objects.mesh import Mesh, MeshError
from mapping.objects.splats import antimatter, gltf, ply, sog, spz
from mapping.objects.splats.cloud import Splats
from tests.mapping.objects.broken import BROKEN, triangle
from tests.mapping.objects.shapes import ball, checkered_cube
from tests.mapping.objects.splats.clouds import cloud


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_with_a_reason(name: str) -> None:
    data, reason = BROKEN[name]
    with pytest.raises(MeshError, match=reason):
        reading.read("glb", data)


@pytest.mark.parametrize("format", ["obj", "stl", "ply", "spz", "sog", "splat"])
@pytest.mark.parametrize("data", [b"", b"hello", b"ply\nformat ascii 1.0\n\nend_header\n", bytes(range(255)) * 3])
def test_garbage_is_refused_in_every_format(format: str, data: bytes) -> None:
    with pytest.raises(MeshError):
        reading.read(format, data)


@pytest.mark.parametrize("format", ["obj", "stl", "ply"])
def test_other_formats_give_the_same_shape(format: str) -> None:
    back = reading.read(format, formats.encode(format, ball()))
    assert isinstance(back, Mesh)
    assert len(back.faces) == len(ball().faces)
    assert back.bounds_m() == pytest.approx(ball().bounds_m(), abs=1e-6)


def test_colours_and_edges_are_kept() -> None:
    cube = checkered_cube()
    coloured = reading.read("ply", formats.encode("ply", cube))
    assert isinstance(coloured, Mesh)
    assert coloured.rgb is not None
    assert len(np.unique(coloured.rgb, axis=0)) > 1
    bare = reading.read("stl", formats.encode("stl", cube))
    assert isinstance(bare, Mesh)
    assert bare.normals is not None
    assert (np.abs(bare.normals).max(axis=1) > 0.999).all(), "a cube is not round"


def test_faces_of_four_corners_are_two_triangles() -> None:
    text = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\nmtllib ../../etc/passwd\n"
    back = reading.read("obj", text)
    assert isinstance(back, Mesh)
    assert len(back.faces) == 2


@pytest.mark.parametrize("packed", [meshopt.encode(checkered_cube(), "cube", {})])
def test_what_is_packed_is_checked_without_unpacking(packed: bytes) -> None:
    assert reading.read("glb", packed) is None
    with pytest.raises(MeshError):
        reading.read("glb", packed[:-8])


def test_pictures_for_gpus_are_read_past() -> None:
    back = reading.read("glb", basisu.encode(checkered_cube(), "cube", {}))
    assert isinstance(back, Mesh)
    assert len(back.faces) == len(checkered_cube().faces)


def test_gaussians_are_told_from_triangles() -> None:
    thing = cloud(5, 1)
    files = {
        "ply": ply.encode(thing),
        "spz": spz.encode(thing),
        "sog": sog.encode(thing),
        "splat": antimatter.encode(thing),
        "glb": gltf.encode(thing, "thing", {}),
    }
    for format, data in files.items():
        assert isinstance(reading.read(format, data), Splats), format
    assert isinstance(reading.read("glb", glb.encode(ball())), Mesh)


def test_what_moves_is_told() -> None:
    assert not reading.is_animated(triangle())
    assert reading.is_animated(triangle(skins=[{"joints": [0]}]))
