"""A mesh in every format, read again by somebody else's reader: what is left of shape and colours.

GLB, PLY, OBJ and STL by trimesh, DXF by ezdxf (with its audit), STEP by Open CASCADE, USDZ by OpenUSD, KTX2 by Basis
Universal. What a format loses since it is not made for many triangles (STEP) counts.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from mapping.objects import formats, glb, ktx2
from mapping.objects.formats.dxf import CAD_FROM_OURS
from mapping.objects.looks import mean_rgb, vertex_rgb
from mapping.objects.mesh import F64, Mesh, face_areas_m2, from_arrays, volume_m3, welded


@dataclass(frozen=True, slots=True)
class Back:
    """What a reader found: +Y up, metres, and sRGB 0..255 of each vertex, of the whole, or none."""

    vertices_m: F64
    faces: np.ndarray[Any, Any]
    rgb: F64 | None
    problems: int = 0
    """What the reader objects to."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How far a file is from the mesh it was made of."""

    bytes: int
    faces: int
    bounds_off_m: float
    volume_off: float
    """Relative; of the area where it bounds no solid."""
    colour_off: float | None
    """Mean, of 255; None where the format has no colours."""
    problems: int


def round_trips(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """Every format's `Kept`, by suffix."""
    files = {"glb": glb.encode(mesh)} | {suffix: formats.encode(suffix, mesh) for suffix in formats.available()}
    return {suffix: asdict(_kept(mesh, data, READERS[suffix](data))) for suffix, data in files.items()}


def ktx2_psnr_db(mesh: Mesh) -> float:
    """Of the mesh's picture, packed and unpacked."""
    import opengl_basisu

    assert mesh.texture is not None
    height, width = mesh.texture.shape[:2]
    image = opengl_basisu.open(ktx2.encode(mesh.texture)).transcode("rgba8")
    pixels = np.asarray(image.data).reshape(image.height, image.width, 4)[:height, :width, :3]
    return float(10 * np.log10(255**2 / max(((pixels.astype(float) - mesh.texture) ** 2).mean(), 1e-9)))


def _kept(mesh: Mesh, data: bytes, back: Back) -> Kept:
    bare, found = welded(mesh), welded(from_arrays(back.vertices_m, back.faces))
    size, size_back = volume_m3(bare), volume_m3(found)
    if size <= 0:
        size, size_back = float(face_areas_m2(bare).sum()), float(face_areas_m2(found).sum())
    colour = None
    if back.rgb is not None:
        wanted = np.array(mean_rgb(mesh), np.float64) if back.rgb.ndim == 1 else vertex_rgb(mesh).astype(np.float64)
        colour = float(np.abs(back.rgb - wanted).mean())
    off_m = float(np.abs(found.bounds_m() - bare.bounds_m()).max())
    return Kept(len(data), len(back.faces), off_m, abs(size_back - size) / size, colour, back.problems)


def _glb(data: bytes) -> Back:
    """By trimesh, but for the material's colour: that would round it in linear light."""
    (shape,) = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False).geometry.values()
    tree = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    factor = np.array(tree["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"][:3])
    look = shape.visual
    picture, own = look.material.baseColorTexture, look.vertex_attributes.get("color")
    if picture is not None:
        rgb = _pictured(shape.vertices, shape.faces, look.uv, np.asarray(picture.convert("RGB")))
    elif own is not None:
        rgb = glb.srgb_of_linear(own[:, :3]).astype(np.float64)
    else:
        rgb = np.full((len(shape.vertices), 3), 255.0)
    return Back(np.asarray(shape.vertices), np.asarray(shape.faces), rgb * glb.srgb_of_linear(factor) / 255)


def _pictured(points: F64, faces: np.ndarray[Any, Any], uv: F64, picture: np.ndarray[Any, Any]) -> F64:
    """(n, 3) sRGB of a picture at each vertex; v counts from its lower edge."""
    flipped = np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1).astype(np.float32)
    mesh = Mesh(points.astype(np.float32), faces.astype(np.uint32), uv=flipped, texture=picture)
    return vertex_rgb(mesh).astype(np.float64)


def _by_trimesh(suffix: str) -> Callable[[bytes], Back]:
    def read(data: bytes) -> Back:
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type=suffix, process=False, maintain_order=True)
        rgb = np.asarray(mesh.visual.vertex_colors, np.float64)[:, :3] if suffix == "ply" else None
        return Back(np.asarray(mesh.vertices), np.asarray(mesh.faces), rgb)

    return read


def _obj(data: bytes) -> Back:
    """Shape by trimesh, which reads no colours beside uv; these stand behind the coordinates."""
    shape = _by_trimesh("obj")(data)
    rows = [line.split()[4:7] for line in data.decode().splitlines() if line.startswith("v ")]
    rgb = np.array(rows, np.float64) * 255
    return Back(shape.vertices_m, shape.faces, rgb)


def _dxf(data: bytes) -> Back:
    import ezdxf

    document = ezdxf.read(io.StringIO(data.decode()))
    audit = document.audit()
    (body,) = document.modelspace().query("MESH")
    faces = np.array([list(face) for face in body.faces])
    points = np.array([list(point) for point in body.vertices]) @ CAD_FROM_OURS
    return Back(points, faces, np.array(body.rgb, np.float64), len(audit.errors) + len(audit.fixes))


def _step(data: bytes) -> Back:
    import cascadio

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "thing.step"
        path.write_bytes(data)
        cascadio.step_to_glb(str(path), str(path.with_suffix(".glb")), 0.001, 0.1)
        scene = trimesh.load_scene(path.with_suffix(".glb"))
    shape = scene.to_mesh()
    linear = np.asarray(next(iter(scene.geometry.values())).visual.material.baseColorFactor)[:3]
    points = np.asarray(shape.vertices) @ CAD_FROM_OURS
    return Back(points, np.asarray(shape.faces), glb.srgb_of_linear(linear).astype(np.float64))


def _usdz(data: bytes) -> Back:
    from PIL import Image
    from pxr import Ar, Usd, UsdGeom

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "thing.usdz"
        path.write_bytes(data)
        stage = Usd.Stage.Open(str(path))
        body = UsdGeom.Mesh(stage.GetPrimAtPath("/Object/Mesh"))
        points = np.array(body.GetPointsAttr().Get(), np.float64)
        faces = np.array(body.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
        more = UsdGeom.PrimvarsAPI(body)
        if shown := more.GetPrimvar("displayColor").Get():
            rgb = glb.srgb_of_linear(np.array(shown, np.float64)).astype(np.float64)
        else:
            uv = np.array(more.GetPrimvar("st").Get(), np.float64)
            asset = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(f"{path}[textures/color.png]"))
            texture = np.asarray(Image.open(io.BytesIO(bytes(asset.GetBuffer()))))
            rgb = _pictured(points, faces, uv, texture)
    return Back(points, faces, rgb)


READERS: dict[str, Callable[[bytes], Back]] = {
    "glb": _glb, "ply": _by_trimesh("ply"), "stl": _by_trimesh("stl"), "obj": _obj, "dxf": _dxf, "step": _step,
    "usdz": _usdz,
}  # fmt: skip
