"""A stand-in has the thing's height and place, and faces whoever saw it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import capture as scene_of
from mapping.objects.capture.region import Click, NothingThere
from mapping.objects.capture.standin import stand_in
from mapping.transforms import invert, project
from streams.frame import Intrinsics

K = Intrinsics.from_fov(260, 196)


def test_it_stands_where_the_thing_is_and_faces_the_camera() -> None:
    scene = scene_of.build()
    low, high = scene.thing.bounds_m()
    middle = (low + high) / 2
    poses = scene_of.poses(scene, 6)
    views = [replace(scene.view(pose, K), mask=None) for pose in poses]
    for number, pose in enumerate(poses):
        u, v = project((invert(pose) @ np.append(middle, 1.0))[None, :3], K)[0]
        mesh, world_from_mesh = stand_in(views, Click(number, float(u), float(v)))
        assert np.abs(world_from_mesh[:3, 3] - [middle[0], low[1], middle[2]]).max() < 0.2
        assert mesh.extents_m()[1] == pytest.approx(high[1] - low[1], rel=0.35)
        front, towards = world_from_mesh[:3, 2], pose[:3, 3] - world_from_mesh[:3, 3]
        assert front @ towards / np.hypot(towards[0], towards[2]) > 0.999
        assert world_from_mesh[:3, 1] == pytest.approx([0, 1, 0])


def test_bare_floor_has_none() -> None:
    scene = scene_of.build()
    view = replace(scene.view(scene_of.poses(scene, 1)[0], K), mask=None)
    with pytest.raises(NothingThere):
        stand_in([view], Click(0, 10, 180))
