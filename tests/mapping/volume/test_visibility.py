"""Lines of sight against worlds whose answer is known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.sdf_world import Box, SdfWorld, room
from mapping.changes import VoxelWindow
from mapping.transforms import look_at
from mapping.volume.visibility import Config, DepthView, line_of_sight
from streams.frame import Intrinsics

WALL = Box((2.0, 0.0, -3.0), (2.2, 2.5, 3.0))
EYE = np.array([0.5, 1.5, 0.0])
BEHIND = np.array([4.0, 1.5, 0.0])


def view(eye: NDArray[np.float64], at: NDArray[np.float64], depth_m: float) -> DepthView:
    """A camera that measured the same depth in every pixel."""
    k = Intrinsics(60.0, 60.0, 40.0, 30.0, 80, 60)
    return DepthView(look_at(eye, at), k, np.full((60, 80), depth_m, np.float16))


def test_a_wall_between_blocks_and_says_where() -> None:
    sight = line_of_sight(SdfWorld([WALL]), EYE, BEHIND)
    assert sight.verdict == "occluded"
    assert sight.blocker_m == pytest.approx(1.5, abs=0.01)
    assert sight.distance_m == pytest.approx(3.5)


def test_a_wall_known_from_one_side_only_blocks_from_the_other_too() -> None:
    world = SdfWorld([WALL])
    world.hidden = lambda x, y, z: x + 0 * y + 0 * z > 2.1
    back = line_of_sight(world, BEHIND, EYE)
    assert back.verdict == "occluded"
    assert back.blocker_m == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("aim", [(2.0, 1.5, 0.0), (2.0, 0.2, -2.0), (2.0, 2.2, 2.5)])
def test_what_lies_on_a_surface_is_not_hidden_by_it(aim: tuple[float, float, float]) -> None:
    eye, target = EYE, np.array(aim)
    sight = line_of_sight(SdfWorld([WALL]), eye, target, [view(eye, target, float(np.linalg.norm(target - eye)))])
    assert sight.verdict == "visible"


def test_space_that_nobody_saw_is_unknown_until_a_camera_looked_through_it() -> None:
    world = SdfWorld([WALL])
    target = np.array([0.5, 1.5, 2.5])
    alone = line_of_sight(world, EYE, target)
    assert alone.verdict == "unknown"
    assert alone.blocker_m is None
    assert alone.unknown_m == pytest.approx(2.5, abs=0.2)
    assert line_of_sight(world, EYE, target, [view(EYE, target, 4.0)]).verdict == "visible"
    half = line_of_sight(world, EYE, target, [view(EYE, target, 1.5)])
    assert half.verdict == "unknown"
    assert half.unknown_m == pytest.approx(2.5 - 1.5 * 0.95, abs=0.12)
    beside = view(EYE, EYE - (target - EYE), 4.0)
    assert line_of_sight(world, EYE, target, [beside]).unknown_m == alone.unknown_m
    no_depth = view(EYE, target, 0.0)
    assert line_of_sight(world, EYE, target, [no_depth]).unknown_m == alone.unknown_m


def test_a_view_never_overrules_a_surface() -> None:
    sight = line_of_sight(SdfWorld([WALL]), EYE, BEHIND, [view(EYE, BEHIND, 5.0)])
    assert (sight.verdict, sight.unknown_m) == ("occluded", 0.0)


def test_a_hole_in_what_was_seen_is_unknown_even_with_solid_around_it() -> None:
    world = SdfWorld([WALL])
    world.hidden = lambda x, y, z: (np.abs(y - 1.5) < 0.3) & (np.abs(z) < 0.3) & (x > 0)
    assert line_of_sight(world, EYE, BEHIND).verdict == "unknown"


def test_nan_voxels_are_unknown() -> None:
    def spoil(tsdf_m: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
        tsdf_m[weight > 0] = np.nan

    world = SdfWorld([WALL])
    world.spoil = spoil
    assert line_of_sight(world, EYE, BEHIND).verdict == "unknown"


class AllKnown:
    """A world whose free space is known everywhere, as if cameras had been in every corner."""

    voxel_size_m, truncation_m = 0.05, 0.2

    def __init__(self, world: SdfWorld) -> None:
        self._world = world

    def block_keys(self) -> NDArray[np.int32]:
        return self._world.block_keys()

    def window(self, origin_voxel: tuple[int, int, int], shape: tuple[int, int, int]) -> VoxelWindow:
        window = self._world.window(origin_voxel, shape)
        return VoxelWindow(origin_voxel, window.tsdf_m, np.ones_like(window.weight), window.rgb)


def test_agrees_with_the_exact_distance_everywhere_in_a_furnished_room() -> None:
    """Lines that keep clear of solids are visible; lines that pass well through one are occluded, at its face."""
    world = SdfWorld([*room(), Box((1.0, 0.0, 1.0), (1.8, 0.75, 2.0)), Box((4.0, 0.0, 4.0), (4.6, 1.8, 4.6))])
    source = AllKnown(world)
    rng = np.random.default_rng(4)
    told: dict[str, int] = {"visible": 0, "occluded": 0}
    for eye, target in rng.uniform([0.2, 0.2, 0.2], [5.8, 2.3, 5.8], (400, 2, 3)):
        along = np.linspace(0, 1, 2000)[:, None]
        points = (eye + along * (target - eye)).astype(np.float32)
        exact_m = np.min([shape.distance(*points.T) for shape in world.shapes], axis=0)
        if min(exact_m[0], exact_m[-1]) < 0.12 or -0.06 < exact_m.min() < 0.03:
            continue
        sight = line_of_sight(source, eye, target)
        expected = "occluded" if exact_m.min() < 0 else "visible"
        assert sight.verdict == expected
        told[expected] += 1
        if sight.blocker_m is not None:
            length_m = float(np.linalg.norm(target - eye))
            at = np.abs(along[:, 0] * length_m - sight.blocker_m).argmin()
            assert abs(exact_m[at]) < 0.03
    assert min(told.values()) > 80


@pytest.mark.parametrize("bad", [(np.nan, 0, 0), (0, 0), (np.inf, 0, 0)])
def test_points_that_are_none_are_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="three finite numbers"):
        line_of_sight(SdfWorld([WALL]), np.array(bad), BEHIND)


def test_lines_beyond_the_limit_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 3 m"):
        line_of_sight(SdfWorld([WALL]), EYE, BEHIND, config=Config(max_distance_m=3.0))


def test_a_point_sees_itself() -> None:
    sight = line_of_sight(SdfWorld([WALL]), EYE, EYE)
    assert (sight.verdict, sight.distance_m, sight.unknown_m) == ("visible", 0.0, 0.0)
