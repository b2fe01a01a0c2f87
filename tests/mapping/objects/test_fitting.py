"""A thing that is nearly in its place is put there; the search is the same each time, and can be given up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import capture as scene_of
from mapping.objects import fitting
from mapping.objects.fitting import Fit, fitted
from mapping.objects.mesh import F64, Mesh, floor_centre_m, moved
from mapping.objects.view import View
from mapping.transforms import exp_so3, rigid
from streams.frame import Intrinsics

FEW = fitting.Config(rounds=(fitting.Round(picture_px=32, turn_deg=5.0, grow=0.05, shift=0.05, max_drawings=12),))


@pytest.fixture(scope="module")
def scene() -> scene_of.Scene:
    return scene_of.build()


@pytest.fixture(scope="module")
def views(scene: scene_of.Scene) -> list[View]:
    k = Intrinsics.from_fov(259, 196)
    exact = [scene.view(pose, k) for pose in scene_of.poses(scene, 5)]
    return scene_of.noisy(exact, 0, scene_of.DEPTH_NOISE_M)


@pytest.fixture(scope="module")
def thing(scene: scene_of.Scene) -> tuple[Mesh, F64]:
    """On its pivot, and where that stands."""
    foot = floor_centre_m(scene.thing)
    return moved(scene.thing, -foot), foot


def turn(yaw_deg: float) -> F64:
    return exp_so3(np.array([0.0, np.radians(yaw_deg), 0.0]))


@pytest.mark.parametrize(("yaw_deg", "scale", "way"), [(15.0, 1.1, (0.6, 0.0, 0.8)), (-15.0, 0.9, (0.0, 0.8, -0.6))])
def test_what_is_turned_grown_and_shifted_is_put_back(
    thing: tuple[Mesh, F64], views: list[View], yaw_deg: float, scale: float, way: tuple[float, float, float]
) -> None:
    mesh, foot = thing
    found = fitted(mesh, views, Fit(scale, rigid(turn(yaw_deg), foot + 0.05 * np.array(way))))
    assert found.scale == pytest.approx(1.0, rel=0.02)
    assert found.world_from_mesh[:3, :3] == pytest.approx(np.eye(3), abs=np.radians(1.5))
    assert found.world_from_mesh[:3, 3] == pytest.approx(foot, abs=0.008)


def test_outline_and_depth_are_enough(thing: tuple[Mesh, F64], views: list[View]) -> None:
    mesh, foot = thing
    grey = [replace(view, rgb=np.full_like(view.rgb, 128)) for view in views]
    found = fitted(mesh, grey, Fit(1.0, rigid(turn(10.0), foot)))
    assert found.world_from_mesh[:3, :3] == pytest.approx(np.eye(3), abs=np.radians(1.5))


def test_the_search_is_the_same_each_time_says_how_far_it_is_and_can_be_given_up(
    thing: tuple[Mesh, F64], views: list[View]
) -> None:
    mesh, foot = thing
    start, told = Fit(1.05, rigid(turn(4.0), foot)), list[float]()
    first, again = fitted(mesh, views, start, FEW, told.append), fitted(mesh, views, start, FEW)
    assert first.scale == again.scale
    assert (first.world_from_mesh == again.world_from_mesh).all()
    assert told == sorted(told)
    assert len(told) >= 12
    assert told[-1] == 1.0

    class Enough(BaseException): ...

    def stop(share: float) -> None:
        if share >= 0.5:
            raise Enough

    with pytest.raises(Enough):
        fitted(mesh, views, start, FEW, stop)
