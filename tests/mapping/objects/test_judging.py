"""Things are marked by how well they fit the pictures, and set down where they fit best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import capture as scene_of
from mapping.objects import solid
from mapping.objects.capture.region import NothingThere
from mapping.objects.judging import judged, judged_by_photo
from mapping.objects.mesh import Mesh, MeshError, floor_centre_m, moved, scaled
from mapping.objects.raster import picture
from mapping.objects.view import View, squared
from mapping.transforms import look_at, rigid
from streams.frame import Intrinsics

TURNED = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)


@pytest.fixture(scope="module")
def scene() -> scene_of.Scene:
    return scene_of.build()


@pytest.fixture(scope="module")
def views(scene: scene_of.Scene) -> list[View]:
    k = Intrinsics.from_fov(200, 150)
    return [scene.view(pose, k) for pose in scene_of.poses(scene, 4)]


def on_pivot(scene: scene_of.Scene) -> tuple[Mesh, np.ndarray]:
    foot = floor_centre_m(scene.thing)
    return moved(scene.thing, -foot), foot


def test_the_thing_itself_in_its_place_is_nearly_perfect(scene: scene_of.Scene, views: list[View]) -> None:
    mesh, foot = on_pivot(scene)
    exact = judged(mesh, views, rigid(np.eye(3), foot))
    assert exact.agreement.mask_iou > 0.98
    assert exact.agreement.depth_error_m is not None
    assert exact.agreement.depth_error_m < 1e-4
    off = judged(mesh, views, rigid(np.eye(3), foot + np.array([0.05, 0.0, 0.0])))
    assert off.score < exact.score - 0.1


def test_what_knows_no_place_is_set_down_turned_and_sized(scene: scene_of.Scene, views: list[View]) -> None:
    mesh, foot = on_pivot(scene)
    strange = replace(mesh, vertices_m=scaled(mesh, 3.0).vertices_m @ TURNED)
    found = judged(strange, views)
    assert found.scale == pytest.approx(1 / 3, rel=0.03)
    assert found.world_from_mesh is not None
    assert found.world_from_mesh[:3, 3] == pytest.approx(foot, abs=0.008)
    assert found.world_from_mesh[:3, :3] @ TURNED.T == pytest.approx(np.eye(3), abs=0.08)
    cube = judged(solid.box(0.3, 0.3, 0.3), views)
    assert found.score > cube.score + 0.15


def test_by_one_photo_the_right_thing_beats_another_from_wherever_it_was_taken() -> None:
    k = Intrinsics.from_fov(160, 120)
    chair = solid.box(0.4, 0.45, 0.4)
    plank = solid.box(0.1, 0.5, 0.02)
    red = {thing: replace(mesh, rgb=np.tile(np.uint8([200, 40, 40]), (len(mesh.vertices_m), 1)))
           for thing, mesh in (("chair", chair), ("plank", plank))}  # fmt: skip
    rgb, depth_m = picture(red["plank"], look_at([0.9, 0.5, 0.6], [0.0, 0.25, 0.0]), k)
    right, wrong = (judged_by_photo(red[thing], rgb, depth_m > 0) for thing in ("plank", "chair"))
    assert right.agreement.mask_iou > 0.9
    assert right.score > wrong.score + 0.1
    assert right.world_from_mesh is None


def test_pictures_without_depth_tell_no_place(scene: scene_of.Scene, views: list[View]) -> None:
    flat = [replace(view, depth_m=None) for view in views]
    mesh, foot = on_pivot(scene)
    with pytest.raises(NothingThere):
        judged(mesh, flat)
    known = judged(mesh, flat, rigid(np.eye(3), foot))
    assert known.agreement.depth_error_m is None
    assert known.score == pytest.approx(2 / 3, abs=0.01), (
        "its outline, which counts twice, is perfect; it has no colours"
    )
    with pytest.raises(ValueError):
        judged(mesh, [replace(views[0], mask=None)], rigid(np.eye(3), foot))


def test_what_lies_flat_or_is_not_outlined_is_said_to_be_so(scene: scene_of.Scene, views: list[View]) -> None:
    flat = replace(scene.thing, vertices_m=scene.thing.vertices_m * [1.0, 0.0, 1.0])
    with pytest.raises(MeshError, match="flat"):
        judged(flat, views)
    with pytest.raises(ValueError, match="mask"):
        judged(scene.thing, [views[0], replace(views[1], mask=None)])


def test_the_square_around_a_thing_has_it_in_its_middle() -> None:
    rgb = np.zeros((40, 60, 3), np.uint8)
    mask = np.zeros((40, 60), np.bool_)
    rgb[10:14, 50:60], mask[10:14, 50:60] = 9, True
    part, inside = squared(rgb, mask, 0.2)
    assert part.shape == (14, 14, 3)
    assert inside[5:9, 2:12].all()
    assert inside.sum() == mask.sum()
    assert (part[inside] == 9).all()
