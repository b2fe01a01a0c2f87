from __future__ import annotations

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks import gltf_validator
from mapping.objects import chunks, glb, solid
from mapping.objects.creases import creased
from mapping.objects.mesh import Material, Mesh, MeshError, volume_m3
from tests.mapping.objects.shapes import ball, checkered_cube


def coloured() -> Mesh:
    shape = ball()
    rgb = (np.abs(shape.vertices_m) * 1200 % 256).astype(np.uint8)
    return replace(shape, rgb=rgb)


def json_of(data: bytes) -> dict:
    return json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])


def test_khronos_finds_no_error() -> None:
    files = {
        "plain": glb.encode(replace(creased(solid.box(1, 1, 1)), material=Material((200, 30, 20), 1.0, 0.3)), "a box"),
        "texture": glb.encode(checkered_cube(), "cube", {"job": "7"}),
        "webp": glb.encode(checkered_cube(), "cube", webp=True),
        "colours": glb.encode(coloured(), "ball"),
    }
    assert gltf_validator.errors(files) == []
    broken = files["plain"][:40] + b"!" + files["plain"][41:]
    assert gltf_validator.errors({"broken": broken}), "the validator must be able to find one"


@pytest.mark.parametrize("mesh", [checkered_cube(), coloured(), creased(solid.box(0.1, 0.2, 0.3))])
def test_round_trip_keeps_shape_and_look(mesh: Mesh) -> None:
    back = glb.decode(glb.encode(mesh))
    assert volume_m3(back) == pytest.approx(volume_m3(mesh), rel=1e-5)
    assert np.allclose(back.vertices_m, mesh.vertices_m)
    assert np.array_equal(back.faces, mesh.faces)
    if mesh.uv is not None:
        assert back.uv is not None
        assert np.allclose(back.uv, mesh.uv, atol=1e-6)
        assert np.array_equal(back.texture, mesh.texture)
    if mesh.rgb is not None:
        assert back.rgb is not None
        assert np.abs(back.rgb.astype(int) - mesh.rgb).max() <= 1
    if mesh.normals is not None:
        assert np.allclose(back.normals, mesh.normals, atol=1e-5)


def test_says_where_it_comes_from_and_colours_are_linear() -> None:
    data = glb.encode(replace(solid.box(1, 1, 1), material=Material((188, 0, 255), 0.0, 0.5)), "thing", {"job": "j1"})
    tree = json_of(data)
    assert tree["asset"]["extras"] == {"job": "j1"}
    assert tree["nodes"][0]["name"] == "thing"
    red, green, blue, alpha = tree["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"]
    assert red == pytest.approx(0.503, abs=0.002)  # sRGB 188 is half of the light
    assert (green, blue, alpha) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("cut", [0, 3, 11, 19, 60, -30])
def test_broken_files_are_refused_with_a_reason(cut: int) -> None:
    data = glb.encode(checkered_cube())
    with pytest.raises(MeshError):
        glb.decode(data[:cut] if cut else b"not at all")


def test_garbage_never_raises_anything_else() -> None:
    data = bytearray(glb.encode(checkered_cube()))
    rng = np.random.default_rng(3)
    for _ in range(60):
        bad = bytearray(data)
        for at in rng.integers(12, len(bad), 12):
            bad[at] = rng.integers(256)
        try:
            glb.decode(bytes(bad))
        except MeshError:
            continue


def refused(data: bytes) -> str:
    with pytest.raises(MeshError) as error:
        glb.decode(data)
    return str(error.value)


def test_bombs_are_not_unpacked() -> None:
    tree, body = chunks.split(glb.encode(checkered_cube()))
    huge = tree | {"accessors": [one | {"count": 2_000_000_000} for one in tree["accessors"]]}
    assert "8000000000 elements" in refused(chunks.join(huge, body))
    fine, many_bytes = chunks.split(glb.encode(ball()))
    (shown,) = [node for node in fine["nodes"] if "mesh" in node]
    crowd = fine | {"nodes": [shown] * 4000, "scenes": [{"nodes": list(range(4000))}]}
    assert "in 4000 nodes" in refused(chunks.join(crowd, many_bytes))


@pytest.mark.parametrize(
    ("use", "size"),
    [
        ("normalTexture", (8192, 8192)),
        ("emissiveTexture", (8193, 1)),
        ("occlusionTexture", (1, 9000)),
        ("nothing", (8192, 8192)),
    ],
)
def test_large_pictures_of_any_use_are_refused(use: str, size: tuple[int, int]) -> None:
    tree, body = chunks.split(glb.encode(checkered_cube()))
    out = io.BytesIO()
    Image.new("1", size).save(out, "PNG")  # some kilobytes
    picture = out.getvalue() + b"\0" * (-len(out.getvalue()) % 4)
    tree["bufferViews"].append({"buffer": 0, "byteOffset": len(body), "byteLength": len(picture)})
    tree["buffers"] = [{"byteLength": len(body) + len(picture)}]
    tree["images"].append({"bufferView": len(tree["bufferViews"]) - 1, "mimeType": "image/png"})
    tree["textures"].append({"source": 1})
    if use != "nothing":
        tree["materials"][0][use] = {"index": 1}
    assert "too large" in refused(chunks.join(tree, body + picture))
    tree["images"][1] = {"uri": "file:///etc/passwd"}
    assert "file itself" in refused(chunks.join(tree, body))


def test_nothing_is_not_written() -> None:
    with pytest.raises(MeshError, match="no triangles"):
        glb.encode(Mesh(np.zeros((3, 3), np.float32), np.empty((0, 3), np.uint32)))
