"""Binary glTF 2.0 in and out, through trimesh: one node, one mesh, one metallic-roughness material.

glTF is right-handed, +Y up and in metres, as our meshes are. `COLOR_0` is linear light where ours is sRGB; 16 bits keep
the dark shades apart. What comes in may have many nodes and materials: they are brought into the root's frame and, if
pictures differ, packed into one.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual.material import PBRMaterial

from mapping.exporters.glb import linear_rgba
from mapping.objects.chunks import Tree
from mapping.objects.glb_checks import checked
from mapping.objects.mesh import U8, Material, Mesh, MeshError, compacted, sound, vertex_normals

_GENERATOR = "Commonground"


def encode(mesh: Mesh, name: str = "object", extras: dict[str, Any] | None = None, *, webp: bool = False) -> bytes:
    """A GLB file: positions, normals, and uv with a picture (PNG, or WebP as EXT_texture_webp) or vertex colours.

    `extras` is plain JSON kept in `asset.extras`: where it comes from.

    Raises:
        MeshError: there are no triangles.
    """
    mesh.bounds_m()
    used = compacted(mesh)
    shape = trimesh.Trimesh(
        used.vertices_m, used.faces.astype(np.int64), vertex_normals=vertex_normals(used), process=False
    )
    shape.visual = trimesh.visual.TextureVisuals(uv=_flipped(used.uv), material=_material(used))
    if used.rgb is not None and used.texture is None:
        shape.vertex_attributes["_rgb"] = linear_rgba(used.rgb)

    def finish(tree: dict[str, Any]) -> None:
        tree["asset"] = {"version": "2.0", "generator": _GENERATOR} | ({"extras": extras} if extras else {})
        for node in tree["nodes"]:
            node["name"] = name if "mesh" in node else "root"
        for part in tree["meshes"]:
            part["name"] = name
            for primitive in part["primitives"]:
                if (colours := primitive["attributes"].pop("_rgb", None)) is not None:
                    primitive["attributes"]["COLOR_0"] = colours
                    tree["accessors"][colours] |= {"normalized": True}
        # trimesh keeps colours as bytes, too coarse for dark ones in linear light.
        tree["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = _linear(mesh.material)

    data: bytes = export_glb(
        trimesh.Scene({name: shape}), include_normals=True, tree_postprocessor=finish, extension_webp=webp
    )
    return data


def decode(data: bytes) -> Mesh:
    """Read a GLB file that nobody vouches for.

    Raises:
        MeshError: it is no GLB, is broken or too large, or holds no surface.
    """
    tree = checked(data)
    try:
        exact = _only_rgb(tree)
        whole = _one(trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False))
        mesh = sound(_mesh(whole))
    except MeshError:
        raise
    except IndexError as error:
        raise MeshError(f"a broken GLB: it names what is not in it ({error})") from error
    except Exception as error:  # the reader of a broken file fails with whatever it trips over
        raise MeshError(f"a broken GLB: {type(error).__name__}: {error}") from error
    return mesh if exact is None else replace(mesh, material=replace(mesh.material, rgb=exact))


def _one(scene: trimesh.Scene) -> trimesh.Trimesh:
    """Everything in the scene as one mesh in the root's frame; a single mesh keeps its own normals."""
    placed = scene.graph.nodes_geometry
    if len(placed) == 1:
        world_from_node, name = scene.graph[placed[0]]
        shape = scene.geometry[name]
        if np.allclose(world_from_node, np.eye(4)):
            return shape
    return scene.to_mesh()


def _mesh(whole: trimesh.Trimesh) -> Mesh:
    vertices_m = np.ascontiguousarray(whole.vertices, np.float32)
    normals = np.ascontiguousarray(whole.vertex_normals, np.float32)
    faces = np.ascontiguousarray(whole.faces, np.uint32)
    visual = whole.visual
    if isinstance(visual, trimesh.visual.TextureVisuals):
        material = visual.material if isinstance(visual.material, PBRMaterial) else visual.material.to_pbr()
        uv = None if visual.uv is None else _flipped(np.asarray(visual.uv, np.float32))
        picture = material.baseColorTexture
        texture = None if picture is None or uv is None else np.asarray(picture.convert("RGB"), np.uint8)
        rgb = None
        if texture is None and (colours := visual.vertex_attributes.get("color")) is not None:
            rgb = srgb_of_linear(np.asarray(colours)[:, :3])
        return Mesh(vertices_m, faces, normals, uv, texture, rgb, _our_material(material))
    rgb = srgb_of_linear(np.asarray(visual.vertex_colors)[:, :3]) if visual.kind == "vertex" else None
    return Mesh(vertices_m, faces, normals, rgb=rgb)


def _only_rgb(tree: Tree) -> tuple[int, int, int] | None:
    """The colour of the only material: trimesh rounds it to bytes of linear light, too coarse for dark ones."""
    materials = tree.get("materials", [])
    factor = materials[0].get("pbrMetallicRoughness", {}).get("baseColorFactor") if len(materials) == 1 else None
    if factor is None:
        return None
    red, green, blue = (int(v) for v in srgb_of_linear(np.clip(np.array(factor[:3], np.float64), 0, 1)))
    return red, green, blue


def srgb_of_linear(linear: np.ndarray[Any, Any]) -> U8:
    """sRGB bytes of linear light, whole numbers of any width or floats 0..1 (IEC 61966-2-1)."""
    x = np.asarray(linear, np.float64)
    if linear.dtype.kind == "u":
        x = x / np.iinfo(linear.dtype).max
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 0) ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * srgb), np.uint8)


def _flipped(uv: Any) -> Any:
    """trimesh counts v upwards, glTF downwards."""
    return None if uv is None else np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1).astype(np.float32)


def _material(mesh: Mesh) -> PBRMaterial:
    picture = None if mesh.texture is None else Image.fromarray(mesh.texture)
    return PBRMaterial(
        name="material",
        baseColorFactor=_linear(mesh.material),
        baseColorTexture=picture,
        metallicFactor=mesh.material.metallic,
        roughnessFactor=mesh.material.roughness,
    )


def _linear(material: Material) -> list[float]:
    """Red, green, blue and opacity in linear light, 0..1."""
    return [float(v) for v in linear_rgba(np.array([material.rgb], np.uint8))[0] / 65535]


def _our_material(material: PBRMaterial) -> Material:
    factor = material.baseColorFactor
    linear = np.ones(3, np.uint8) * 255 if factor is None else np.asarray(factor)[:3]
    red, green, blue = (int(v) for v in srgb_of_linear(np.asarray(linear)))
    metallic = 1.0 if material.metallicFactor is None else float(material.metallicFactor)
    roughness = 1.0 if material.roughnessFactor is None else float(material.roughnessFactor)
    return Material((red, green, blue), metallic, roughness)
