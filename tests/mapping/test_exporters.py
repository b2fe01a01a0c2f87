"""Exported files say what the scene says, to two readers each: trimesh, and a few lines of parsing of our own."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from mapping import exporters
from mapping.exporters import ExportCamera, ExportError, ExportScene
from mapping.exporters.glb import linear_rgba
from mapping.transforms import look_at, project
from streams.frame import Intrinsics

QUAD = np.array([[0, 0, 0], [2, 0, 0], [2, 0, 3], [0, 1, 3]], np.float32)
TRIANGLES = np.array([[0, 2, 1], [0, 3, 2]], np.uint32)
COLOURS = np.array([[255, 0, 0], [0, 128, 0], [0, 0, 30], [9, 9, 9]], np.uint8)
POINTS = np.array([[5, 6, 7], [-1, -2, -3]], np.float32)
PENTAGON = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 2], [2, 0, 1], [2, 0, 0]], np.float32)
LENS = Intrinsics(fx=500, fy=500, cx=320, cy=240, width=640, height=480)
CAMERA = ExportCamera("phone/7", look_at([1, 1.5, -2], [1, 0, 1]), LENS)

MESH = ExportScene(vertices_m=QUAD, indices=TRIANGLES, rgb=COLOURS)
FULL = ExportScene(
    vertices_m=QUAD,
    indices=TRIANGLES,
    rgb=COLOURS,
    points_m=POINTS,
    points_rgb=COLOURS[:2],
    cameras=(CAMERA,),
    nav_polygons_m=(PENTAGON,),
)


class TestEveryExporter:
    """The contract: what each format must do, found by name alone."""

    @pytest.fixture(params=exporters.available())
    def exporter(self, request: pytest.FixtureRequest) -> exporters.Exporter:
        return exporters.create(request.param)

    def test_suffix_and_media_type(self, exporter: exporters.Exporter) -> None:
        assert exporter.suffix.startswith(".")
        assert "/" in exporter.media_type

    @pytest.mark.parametrize("scene", [MESH, FULL], ids=["mesh", "full"])
    def test_mesh_survives(self, exporter: exporters.Exporter, scene: ExportScene, tmp_path: Path) -> None:
        path = tmp_path / f"room{exporter.suffix}"
        exporter.export(scene, path)
        loaded = trimesh.load(path, process=False)
        mesh = loaded.geometry["map"] if isinstance(loaded, trimesh.Scene) else loaded
        corners = np.asarray(mesh.vertices)[np.asarray(mesh.faces)]
        assert np.allclose(corners[:2], QUAD[TRIANGLES], atol=1e-4)

    def test_points_alone_survive(self, exporter: exporters.Exporter, tmp_path: Path) -> None:
        path = tmp_path / f"room{exporter.suffix}"
        exporter.export(ExportScene(points_m=POINTS), path)
        assert path.stat().st_size > 0

    def test_empty_map_is_refused_and_nothing_is_left(self, exporter: exporters.Exporter, tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="let a camera look around"):
            exporter.export(ExportScene(cameras=(CAMERA,)), tmp_path / f"room{exporter.suffix}")
        assert list(tmp_path.iterdir()) == []

    def test_replaces_an_older_file_whole(self, exporter: exporters.Exporter, tmp_path: Path) -> None:
        path = tmp_path / f"room{exporter.suffix}"
        path.write_bytes(b"x" * 1_000_000)
        exporter.export(MESH, path)
        assert path.stat().st_size < 1_000_000
        assert list(tmp_path.iterdir()) == [path]


def test_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ExportError, match="glb, obj, ply"):
        exporters.create("fbx")


@pytest.mark.parametrize(
    "fields",
    [
        {"vertices_m": np.zeros((2, 2), np.float32)},
        {"vertices_m": np.full((3, 3), np.nan, np.float32)},
        {"vertices_m": QUAD, "indices": np.array([[0, 1, 4]], np.uint32)},
        {"vertices_m": QUAD, "rgb": np.zeros((3, 3), np.uint8)},
        {"points_m": POINTS, "points_rgb": np.zeros((2, 3), np.float32)},
        {"nav_polygons_m": (np.zeros((2, 3), np.float32),)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ExportError):
        ExportScene(**fields)


# -- ply ---------------------------------------------------------------------------------------------------------------


def read_ply(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    header, body = data.split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    counts = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("element")}
    names = [line.split()[2] for line in lines if line.startswith("property") and "list" not in line]
    kinds = {"x": "<f4", "y": "<f4", "z": "<f4", "red": "u1", "green": "u1", "blue": "u1"}
    dtype = np.dtype([(name, kinds[name]) for name in names])
    vertices = np.frombuffer(body, dtype, counts["vertex"])
    face = np.dtype([("count", "u1"), ("indices", "<i4", 3)])
    faces = np.frombuffer(body, face, counts.get("face", 0), counts["vertex"] * dtype.itemsize)
    assert len(body) == vertices.nbytes + faces.nbytes
    return vertices, faces


def test_ply_holds_colours_and_faces_byte_for_byte(tmp_path: Path) -> None:
    exporters.create("ply").export(MESH, tmp_path / "a.ply")
    vertices, faces = read_ply((tmp_path / "a.ply").read_bytes())
    assert np.array_equal(np.stack([vertices[n] for n in "xyz"], 1), QUAD)
    assert np.array_equal(np.stack([vertices[n] for n in ("red", "green", "blue")], 1), COLOURS)
    assert np.array_equal(faces["indices"], TRIANGLES)
    assert set(faces["count"]) == {3}
    mesh = trimesh.load(tmp_path / "a.ply", process=False)
    assert np.array_equal(mesh.visual.vertex_colors[:, :3], COLOURS)


def test_ply_of_points(tmp_path: Path) -> None:
    exporters.create("ply", {"content": "points"}).export(FULL, tmp_path / "a.ply")
    vertices, faces = read_ply((tmp_path / "a.ply").read_bytes())
    assert np.array_equal(np.stack([vertices[n] for n in "xyz"], 1), POINTS)
    assert len(faces) == 0
    assert np.array_equal(trimesh.load(tmp_path / "a.ply").vertices, POINTS)


# -- obj ---------------------------------------------------------------------------------------------------------------


def test_obj_names_colours_and_walkable_polygons(tmp_path: Path) -> None:
    exporters.create("obj").export(FULL, tmp_path / "a.obj")
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    assert [words[1] for words in lines if words[0] == "o"] == ["map", "navmesh"]
    vertices = [list(map(float, words[1:])) for words in lines if words[0] == "v"]
    faces = [list(map(int, words[1:])) for words in lines if words[0] == "f"]
    assert np.allclose([v[3:] for v in vertices[:4]], COLOURS / 255, atol=1e-4)
    assert np.allclose([vertices[i - 1][:3] for i in faces[-1]], PENTAGON)


# -- glb ---------------------------------------------------------------------------------------------------------------


def read_glb(data: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, size = struct.unpack_from("<4sII", data)
    assert (magic, version, size) == (b"glTF", 2, len(data))
    json_size, json_kind = struct.unpack_from("<I4s", data, 12)
    bin_size, bin_kind = struct.unpack_from("<I4s", data, 20 + json_size)
    assert (json_kind, bin_kind) == (b"JSON", b"BIN\0")
    assert json_size % 4 == bin_size % 4 == 0
    return json.loads(data[20 : 20 + json_size]), data[28 + json_size : 28 + json_size + bin_size]


def accessor(document: dict[str, Any], buffer: bytes, index: int) -> np.ndarray:
    entry = document["accessors"][index]
    view = document["bufferViews"][entry["bufferView"]]
    dtype = {5123: "<u2", 5125: "<u4", 5126: "<f4"}[entry["componentType"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry["type"]]
    assert view["byteOffset"] % 4 == 0
    assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"] == len(buffer)
    return np.frombuffer(buffer, dtype, entry["count"] * width, view["byteOffset"]).reshape(-1, width)


@pytest.fixture
def glb(tmp_path: Path) -> tuple[dict[str, Any], bytes]:
    exporters.create("glb").export(FULL, tmp_path / "a.glb")
    return read_glb((tmp_path / "a.glb").read_bytes())


def test_glb_holds_every_part_by_name(glb: tuple[dict[str, Any], bytes]) -> None:
    document, buffer = glb
    assert [node["name"] for node in document["nodes"]] == ["map", "points", "navmesh", "phone/7"]
    surface = document["meshes"][0]["primitives"][0]
    positions = document["accessors"][surface["attributes"]["POSITION"]]
    assert positions["min"] == QUAD.min(0).tolist()
    assert positions["max"] == QUAD.max(0).tolist()
    assert np.array_equal(accessor(document, buffer, surface["attributes"]["POSITION"]), QUAD)
    assert np.array_equal(accessor(document, buffer, surface["indices"]).reshape(-1, 3), TRIANGLES)
    nav = document["meshes"][2]["primitives"][0]
    area = trimesh.Trimesh(
        accessor(document, buffer, nav["attributes"]["POSITION"]),
        accessor(document, buffer, nav["indices"]).reshape(-1, 3),
    )
    assert area.area == pytest.approx(3.0)
    assert (area.face_normals[:, 1] > 0.99).all()


def test_glb_colours_are_linear_light(glb: tuple[dict[str, Any], bytes]) -> None:
    document, buffer = glb
    stored = accessor(document, buffer, document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"])
    assert stored[0].tolist() == [65535, 0, 0, 65535]
    assert stored[1, 1] / 65535 == pytest.approx(0.2158605, abs=1e-4)  # sRGB 128, IEC 61966-2-1
    assert len(np.unique(linear_rgba(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1))[:, 0])) == 256


def test_glb_camera_sees_what_ours_sees(glb: tuple[dict[str, Any], bytes]) -> None:
    """A point of the world falls on the same place of the picture through glTF's own projection as through ours."""
    document, _ = glb
    node = document["nodes"][3]
    lens = document["cameras"][node["camera"]]["perspective"]
    world_from_gltf = np.array(node["matrix"]).reshape(4, 4).T
    point = np.array([1.2, 0.3, 1.1, 1.0])
    x, y, z, _ = np.linalg.inv(world_from_gltf) @ point
    half = np.tan(lens["yfov"] / 2)
    assert z < 0
    u = (x / -z / half / lens["aspectRatio"] + 1) / 2 * LENS.width
    v = (1 - y / -z / half) / 2 * LENS.height
    ours = project((np.linalg.inv(CAMERA.world_from_camera) @ point)[None, :3], LENS)[0]
    assert (u, v) == pytest.approx(tuple(ours), abs=1e-6)


def test_glb_leaves_out_what_is_not_wanted(tmp_path: Path) -> None:
    exporters.create("glb", {"points": False, "cameras": False, "navmesh": False}).export(FULL, tmp_path / "a.glb")
    document, _ = read_glb((tmp_path / "a.glb").read_bytes())
    assert [node["name"] for node in document["nodes"]] == ["map"]
    assert "cameras" not in document
