"""Packed pictures, unpacked by Basis Universal's own transcoder and parsed by the reader that three.js has."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import opengl_basisu
import pytest

from benchmarks import gltf_validator
from mapping.objects import basisu, chunks, glb, ktx2, solid, uastc
from mapping.objects.mesh import U8, MeshError
from tests.mapping.objects.shapes import checkered_cube

PACKAGES = Path(__file__).parents[3] / "clients" / "engines" / "web" / "node_modules"


def landscape(height: int = 96, width: int = 128) -> U8:
    """Slow colours, an edge, and texture as of a photo."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    rng = np.random.default_rng(4)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (height, width)), (0, 0), 1.5)[..., None] + rng.normal(0, 1, (1, 1, 3))
    hues = (
        np.stack([rows * 2, 255 - columns * 1.5, rows + columns], axis=-1) * np.where(columns > rows, 1, 0.4)[..., None]
    )
    return np.clip(hues + grain, 0, 255).astype(np.uint8)


def unpacked(data: bytes, level: int = 0) -> U8:
    image = opengl_basisu.open(data).transcode("rgba8", level)
    return np.asarray(image.data).reshape(image.height, image.width, 4)[..., :3]


def psnr_db(one: U8, other: U8) -> float:
    return float(10 * np.log10(255**2 / max(((one.astype(float) - other) ** 2).mean(), 1e-9)))


def test_pictures_come_back() -> None:
    assert psnr_db(unpacked(ktx2.encode(landscape())), landscape()) > 42
    flat = np.full((32, 8, 3), (12, 200, 77), np.uint8)
    assert np.array_equal(unpacked(ktx2.encode(flat)), flat)
    steps = checkered_cube().texture
    assert steps is not None
    assert np.array_equal(unpacked(ktx2.encode(steps)), steps)
    ramp = np.tile(np.arange(128, dtype=np.uint8)[:, None, None], (1, 128, 3))
    assert psnr_db(unpacked(ktx2.encode(ramp)), ramp) > 48


def test_smaller_levels_are_means_in_linear_light() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[::2] = 255
    data = ktx2.encode(lines)
    assert opengl_basisu.open(data).levels == 7
    for level in (1, 3, 6):
        assert np.abs(unpacked(data, level).astype(int) - 188).max() <= 1  # half of the light


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (101, 67)])
def test_sides_become_multiples_of_four(size: tuple[int, int]) -> None:
    rgb = landscape(*size)
    back = unpacked(ktx2.encode(rgb))
    assert back.shape[:2] == tuple(-(-side // 4) * 4 for side in size)
    wanted = cv2.resize(rgb, back.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    assert psnr_db(back, wanted) > 36
    with pytest.raises(ValueError, match="0 x 4"):
        ktx2.encode(np.zeros((4, 0, 3), np.uint8))


def test_hints_make_good_etc1() -> None:
    """Phones without ASTC get ETC1 by the hints: it must show the same picture, if less well."""
    rgb = landscape()
    blocks = np.asarray(opengl_basisu.open(ktx2.encode(rgb)).transcode("etc1").data, np.uint8)
    assert psnr_db(etc1_decoded(blocks.tobytes(), *rgb.shape[:2]), rgb) > 30


def test_another_parser_finds_what_gltf_asks_for() -> None:
    node = shutil.which("node")
    assert node is not None
    script = Path(__file__).with_name("read_ktx2.mjs")
    data = ktx2.encode(landscape(101, 67))
    done = subprocess.run([node, str(script), str(PACKAGES)], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    read = json.loads(done.stdout)
    assert (read["size"], read["scheme"], read["model"], read["transfer"]) == ([68, 104], 2, 166, 2)
    assert [full for _, full in read["levels"]][:3] == [68 * 104, 36 * 52, 20 * 28]
    assert read["told"]["KTXorientation"] == "rd"


def test_glb_has_it_in_the_pictures_place() -> None:
    cube = checkered_cube()
    data = basisu.encode(cube, "cube", {"seed": 1})
    assert gltf_validator.errors({"cube": data}) == []
    tree, body = chunks.split(data)
    plain, _ = chunks.split(glb.encode(cube))
    assert tree["extensionsRequired"] == [basisu.EXTENSION]
    assert tree["accessors"] == plain["accessors"]
    assert "source" not in tree["textures"][0]
    view = tree["bufferViews"][
        tree["images"][tree["textures"][0]["extensions"][basisu.EXTENSION]["source"]]["bufferView"]
    ]
    picture = body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    assert np.array_equal(unpacked(picture), cube.texture)
    with pytest.raises(MeshError, match="no picture"):
        basisu.encode(solid.box(1, 1, 1), "box", {})


def test_a_block_is_sixteen_bytes() -> None:
    assert len(uastc.encode(landscape(9, 5))) == 3 * 2 * uastc.BLOCK_BYTES


def etc1_decoded(blocks: bytes, height: int, width: int) -> U8:
    """After the OES_compressed_ETC1_RGB8_texture specification."""
    steps = np.array([[2, 8], [5, 17], [9, 29], [13, 42], [18, 60], [24, 80], [33, 106], [47, 183]])
    out = np.zeros((height, width, 3), np.uint8)
    for number in range(len(blocks) // 8):
        value = int.from_bytes(blocks[8 * number : 8 * number + 8], "big")
        if value >> 33 & 1:
            first = [value >> shift & 31 for shift in (59, 51, 43)]
            second = [c + ((value >> shift & 7) ^ 4) - 4 for c, shift in zip(first, (56, 48, 40), strict=True)]
            bases = [[c << 3 | c >> 2 for c in base] for base in (first, second)]
        else:
            bases = [[(value >> shift & 15) * 17 for shift in shifts] for shifts in ((60, 52, 44), (56, 48, 40))]
        for column in range(4):
            for row in range(4):
                half = (row if value >> 32 & 1 else column) // 2
                texel = 4 * column + row
                size = steps[value >> (34, 37)[1 - half] & 7][value >> texel & 1]
                offset = -size if value >> (16 + texel) & 1 else size
                y, x = 4 * (number // (width // 4)) + row, 4 * (number % (width // 4)) + column
                out[y, x] = np.clip(np.array(bases[half]) + offset, 0, 255)
    return out
