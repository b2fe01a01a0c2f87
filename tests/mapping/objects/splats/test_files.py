"""Files of Gaussians, there and back; and their values as other programs have them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from benchmarks import gltf_validator
from mapping.exporters import ply as mesh_ply
from mapping.objects import chunks, glb
from mapping.objects.mesh import MeshError
from mapping.objects.splats import antimatter, gltf, ply, sog, spz
from mapping.objects.splats.cloud import Splats, scaled, unit
from tests.mapping.objects.shapes import checkered_cube
from tests.mapping.objects.splats.clouds import cloud, pillar

DECODERS: dict[str, Callable[[bytes], Splats]] = {
    "ply": ply.decode, "spz": spz.decode, "splat": antimatter.decode, "glb": gltf.decode, "sog": sog.decode,
}  # fmt: skip


def encoded(format: str, splats: Splats) -> bytes:
    if format == "glb":
        return gltf.encode(splats, "thing", {"seed": 1})
    return {"ply": ply.encode, "spz": spz.encode, "splat": antimatter.encode, "sog": sog.encode}[format](splats)


def turned_deg(one: Splats, other: Splats) -> float:
    cosine = np.abs(np.einsum("ij,ij->i", one.quats_wxyz.astype(float), other.quats_wxyz)).clip(0, 1)
    return float(np.degrees(2 * np.arccos(cosine)).max())


@pytest.mark.parametrize("coefficients", [1, 4, 9, 16])
@pytest.mark.parametrize(
    ("format", "place_m", "log_size", "turn_deg", "opacity", "colour", "harmonics"),
    [
        ("ply", 1e-6, 1e-5, 0.1, 1e-5, 1e-6, 1e-6),
        ("glb", 1e-7, 1e-6, 0.1, 1e-6, 1e-6, 1e-6),
        ("spz", 2.2e-4, 0.032, 0.4, 2.1e-3, 0.014, 0.07),
        ("splat", 1e-6, 1e-6, 1.0, 2.1e-3, 0.008, None),
        ("sog", 5e-5, 0.03, 1.0, 2.1e-3, 0.02, 0.01),
    ],
)
def test_there_and_back(
    format: str, place_m: float, log_size: float, turn_deg: float, opacity: float, colour: float,
    harmonics: float | None, coefficients: int,
) -> None:  # fmt: skip
    given = cloud(coefficients=coefficients)
    if format == "splat":  # what shows most stands first
        given = _by_show(given)
    back = DECODERS[format](encoded(format, given))
    if format == "sog":  # near ones stand together
        back = _near(back, given)
    assert np.abs(back.centres_m - given.centres_m).max() <= place_m
    assert np.abs(np.log(back.sizes_m / given.sizes_m)).max() <= log_size
    assert turned_deg(back, given) <= turn_deg
    assert np.abs(back.opacities - given.opacities).max() <= opacity
    assert np.abs(back.sh[:, 0] - given.sh[:, 0]).max() <= colour
    if harmonics is None:
        assert back.sh.shape[1] == 1
    else:
        assert back.sh.shape == given.sh.shape
        assert np.abs(back.sh[:, 1:] - given.sh[:, 1:]).max(initial=0) <= harmonics


def _by_show(splats: Splats) -> Splats:
    return _ordered(splats, np.argsort(-splats.opacities * splats.sizes_m.astype(float).prod(axis=1), kind="stable"))


def _near(splats: Splats, others: Splats) -> Splats:
    return _ordered(splats, cKDTree(splats.centres_m).query(others.centres_m)[1])


def _ordered(splats: Splats, order: np.ndarray) -> Splats:
    return Splats(
        splats.centres_m[order], splats.sizes_m[order], splats.quats_wxyz[order], splats.opacities[order],
        splats.sh[order],
    )  # fmt: skip


def test_ply_has_trained_values_and_camera_axes() -> None:
    one = Splats(
        np.array([[1, 2, 3]], np.float32), np.array([[0.1, 0.2, 0.4]], np.float32),
        unit(np.array([[0.8, 0.6, 0, 0]], np.float32)), np.array([0.75], np.float32),
        np.arange(12, dtype=np.float32).reshape(1, 4, 3),
    )  # fmt: skip
    data = ply.encode(one)
    head, body = data.split(b"end_header\n")
    names = [line.split()[2].decode() for line in head.split(b"\n") if line.startswith(b"property")]
    assert names[:6] == ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[6:15] == [f"f_rest_{i}" for i in range(9)]
    values = dict(zip(names, struct.unpack(f"<{len(names)}f", body), strict=True))
    assert (values["x"], values["y"], values["z"]) == (1, -2, -3)
    assert values["opacity"] == pytest.approx(np.log(3))
    assert values["scale_1"] == pytest.approx(np.log(0.2))
    assert (values["rot_0"], values["rot_1"]) == (pytest.approx(0.8), pytest.approx(0.6))
    # Red of the three of degree one (y, z, x): y and z are turned round.
    assert [values[f"f_rest_{i}"] for i in range(3)] == [-3, -6, 9]
    assert np.allclose(ply.decode(data, is_upright=True).centres_m, [[1, -2, -3]])


def test_other_types_and_more_properties_are_read() -> None:
    given = cloud(5, 1)
    data = ply.encode(given)
    head, body = data.split(b"end_header\n")
    wide = head.replace(b"property float", b"property double").replace(
        b"property double x", b"property uchar label\nproperty double x"
    )
    table = np.frombuffer(body, "<f4").reshape(5, -1).astype("<f8")
    rows = b"".join(b"\x07" + row.tobytes() for row in table)
    back = ply.decode(wide + b"end_header\n" + rows)
    assert np.allclose(back.centres_m, given.centres_m)
    assert ply.is_splat(wide + b"end_header\n")


def test_a_mesh_is_no_splat() -> None:
    cube = checkered_cube()
    mesh = mesh_ply.encode(cube.vertices_m, np.zeros((len(cube.vertices_m), 3), np.uint8), cube.faces)
    assert ply.is_splat(ply.encode(cloud(2))[: ply.HEAD_BYTES])
    for other in (mesh, b"", b"ply\n", glb.encode(cube), b"ply\nformat ascii 1.0\nelement vertex 1\nend_header\n"):
        assert not ply.is_splat(other)
    with pytest.raises(MeshError, match="no Gaussians"):
        ply.decode(mesh)
    with pytest.raises(MeshError, match="without Gaussians"):
        gltf.decode(glb.encode(cube))


def test_spz_of_version_two_is_read() -> None:
    head = struct.pack("<3I4B", 0x5053474E, 2, 1, 0, 12, 0, 0)
    places = struct.pack("<3i", 4096, -8192, 2048)
    body = b"".join(places[4 * i : 4 * i + 3] for i in range(3)) + bytes(
        [191, 255, 128, 0, 160, 128, 96, 255, 128, 128]
    )
    back = spz.decode(gzip.compress(head + body))
    assert back.centres_m.tolist() == [[1.0, -2.0, 0.5]]
    assert np.allclose(back.sizes_m, np.exp([[0, -2, -4]]))
    assert back.opacities[0] == pytest.approx(191 / 255)
    assert back.rgb[0, 0] == 255
    assert back.rgb[0, 2] == 0
    assert back.quats_wxyz[0, 1] == pytest.approx(1, abs=1e-3)
    with pytest.raises(MeshError, match="2048 m"):
        spz.encode(scaled(cloud(3), 1e5))


def test_gltf_is_valid_and_shows_points_to_others() -> None:
    data = gltf.encode(cloud(40), "thing", {"seed": 1})
    assert gltf_validator.errors({"splats": data}) == []
    raw = gltf_validator.validate({"splats": data})["splats"]["issues"]["messages"]
    assert {issue["code"] for issue in raw if issue["severity"] == 0} == {"MESH_PRIMITIVE_INVALID_ATTRIBUTE"}
    tree, body = chunks.split(data)
    tree["meshes"][0]["primitives"][0]["attributes"]["NOT_KNOWN"] = 0
    assert len(gltf_validator.errors({"wrong": chunks.join(tree, body)})) == 1
    assert tree["meshes"][0]["primitives"][0]["mode"] == 0
    assert "extensionsRequired" not in tree


@pytest.mark.parametrize("format", list(DECODERS))
def test_broken_files_are_refused_with_a_reason(format: str) -> None:
    data = encoded(format, cloud(20))
    rng = np.random.default_rng(1)
    for bad in (b"", b"nothing", data[: len(data) // 2 + 3], data[:40]):
        with pytest.raises(MeshError):
            DECODERS[format](bad)
    for _ in range(40):
        mutated = bytearray(data)
        for at in rng.integers(0, min(len(mutated), 1500), 4):
            mutated[at] = rng.integers(256)
        try:
            DECODERS[format](bytes(mutated))
        except MeshError:
            continue


def test_bombs_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    head = ply.encode(cloud(2)).replace(b"vertex 2", b"vertex 3000000000")
    with pytest.raises(MeshError, match="3000000000 splats"):
        ply.decode(head)
    huge = gzip.compress(struct.pack("<3I4B", 0x5053474E, 3, 3_999_999, 3, 12, 0, 0))
    with pytest.raises(MeshError, match="too early"):
        spz.decode(huge)
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", b" " * 3000)
    monkeypatch.setattr(sog, "_MEMBER_BYTES", 2000)
    with pytest.raises(MeshError, match="too large"):
        sog.decode(bundle.getvalue())
    with pytest.raises(MeshError, match="finite"):
        replace(pillar(), centres_m=np.full((200, 3), np.nan, np.float32))
