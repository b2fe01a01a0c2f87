from __future__ import annotations

import numpy as np
import pytest

from mapping.objects import mesh as m
from mapping.objects import solid
from mapping.objects.creases import creased
from tests.mapping.objects.shapes import ball


def test_box_has_its_volume_area_and_pivot() -> None:
    box = solid.box(0.3, 0.1, 0.2)
    assert m.volume_m3(box) == pytest.approx(0.006)
    assert m.face_areas_m2(box).sum() == pytest.approx(0.22)
    assert np.allclose(m.floor_centre_m(m.moved(box, np.array([1, 2, 3]))), [1, 2, 3])
    assert np.allclose(m.floor_centre_m(m.on_its_pivot(m.moved(box, np.array([1, 2, 3])))), 0, atol=1e-6)


def test_inside_out_has_negative_volume() -> None:
    box = solid.box(1, 1, 1)
    assert m.volume_m3(m.from_arrays(box.vertices_m, box.faces[:, ::-1])) == pytest.approx(-1)


def test_samples_lie_on_the_surface_evenly() -> None:
    points, normals = m.sampled(ball(1.0), 20_000)
    away = points - [0, 1, 0]
    assert np.allclose(np.linalg.norm(away, axis=1), 1, atol=0.01)
    assert np.abs(away.mean(0)).max() < 0.02
    assert np.einsum("ij,ij->i", away, normals).min() > 0.99


def test_what_is_no_mesh_is_refused() -> None:
    ok = np.zeros((3, 3), np.float32)
    with pytest.raises(m.MeshError, match="vertex 3 of 3"):
        m.Mesh(ok, np.array([[0, 1, 3]], np.uint32))
    with pytest.raises(m.MeshError, match="finite"):
        m.from_arrays(np.full((3, 3), np.nan), np.array([[0, 1, 2]]))
    with pytest.raises(m.MeshError, match="uv"):
        m.Mesh(ok, np.array([[0, 1, 2]], np.uint32), texture=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(m.MeshError, match="no triangles"):
        m.from_arrays(ok, np.empty((0, 3))).bounds_m()


def test_creases_split_edges_and_keep_round_things_smooth() -> None:
    box = creased(solid.box(1, 1, 1))
    assert len(box.vertices_m) == 24
    assert box.normals is not None
    assert np.allclose(np.abs(box.normals).max(axis=1), 1, atol=1e-6)  # each along an axis
    round_ = creased(ball())
    assert len(round_.vertices_m) == len(m.welded(ball()).vertices_m)
    assert solid.is_manifold(box)


def test_compacted_keeps_what_vertices_carry() -> None:
    rgb = np.arange(12, dtype=np.uint8).reshape(4, 3)
    whole = m.Mesh(np.eye(4, 3, dtype=np.float32), np.array([[0, 2, 3]], np.uint32), rgb=rgb)
    small = m.compacted(whole)
    assert small.rgb is not None
    assert np.array_equal(small.rgb[small.faces[0]], rgb[[0, 2, 3]])
    assert len(small.vertices_m) == 3
