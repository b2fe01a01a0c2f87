"""What fits its pictures badly is put in its place and painted from them; what they do not show stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import capture as scene_of
from mapping.objects import fitting, solid
from mapping.objects.creases import creased
from mapping.objects.fitting import Fit
from mapping.objects.judging import standing
from mapping.objects.mesh import F64, Mesh, floor_centre_m, moved
from mapping.objects.quality import compare
from mapping.objects.raster import picture
from mapping.objects.refining import refined, repainted
from mapping.objects.view import View
from mapping.transforms import exp_so3, look_at, rigid
from streams.frame import Intrinsics

RED, GREEN = (200, 30, 30), (30, 160, 60)
QUICK = fitting.Config(
    rounds=(
        fitting.Round(picture_px=48, turn_deg=15.0, grow=0.1, shift=0.12, max_drawings=120),
        fitting.Round(picture_px=160, turn_deg=3.0, grow=0.02, shift=0.02, max_drawings=80),
    )
)


def coloured(mesh: Mesh, rgb: tuple[int, int, int]) -> Mesh:
    return replace(mesh, rgb=np.tile(np.uint8(rgb), (len(mesh.vertices_m), 1)))


def seen_from(mesh: Mesh, *places: tuple[float, float, float]) -> list[View]:
    k, found = Intrinsics.from_fov(120, 90), []
    for place in places:
        pose = look_at(np.array(place), np.array([0.0, 0.1, 0.0]))
        rgb, depth_m = picture(mesh, pose, k)
        found.append(View(rgb, pose, k, depth_m > 0, depth_m))
    return found


def shown(mesh: Mesh, place: tuple[float, float, float]) -> F64:
    """Its colour from there, away from the rim, which views are not trusted at."""
    (view,) = seen_from(mesh, place)
    return np.asarray(np.median(view.rgb[view.mask], axis=0))


def test_off_by_15_degrees_a_tenth_and_5_cm_it_is_put_right_and_painted_for_views_it_never_saw() -> None:
    scene, k = scene_of.build(), Intrinsics.from_fov(259, 196)
    views = [scene.view(pose, k) for pose in scene_of.poses(scene, 5)]
    held_out = [scene.view(pose, k) for pose in scene_of.poses(scene, 3, turn_rad=0.5)]
    foot = floor_centre_m(scene.thing)
    thing = coloured(creased(moved(scene.thing, -foot)), (150, 120, 120))
    away = rigid(exp_so3(np.array([0.0, np.radians(15), 0.0])), foot + np.array([0.04, 0.0, -0.03]))
    stages: list[str] = []
    made = refined(thing, scene_of.noisy(views, 0, scene_of.DEPTH_NOISE_M), Fit(1.1, away), QUICK, stages.append)
    assert stages == ["fit", "paint", "compare"]
    assert made.is_better
    assert made.before.score < 0.55
    assert made.after.score > 0.85
    assert made.after.world_from_mesh is not None
    placed = standing(made.mesh, 1.0, made.after.world_from_mesh)
    assert placed.bounds_m() == pytest.approx(scene.thing.bounds_m(), abs=0.012), "the scale is in the mesh"
    unseen = compare(placed, held_out)
    assert unseen.psnr_db > 20
    assert unseen.mask_iou > 0.93


def test_what_no_view_sees_keeps_its_look() -> None:
    box = solid.box(0.2, 0.2, 0.2)
    before = coloured(creased(box), GREEN)
    front = seen_from(coloured(box, RED), (0.0, 0.1, 0.8))
    painted = repainted(before, front, np.eye(4))
    assert shown(painted, (0.0, 0.1, 0.8)) == pytest.approx(RED, abs=3)
    assert shown(painted, (0.0, 0.1, -0.8)) == pytest.approx(GREEN, abs=3)
    again = repainted(painted, [], np.eye(4))
    assert again.uv is painted.uv, "a picture of its own is painted over"
    assert shown(again, (0.0, 0.1, 0.8)) == pytest.approx(RED, abs=3)


def test_triangles_that_share_a_place_of_the_picture_get_places_of_their_own() -> None:
    box = creased(solid.box(0.2, 0.2, 0.2))
    uv = np.tile(np.float32([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]), (len(box.vertices_m) // 4, 1))
    shared = replace(box, uv=uv, texture=np.full((8, 8, 3), GREEN, np.uint8))
    front = seen_from(coloured(box, RED), (0.0, 0.1, 0.8))
    painted = repainted(shared, front, np.eye(4))
    assert painted.uv is not None
    assert len(np.unique(painted.uv.round(3), axis=0)) > 12
    assert shown(painted, (0.0, 0.1, -0.8)) == pytest.approx(GREEN, abs=3)


def test_views_without_masks_are_refused() -> None:
    box = coloured(solid.box(0.2, 0.2, 0.2), RED)
    bare = [replace(view, mask=None) for view in seen_from(box, (0.0, 0.1, 0.8))]
    with pytest.raises(ValueError, match="mask"):
        refined(box, bare, Fit(1.0, np.eye(4)), QUICK)
