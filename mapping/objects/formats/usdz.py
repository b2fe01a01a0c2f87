"""USDZ for Apple's viewers and Omniverse: one mesh with its picture or colours, as UsdPreviewSurface (usd-core).

A USDZ file is a zip archive without compression in which every file's bytes begin at a multiple of 64.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np
from PIL import Image

from mapping.exporters.glb import linear_rgba
from mapping.objects.looks import vertex_rgb
from mapping.objects.mesh import Mesh, vertex_normals

_ALIGNMENT = 64
_PICTURE = "textures/color.png"


def encode(mesh: Mesh, name: str) -> bytes:
    """Metres, +Y up."""
    files = {"model.usda": _stage(mesh, name).encode()}
    if mesh.texture is not None:
        picture = io.BytesIO()
        Image.fromarray(mesh.texture).save(picture, "PNG")
        files[_PICTURE] = picture.getvalue()
    return _aligned_zip(files)


def _stage(mesh: Mesh, name: str) -> str:
    """The scene as text."""
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, Vt

    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, "/Object")
    root.GetPrim().SetDisplayName(name)
    stage.SetDefaultPrim(root.GetPrim())
    body = UsdGeom.Mesh.Define(stage, "/Object/Mesh")
    body.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    body.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(mesh.vertices_m)))
    body.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    body.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.astype(np.int32).ravel()))
    body.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(vertex_normals(mesh))))
    body.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    low, high = mesh.bounds_m()
    body.CreateExtentAttr([Gf.Vec3f(*low.tolist()), Gf.Vec3f(*high.tolist())])
    more = UsdGeom.PrimvarsAPI(body)
    material = UsdShade.Material.Define(stage, "/Object/Material")
    surface = UsdShade.Shader.Define(stage, "/Object/Material/Surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(mesh.material.metallic)
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(mesh.material.roughness)
    diffuse = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    if mesh.texture is not None and mesh.uv is not None:
        upwards = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1).astype(np.float32)
        st = more.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex)
        st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(upwards)))
        reader = UsdShade.Shader.Define(stage, "/Object/Material/St")
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
        picture = UsdShade.Shader.Define(stage, "/Object/Material/Picture")
        picture.CreateIdAttr("UsdUVTexture")
        picture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(_PICTURE)
        picture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        where = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
        picture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(where)
        diffuse.ConnectToSource(picture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
    else:
        colours = linear_rgba(vertex_rgb(mesh))[:, :3].astype(np.float32) / 65535
        shown = more.CreatePrimvar("displayColor", Sdf.ValueTypeNames.Color3fArray, UsdGeom.Tokens.vertex)
        shown.Set(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(colours)))
        diffuse.Set(Gf.Vec3f(*colours[mesh.faces.ravel()].mean(axis=0).tolist()))
    UsdShade.MaterialBindingAPI.Apply(body.GetPrim()).Bind(material)
    return str(stage.GetRootLayer().ExportToString())


def _aligned_zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            # The local header has 30 bytes and the name; an extra field (id, length) pads it.
            pad = -(out.tell() + 30 + len(name) + 4) % _ALIGNMENT
            entry.extra = b"\x86\x19" + pad.to_bytes(2, "little") + b"\0" * pad
            archive.writestr(entry, data)
    return out.getvalue()
