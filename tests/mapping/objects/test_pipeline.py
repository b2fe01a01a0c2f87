"""Cleaning, levels of detail, hulls, atlas, baking, thumbnail, quality: what is done to every mesh."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import gltf_validator
from mapping.objects import finishing, glb, solid
from mapping.objects.atlas import unwrapped
from mapping.objects.baking import baked
from mapping.objects.cleaning import clean, components, smooth
from mapping.objects.collision import convex_parts, hull
from mapping.objects.decimation import decimated, levels_of_detail
from mapping.objects.mesh import F64, Mesh, MeshError, from_arrays, joined, moved, sampled, volume_m3, welded
from mapping.objects.quality import compare, measure
from mapping.objects.raster import picture
from mapping.objects.thumbnail import thumbnail, turntable
from mapping.objects.view import View
from mapping.transforms import look_at
from streams.frame import Intrinsics
from tests.mapping.objects.shapes import ball, checkered_cube

K = Intrinsics.from_fov(240, 180)


def ring(count: int = 8, away_m: float = 0.6, height_m: float = 0.1) -> list[F64]:
    turns = np.arange(count) * 2 * np.pi / count
    eyes = [[away_m * np.sin(t), height_m + 0.35 * (i % 2), away_m * np.cos(t)] for i, t in enumerate(turns)]
    return [look_at(eye, [0, height_m, 0]) for eye in eyes]


def two_holed() -> Mesh:
    """An L of two boxes: not convex."""
    return solid.united([solid.box(0.4, 0.1, 0.1), solid.box(0.1, 0.4, 0.1, (-0.15, 0.0, 0.0))])


def test_cleaning_takes_crumbs_doubles_and_the_wrong_side() -> None:
    body, crumb = ball(), moved(solid.box(0.004, 0.004, 0.004), np.array([1, 0, 0]))
    messy = joined([body, crumb, body])
    tidy = clean(from_arrays(messy.vertices_m, messy.faces[:, ::-1]))
    assert len(tidy.faces) == len(welded(body).faces)
    assert volume_m3(tidy) == pytest.approx(volume_m3(body), rel=1e-5)
    assert components(tidy).max() == 0
    with pytest.raises(MeshError, match=r"surface|triangles"):
        clean(from_arrays(np.zeros((3, 3)), np.array([[0, 1, 2]])))


def test_smoothing_takes_noise_and_keeps_the_volume() -> None:
    body = welded(ball())
    rng = np.random.default_rng(0)
    rough = from_arrays(body.vertices_m + rng.normal(0, 0.002, body.vertices_m.shape), body.faces)

    def off_m(mesh: Mesh) -> float:
        return float(np.std(np.linalg.norm(mesh.vertices_m - [0, 0.1, 0], axis=1)))

    even = smooth(rough, 8)
    assert off_m(even) < 0.5 * off_m(rough)
    assert volume_m3(even) == pytest.approx(volume_m3(body), rel=0.02)


def test_a_mesh_is_fitted_into_a_budget() -> None:
    flat = unwrapped(ball(), 64)
    large = replace(flat, texture=np.full((1024, 4200, 3), 90, np.uint8))
    small = finishing.fitted(large, 500)
    assert 0 < len(small.faces) <= 500
    assert small.texture is not None
    assert small.texture.shape == (256, 1050, 3)
    assert finishing.fitted(flat, 10**6) is flat


def test_levels_are_smaller_near_the_shape_and_share_its_picture() -> None:
    flat = unwrapped(ball(), 64)
    fine = replace(flat, texture=np.full((64, 64, 3), 90, np.uint8))
    levels = levels_of_detail(fine)
    counts = [len(level.faces) for level in levels]
    assert counts[0] == len(fine.faces)
    assert counts[1] <= 0.3 * counts[0]
    assert counts[2] <= 0.15 * counts[0]
    for level in levels:
        assert level.texture is fine.texture
        away, _ = sampled(level, 2000)
        assert np.abs(np.linalg.norm(away - [0, 0.1, 0], axis=1) - 0.1).max() < 0.02
    assert solid.is_manifold(levels[1])
    assert decimated(fine, 10**6) is fine


def test_hull_holds_everything_and_looks_outwards() -> None:
    shape = two_holed()
    around = hull(shape)
    assert solid.is_manifold(around)
    assert volume_m3(around) > 1.2 * volume_m3(shape)
    centre = around.vertices_m.mean(0)
    _, normals = sampled(around, 500)
    points, _ = sampled(around, 500)
    assert np.einsum("ij,ij->i", points - centre, normals).min() > 0
    board = hull(from_arrays(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]]), np.array([[0, 1, 2]])))
    assert 0 < volume_m3(board) < 0.01
    with pytest.raises(MeshError):
        hull(from_arrays(np.empty((0, 3)), np.empty((0, 3))))


def test_convex_parts_follow_what_a_hull_cannot() -> None:
    shape = two_holed()
    parts = convex_parts(shape, max_parts=4)
    assert 2 <= len(parts) <= 4
    assert 0.97 < sum(map(volume_m3, parts)) / volume_m3(shape) < 1.1
    assert len(convex_parts(ball())) == 1


def test_charts_do_not_overlap_and_fit() -> None:
    flat = unwrapped(two_holed(), 128)
    assert flat.uv is not None
    a, b, c = np.moveaxis(flat.uv[flat.faces].astype(np.float64), 1, 0)
    area = np.abs(np.cross(b - a, c - a)) / 2
    assert area.min() > 0
    assert area.sum() < 1
    assert flat.uv.min() >= 0
    assert flat.uv.max() <= 1
    assert np.allclose(volume_m3(flat), volume_m3(two_holed()))


def test_baking_gives_back_what_the_views_show() -> None:
    truth = checkered_cube()
    views = []
    for pose in ring():
        rgb, depth_m = picture(truth, pose, K)
        views.append(View(rgb, pose, K, depth_m > 0, depth_m))
    again = baked(unwrapped(welded(truth), 128), views, 128)
    score = compare(again, views)
    assert score.mask_iou > 0.98
    assert score.psnr_db > 22  # hard edges of squares, at a quarter of the resolution
    assert score.depth_error_m is not None
    assert score.depth_error_m < 1e-4


def test_what_no_view_saw_takes_the_colours_around_it() -> None:
    red = replace(unwrapped(ball(), 64), texture=np.tile(np.array([200, 10, 10], np.uint8), (64, 64, 1)))
    rgb, depth_m = picture(red, ring()[0], K)
    one = [View(rgb, ring()[0], K, depth_m > 0, depth_m)]
    texture = baked(unwrapped(ball(), 64), one, 64).texture
    assert texture is not None
    assert np.median(np.abs(texture.reshape(-1, 3).astype(int) - [200, 10, 10]).max(axis=1)) <= 6


def test_comparing_tells_a_wrong_shape_and_colour() -> None:
    truth = checkered_cube()
    views = [View(*_shown(truth, pose)) for pose in ring(4)]
    assert compare(truth, views).psnr_db > 60
    larger = Mesh(truth.vertices_m * np.float32(1.2), truth.faces, truth.normals, truth.uv, truth.texture)
    assert compare(larger, views).mask_iou < 0.85
    assert compare(replace(truth, texture=255 - truth.texture), views).psnr_db < 12
    with pytest.raises(ValueError, match="mask"):
        compare(truth, [replace(views[0], mask=None)])


def _shown(mesh: Mesh, pose: F64) -> tuple:
    rgb, depth_m = picture(mesh, pose, K)
    return rgb, pose, K, depth_m > 0, depth_m


def test_quality_names_what_is_wrong() -> None:
    assert measure(ball(), 8000).problems == ()
    assert measure(ball(), 100).problems == ("over_budget",)
    body = ball()
    assert measure(from_arrays(body.vertices_m, body.faces[:-5]), 8000).problems == ("open",)
    assert measure(from_arrays(body.vertices_m, body.faces[:, ::-1]), 8000).problems == ("inside_out",)
    assert measure(moved(body, np.array([0, 0.5, 0])), 8000).problems == ("pivot",)
    assert "scale" in measure(from_arrays(body.vertices_m * 1000, body.faces), 8000).problems


def test_thumbnail_shows_the_whole_thing_from_all_sides() -> None:
    shown = thumbnail(checkered_cube(), 96)
    assert shown.shape == (96, 96, 3)
    rows, columns = np.nonzero((shown < 250).any(axis=2))
    assert rows.min() > 2
    assert rows.max() < 93
    assert np.ptp(columns) > 50
    assert turntable(checkered_cube(), 32).shape == (32, 256, 3)


def test_everything_published_is_valid_and_complete() -> None:
    thing = checkered_cube()
    first, quality = finishing.shown(thing, "cube", 8000, {"job": "1"})
    rest = finishing.rest(thing, "cube", {"job": "1"})
    roles = [file.role for file in (*first, *rest)]
    assert roles.count("collision") == 3
    assert {"lod0", "lod1", "lod2", "thumbnail", "turntable"} <= set(roles)
    glbs = {file.name: file.data for file in (*first, *rest) if file.name.endswith(".glb")}
    assert gltf_validator.errors(glbs) == []
    assert volume_m3(glb.decode(glbs["lod0.glb"])) == pytest.approx(0.008, rel=1e-4)
    assert len(glbs["lod2.glb"]) <= len(glbs["lod0.glb"])
    convex = json.loads(next(file.data for file in rest if file.name == "convex.json"))
    assert convex["convex"][0]["triangles"]
    said = finishing.facts(thing, quality)
    assert json.loads(json.dumps(said))["quality"]["is_manifold"] is True
    assert said["bbox_m"][1][1] == pytest.approx(0.2)
