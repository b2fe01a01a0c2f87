"""Dense coloured meshes become small ones with a picture that shows the same colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from mapping.objects import solid
from mapping.objects.dressing import dressed
from mapping.objects.mesh import Mesh, MeshError, volume_m3
from mapping.objects.raster import picture
from mapping.transforms import look_at
from streams.frame import Intrinsics


def ball() -> Mesh:
    """Its colours are its places."""
    shape = trimesh.creation.icosphere(5, 0.2)
    rgb = np.clip((shape.vertices / 0.4 + 0.5) * 255, 0, 255).astype(np.uint8)
    return Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.uint32), rgb=rgb)


@pytest.mark.parametrize("is_inside_out", [False, True])
def test_colours_stay_where_they_were(is_inside_out: bool) -> None:
    dense = ball()
    given = replace(dense, faces=dense.faces[:, ::-1]) if is_inside_out else dense
    small = dressed(given, 2000, 256)
    assert len(small.faces) <= 2000 < len(dense.faces)
    assert volume_m3(small) > 0
    assert small.rgb is None
    for eye in ([0.0, 0.3, 1.0], [1.0, 0.0, 0.1], [0.0, -1.0, 0.2]):
        pose, k = look_at(eye, [0.0, 0.0, 0.0]), Intrinsics.from_fov(96, 96)
        (before, was), (after, is_now) = picture(dense, pose, k), picture(small, pose, k)
        both = (was > 0) & (is_now > 0)
        error = ((before[both].astype(float) - after[both]) ** 2).mean()
        assert 10 * np.log10(255**2 / error) > 40


def test_a_thin_wall_keeps_each_sides_colour() -> None:
    plate = solid.box(0.4, 0.4, 0.004)
    shape = trimesh.Trimesh(plate.vertices_m, plate.faces, process=False)
    for _ in range(4):
        shape = shape.subdivide()
    front = shape.vertex_normals[:, 2] > 0.5
    rgb = np.where(front[:, None], [255, 0, 0], [0, 0, 255]).astype(np.uint8)
    thick = Mesh(np.float32(shape.vertices), np.uint32(shape.faces), np.float32(shape.vertex_normals), rgb=rgb)
    small, k = dressed(thick, 500, 256), Intrinsics.from_fov(64, 64)
    for side, channel in ((1.0, 0), (-1.0, 2)):
        rgb, depth_m = picture(small, look_at([0.0, 0.2, side], [0.0, 0.2, 0.0]), k)
        assert np.median(rgb[depth_m > 0], axis=0)[channel] == 255


def test_without_colours_or_a_body_it_is_refused() -> None:
    with pytest.raises(MeshError):
        dressed(solid.box(1, 1, 1), 100, 64)
    flat = Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.uint32), rgb=np.zeros((3, 3), np.uint8))
    with pytest.raises(MeshError):
        dressed(flat, 100, 64)
