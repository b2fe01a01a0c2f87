"""STEP for CAD programs (ISO 10303, AP214): every triangle one plane face of a body, in metres with Z up.

Good for measuring and placing, not for editing: the file and the product say `faceted`. Triangles share their edges, so
a closed body is a solid; what is open, or bounds a hole within, is a shell. One colour for all of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mapping.objects.cleaning import components
from mapping.objects.formats.dxf import CAD_FROM_OURS
from mapping.objects.looks import mean_rgb
from mapping.objects.mesh import F64, U32, Mesh, MeshError, face_areas_m2, from_arrays, volume_m3, welded
from mapping.objects.part21 import DERIVED, NO, YES, Part21, Plain, Ref

MAX_FACES = 5000
"""Programs that read STEP are made for hundreds of faces."""
_LEAST_AREA_M2 = 1e-12
_SCHEMA = "AUTOMOTIVE_DESIGN { 1 0 10303 214 1 1 1 1 }"


def encode(mesh: Mesh, name: str) -> bytes:
    """
    Raises:
        MeshError: nothing with an area is left.
    """
    bare = welded(mesh)
    faces = bare.faces[face_areas_m2(bare) > _LEAST_AREA_M2]
    if not len(faces):
        raise MeshError("the mesh has no surface")
    points_m = bare.vertices_m.astype(np.float64) @ CAD_FROM_OURS.T
    connected = components(from_arrays(points_m, faces))
    file = Part21()
    context = _units(file)
    parts = [faces[connected == i] for i in range(int(connected.max()) + 1)]
    solid = [_is_closed(part) and volume_m3(from_arrays(points_m, part)) > 0 for part in parts]
    bodies = [_body(file, points_m, part, is_solid) for part, is_solid in zip(parts, solid, strict=True)]
    kind = "ADVANCED_BREP_SHAPE_REPRESENTATION" if all(solid) else "SHAPE_REPRESENTATION"
    origin = _axes(file, _point(file, (0, 0, 0)), (0, 0, 1), (1, 0, 0))
    _product(file, name, file.add(kind, name, (origin, *bodies), context))
    _colour(file, bodies, mean_rgb(mesh), context)
    return file.encode(f"{name}.step", "faceted: every face is a triangle of a mesh", _SCHEMA)


def _units(file: Part21) -> Ref:
    """Metres and radians."""
    metre = file.add_text("(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT($,.METRE.))")
    radian = file.add_text("(NAMED_UNIT(*)PLANE_ANGLE_UNIT()SI_UNIT($,.RADIAN.))")
    steradian = file.add_text("(NAMED_UNIT(*)SI_UNIT($,.STERADIAN.)SOLID_ANGLE_UNIT())")
    exact = file.add(
        "UNCERTAINTY_MEASURE_WITH_UNIT", Plain("LENGTH_MEASURE(1.E-7)"), metre, "distance_accuracy_value", ""
    )
    return file.add_text(
        f"(GEOMETRIC_REPRESENTATION_CONTEXT(3)GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT((#{exact.number}))"
        f"GLOBAL_UNIT_ASSIGNED_CONTEXT((#{metre.number},#{radian.number},#{steradian.number}))"
        "REPRESENTATION_CONTEXT('',''))"
    )


def _body(file: Part21, points_m: F64, faces: U32, is_solid: bool) -> Ref:
    """A connected part: a solid, or a shell."""
    point = {v: _point(file, points_m[v]) for v in np.unique(faces).tolist()}
    corner = {v: file.add("VERTEX_POINT", "", at) for v, at in point.items()}
    edges: dict[tuple[int, int], Ref] = {}
    written = []
    for a, b, c in faces.tolist():
        loop = []
        for start, end in ((a, b), (b, c), (c, a)):
            low, high = min(start, end), max(start, end)
            if (low, high) not in edges:
                along = file.add("VECTOR", "", _direction(file, points_m[high] - points_m[low]), 1.0)
                line = file.add("LINE", "", point[low], along)
                edges[low, high] = file.add("EDGE_CURVE", "", corner[low], corner[high], line, YES)
            way = YES if start < end else NO
            loop.append(file.add("ORIENTED_EDGE", "", DERIVED, DERIVED, edges[low, high], way))
        side = points_m[b] - points_m[a]
        plane = file.add("PLANE", "", _axes(file, point[a], np.cross(side, points_m[c] - points_m[a]), side))
        bound = file.add("FACE_OUTER_BOUND", "", file.add("EDGE_LOOP", "", tuple(loop)), YES)
        written.append(file.add("ADVANCED_FACE", "", (bound,), plane, YES))
    if is_solid:
        return file.add("MANIFOLD_SOLID_BREP", "", file.add("CLOSED_SHELL", "", tuple(written)))
    return file.add("SHELL_BASED_SURFACE_MODEL", "", (file.add("OPEN_SHELL", "", tuple(written)),))


def _is_closed(faces: U32) -> bool:
    """Whether each edge has one triangle on either side, the other way round."""
    ways = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    there = ways[:, 0] << 32 | ways[:, 1]
    back = ways[:, 1] << 32 | ways[:, 0]
    return len(np.unique(there)) == len(there) and np.array_equal(np.sort(there), np.sort(back))


def _product(file: Part21, name: str, shape: Ref) -> None:
    """What has this shape."""
    application = file.add("APPLICATION_CONTEXT", "automotive design")
    file.add("APPLICATION_PROTOCOL_DEFINITION", "international standard", "automotive_design", 2000, application)
    product_context = file.add("PRODUCT_CONTEXT", "", application, "mechanical")
    product = file.add("PRODUCT", name, name, "faceted", (product_context,))
    formation = file.add("PRODUCT_DEFINITION_FORMATION", "", "", product)
    design = file.add("PRODUCT_DEFINITION_CONTEXT", "part definition", application, "design")
    definition = file.add("PRODUCT_DEFINITION", "design", "", formation, design)
    file.add("SHAPE_DEFINITION_REPRESENTATION", file.add("PRODUCT_DEFINITION_SHAPE", "", "", definition), shape)


def _colour(file: Part21, bodies: list[Ref], rgb: tuple[int, int, int], context: Ref) -> None:
    colour = file.add("COLOUR_RGB", "", *(v / 255 for v in rgb))
    area = file.add("FILL_AREA_STYLE", "", (file.add("FILL_AREA_STYLE_COLOUR", "", colour),))
    side = file.add("SURFACE_SIDE_STYLE", "", (file.add("SURFACE_STYLE_FILL_AREA", area),))
    style = file.add("PRESENTATION_STYLE_ASSIGNMENT", (file.add("SURFACE_STYLE_USAGE", Plain(".BOTH."), side),))
    styled = tuple(file.add("STYLED_ITEM", "", (style,), body) for body in bodies)
    file.add("MECHANICAL_DESIGN_GEOMETRIC_PRESENTATION_REPRESENTATION", "", styled, context)


def _point(file: Part21, at_m: ArrayLike) -> Ref:
    return file.add("CARTESIAN_POINT", "", _three(at_m))


def _direction(file: Part21, along: ArrayLike) -> Ref:
    unit = np.asarray(along, np.float64) / np.linalg.norm(along)
    return file.add("DIRECTION", "", _three(unit))


def _axes(file: Part21, point: Ref, up: ArrayLike, ahead: ArrayLike) -> Ref:
    return file.add("AXIS2_PLACEMENT_3D", "", point, _direction(file, up), _direction(file, ahead))


def _three(numbers: ArrayLike) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in np.asarray(numbers, np.float64))
    return x, y, z
