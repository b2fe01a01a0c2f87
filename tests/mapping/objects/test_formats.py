"""Every format is read back by somebody else's reader."""

from __future__ import annotations

import io
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cascadio
import ezdxf
import numpy as np
import pytest
import trimesh
from pxr import Usd, UsdGeom, UsdShade, UsdValidation

from mapping.exporters.glb import linear_rgba
from mapping.objects import formats, solid
from mapping.objects.decimation import decimated
from mapping.objects.formats import FormatMissing
from mapping.objects.formats.dxf import CAD_FROM_OURS
from mapping.objects.looks import mean_rgb, vertex_rgb
from mapping.objects.mesh import Material, Mesh, MeshError, face_areas_m2, joined, volume_m3
from tests.mapping.objects.shapes import ball, checkered_cube

RED_BALL = replace(ball(), material=Material((200, 36, 32)))


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl"])
@pytest.mark.parametrize("mesh", [checkered_cube(), RED_BALL])
def test_plain_formats_round_trip(suffix: str, mesh: Mesh) -> None:
    data = formats.encode(suffix, mesh, "a thing/2")
    back = trimesh.load_mesh(io.BytesIO(data), file_type=suffix, process=False)
    assert len(back.faces) == len(mesh.faces)
    assert back.volume == pytest.approx(volume_m3(mesh), rel=1e-4)
    assert np.allclose(back.bounds, mesh.bounds_m(), atol=1e-6)
    if suffix != "stl":
        read = np.asarray(back.visual.vertex_colors)[:, :3] if suffix == "ply" else None
        assert read is None or np.array_equal(read, vertex_rgb(mesh))


def test_obj_has_colours_uv_and_normals() -> None:
    cube = checkered_cube()
    lines = formats.encode("obj", cube).decode().splitlines()
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    assert np.allclose(vertices[:, :3], cube.vertices_m, atol=1e-6)
    assert np.allclose(vertices[:, 3:] * 255, vertex_rgb(cube), atol=0.1)
    uv = np.array([line.split()[1:] for line in lines if line.startswith("vt ")], float)
    assert cube.uv is not None
    assert np.allclose(uv[:, 1], 1 - cube.uv[:, 1], atol=1e-5)
    assert sum(line.startswith("f ") for line in lines) == 12


@pytest.mark.parametrize("mesh", [checkered_cube(), RED_BALL])
def test_dxf_passes_its_audit(mesh: Mesh) -> None:
    document = ezdxf.read(io.StringIO(formats.encode("dxf", mesh).decode()))
    audit = document.audit()
    assert not audit.errors
    assert not audit.fixes
    assert document.units == 6
    (body,) = document.modelspace().query("MESH")
    assert body.rgb == mean_rgb(mesh)
    points = np.array(body.vertices) @ CAD_FROM_OURS  # back to +Y up
    faces = np.array([list(face) for face in body.faces])
    back = trimesh.Trimesh(points, faces, process=False)
    assert back.volume == pytest.approx(volume_m3(mesh), rel=1e-5)
    assert np.allclose(back.bounds, mesh.bounds_m(), atol=1e-6)


@pytest.mark.parametrize("mesh", [checkered_cube(), decimated(RED_BALL, 300)])
def test_step_is_read_again_by_open_cascade(mesh: Mesh, tmp_path: Path) -> None:
    back, colour = as_open_cascade_reads(formats.encode("step", mesh, "it's a ünit"), tmp_path)
    assert len(back.faces) == len(mesh.faces)
    assert back.volume == pytest.approx(volume_m3(mesh), rel=1e-6)
    assert back.area == pytest.approx(face_areas_m2(mesh).sum(), rel=1e-6)
    assert np.allclose(np.sort(back.bounds @ CAD_FROM_OURS, axis=0), mesh.bounds_m(), atol=1e-6)
    assert np.allclose(colour, linear_rgba(np.array([mean_rgb(mesh)], np.uint8))[0, :3] / 257, atol=1.5)


def test_step_is_faceted_and_has_a_limit() -> None:
    fine = solid.turned([(0.1 * np.cos(a), 0.1 * np.sin(a)) for a in np.linspace(-1.57, 1.57, 60)], 120)
    data = formats.encode("step", fine)
    assert b"FILE_DESCRIPTION(('faceted" in data
    assert "step" in formats.FACETED
    assert data.count(b"ADVANCED_FACE") == len(formats.limited("step", fine).faces) <= 5000 < len(fine.faces)
    assert formats.limited("stl", fine) is fine


def test_step_tells_solids_from_shells(tmp_path: Path) -> None:
    two = joined([solid.box(0.1, 0.1, 0.1), solid.box(0.2, 0.2, 0.2, (1.0, 0.0, 0.0))])
    data = formats.encode("step", two)
    assert data.count(b"MANIFOLD_SOLID_BREP") == 2
    assert as_open_cascade_reads(data, tmp_path)[0].volume == pytest.approx(0.009, rel=1e-5)
    sheet = Mesh(two.vertices_m, two.faces[:20])
    data = formats.encode("step", sheet)
    assert (data.count(b"CLOSED_SHELL"), data.count(b"OPEN_SHELL")) == (1, 1)
    assert len(as_open_cascade_reads(data, tmp_path)[0].faces) == 20
    with pytest.raises(MeshError, match="no surface"):
        formats.encode("step", Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.uint32)))


def as_open_cascade_reads(data: bytes, folder: Path) -> tuple[trimesh.Trimesh, np.ndarray]:
    """The shape in metres, Z up, and its colour in linear light 0..255."""
    (folder / "thing.step").write_bytes(data)
    cascadio.step_to_glb(str(folder / "thing.step"), str(folder / "thing.glb"), 0.001, 0.1)
    scene = trimesh.load_scene(folder / "thing.glb")
    colour = next(iter(scene.geometry.values())).visual.material.baseColorFactor
    return scene.to_mesh(), np.asarray(colour)[:3]


@pytest.mark.parametrize("mesh", [checkered_cube(), RED_BALL])
def test_usdz_opens_with_shape_picture_and_unit(mesh: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "thing.usdz"
    path.write_bytes(formats.encode("usdz", mesh, "thing"))
    stage = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y
    body = UsdGeom.Mesh(stage.GetPrimAtPath("/Object/Mesh"))
    assert np.allclose(np.array(body.GetPointsAttr().Get()), mesh.vertices_m)
    assert np.array_equal(np.array(body.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), mesh.faces)
    assert UsdShade.MaterialBindingAPI(body.GetPrim()).ComputeBoundMaterial()[0]
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert not UsdValidation.ValidationContext(validators).Validate(stage)
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            begin = (
                entry.header_offset
                + 30
                + len(entry.filename)
                + int.from_bytes(path.read_bytes()[entry.header_offset + 28 : entry.header_offset + 30], "little")
            )
            assert begin % 64 == 0
        assert ("textures/color.png" in archive.namelist()) == (mesh.texture is not None)


def test_what_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert formats.available() == ["dxf", "obj", "ply", "step", "stl", "usdz"]
    with pytest.raises(FormatMissing, match="fbx"):
        formats.encode("fbx", ball())
    with pytest.raises(MeshError):
        formats.encode("stl", Mesh(np.zeros((3, 3), np.float32), np.empty((0, 3), np.uint32)))
    monkeypatch.setitem(sys.modules, "ezdxf", None)
    with pytest.raises(FormatMissing, match=r"commonground\[formats\]"):
        formats.encode("dxf", ball())


def test_looks_without_a_picture() -> None:
    assert mean_rgb(RED_BALL) == (200, 36, 32)
    cube = checkered_cube()
    assert face_areas_m2(cube).sum() == pytest.approx(0.24)
    assert len(np.unique(vertex_rgb(cube), axis=0)) > 4
    assert mean_rgb(replace(solid.box(1, 1, 1), rgb=np.full((8, 3), 7, np.uint8))) == (7, 7, 7)
