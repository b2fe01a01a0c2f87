from __future__ import annotations

import numpy as np
import pytest

from mapping.objects import solid
from mapping.objects.mesh import Mesh, from_arrays
from mapping.objects.raster import NO_FACE, colours, draw, interpolated
from mapping.transforms import look_at, project, unproject
from streams.frame import Intrinsics

K = Intrinsics.from_fov(160, 120)
FRONT = look_at([0.0, 0.5, 3.0], [0.0, 0.5, 0.0])


def test_depth_of_a_wall_is_exact_and_fills_its_outline() -> None:
    wall = from_arrays(np.array([[-1, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    drawn = draw(wall, FRONT, K)
    seen = drawn.face != NO_FACE
    assert np.allclose(drawn.depth_m[seen], 3.0, atol=1e-5)
    assert seen.sum() == pytest.approx(2 * 1 * (K.fx / 3) ** 2, rel=0.03)


def test_nearer_triangles_hide_others_whatever_their_order() -> None:
    near, far = solid.box(0.4, 0.4, 0.4, (0, 0.3, 1.0)), solid.box(2, 1, 0.2)
    for parts in ([near, far], [far, near]):
        whole = from_arrays(
            np.concatenate([p.vertices_m for p in parts]),
            np.concatenate([parts[0].faces, parts[1].faces + np.uint32(len(parts[0].vertices_m))]),
        )
        assert draw(whole, FRONT, K).depth_m[60, 80] == pytest.approx(1.8, abs=1e-5)


def test_attributes_are_perspective_correct() -> None:
    floor = from_arrays(np.array([[-1, 0, 0], [1, 0, 0], [1, 0, -4], [-1, 0, -4]]), np.array([[0, 1, 2], [0, 2, 3]]))
    pose = look_at([0.0, 1.0, 2.0], [0.0, 0.0, -1.0])
    drawn = draw(floor, pose, K)
    places = interpolated(drawn, floor.faces, floor.vertices_m)
    seen = drawn.face != NO_FACE
    truth = unproject(drawn.depth_m, K).astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    assert np.allclose(places[seen], truth[seen], atol=1e-4)


def test_colours_come_from_the_right_texel() -> None:
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 1] = (255, 0, 0)  # top right
    points = np.array([[-1, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    wall = Mesh(points, np.array([[0, 1, 2], [0, 2, 3]], np.uint32), uv=uv, texture=texture)
    drawn = draw(wall, FRONT, K)
    at = project(np.array([[0.8, -0.4, 3.0]]), K)[0].astype(int)  # camera axes: +y is down
    assert colours(drawn, wall)[at[1], at[0], 0] > 200
    assert colours(drawn, wall)[at[1], 2 * 80 - at[0], 0] < 50


def test_what_reaches_behind_the_camera_is_left_out() -> None:
    assert (draw(solid.box(10, 10, 10), FRONT, K).face == NO_FACE).sum() >= 0
    assert draw(solid.box(1, 1, 1, (0, 0, 5)), FRONT, K).depth_m.max() == 0
