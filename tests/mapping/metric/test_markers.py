"""Printed markers: found where they hang, refused where they are ambiguous, two phones in one frame."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pydantic
import pytest
from numpy.typing import NDArray

from mapping.metric import markers
from mapping.metric.markers import Config, MarkerFinder
from mapping.transforms import F64, Sim3, angle_between, exp_so3, invert, look_at, project, rigid
from streams.frame import Intrinsics

K = Intrinsics.from_fov(640, 480)
SIZE_M = 0.16


def photo(camera_from_marker: F64, marker: int = 7, k: Intrinsics = K, num_wrong: int = 0) -> NDArray[np.uint8]:
    """What a camera sees of a marker, some of its cells misprinted, on a gray wall."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    side = 400
    cells = cv2.aruco.generateImageMarker(dictionary, marker, 8)
    cells[2, 2 : 2 + num_wrong] = 255 - cells[2, 2 : 2 + num_wrong]
    drawing = cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST)
    sheet = cv2.copyMakeBorder(drawing, 50, 50, 50, 50, cv2.BORDER_CONSTANT, value=255)
    half = SIZE_M / 2 * (side + 100) / side
    corners = np.array([[-half, half, 0], [half, half, 0], [half, -half, 0], [-half, -half, 0]])
    seen = project(corners @ camera_from_marker[:3, :3].T + camera_from_marker[:3, 3], k) - 0.5
    edge = side + 100 - 0.5
    drawn = np.array([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]], np.float32)
    warp = cv2.getPerspectiveTransform(drawn, seen.astype(np.float32))
    big = cv2.warpPerspective(
        sheet, np.diag([2.0, 2.0, 1.0]) @ warp, (2 * k.width, 2 * k.height), flags=cv2.INTER_AREA,
        borderMode=cv2.BORDER_CONSTANT, borderValue=140,
    )  # fmt: skip
    return np.asarray(cv2.resize(big, (k.width, k.height), interpolation=cv2.INTER_AREA), np.uint8)


def camera_at(eye: tuple[float, float, float]) -> F64:
    """camera_from_marker of a camera that looks past the marker's middle."""
    return invert(look_at(eye, [0.05, 0.02, 0.0]))


def test_finds_a_marker_where_it_hangs() -> None:
    truth = camera_at((0.5, 0.3, 0.9))
    (sighting,) = MarkerFinder(Config(size_m=SIZE_M)).find(photo(truth), K)
    assert sighting.marker == 7
    assert np.linalg.norm(sighting.camera_from_marker[:3, 3] - truth[:3, 3]) < 0.015
    assert angle_between(sighting.camera_from_marker[:3, :3], truth[:3, :3]) < np.radians(2)
    assert sighting.error_px < 0.6


def test_says_nothing_where_there_is_nothing() -> None:
    finder = MarkerFinder(Config(size_m=SIZE_M))
    assert finder.find(np.full((480, 640), 90, np.uint8), K) == []
    assert finder.find(photo(camera_at((0.3, 0.3, 6.0))), K) == [], "too small to be exact"


def test_a_straight_look_fits_two_poses_and_is_refused() -> None:
    assert MarkerFinder(Config(size_m=SIZE_M, min_ambiguity=50)).find(photo(camera_at((0.02, 0.0, 1.2))), K) == []


def test_only_markers_of_ours_are_believed() -> None:
    """Others may have any size: a robot's, or one of an exhibition."""
    foreign = photo(camera_at((0.5, 0.3, 0.9)), marker=17)
    assert MarkerFinder(Config(size_m=SIZE_M)).find(foreign, K) == []
    (sighting,) = MarkerFinder(Config(size_m=SIZE_M, ids=())).find(foreign, K)
    assert sighting.marker == 17


def test_noise_and_a_marker_with_two_wrong_cells_are_no_marker() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)
    finder = MarkerFinder(Config(size_m=SIZE_M, ids=()))
    assert finder.find(noise, K) == []
    seen = [len(finder.find(photo(camera_at((0.5, 0.3, 0.9)), num_wrong=num), K)) for num in (0, 1, 2)]
    assert seen == [1, 1, 0]


def test_unknown_dictionaries_are_named() -> None:
    assert MarkerFinder(Config(dictionary="aruco_4x4_50")).find(np.zeros((48, 64), np.uint8), K) == []
    with pytest.raises(pydantic.ValidationError, match="apriltag_36h11"):
        Config(dictionary="qr")


def sightings(
    marker_from_component: Sim3, eyes: list[tuple[float, float, float]]
) -> list[tuple[F64, markers.Sighting]]:
    finder = MarkerFinder(Config(size_m=SIZE_M))
    component_from_marker = marker_from_component.inverse()
    pairs = []
    for eye in eyes:
        truth = camera_at(eye)
        (sighting,) = finder.find(photo(truth), K)
        pairs.append((component_from_marker.apply_pose(invert(truth)), sighting))
    return pairs


def test_several_sightings_place_a_component_with_its_scale() -> None:
    truth = Sim3(3.2, exp_so3(np.array([0.3, -0.8, 0.4])), np.array([1.0, -2.0, 0.5]))
    placed = markers.place(sightings(truth, [(0.6, 0.3, 0.9), (0.3, 0.4, 1.1), (-0.4, 0.3, 0.9), (-0.6, 0.1, 0.8)]))
    assert placed is not None
    assert placed.marker_from_component.scale == pytest.approx(3.2, rel=0.02)
    assert abs(placed.marker_from_component.scale / 3.2 - 1) < 3 * placed.sigma
    assert angle_between(placed.marker_from_component.rotation, truth.rotation) < np.radians(1.5)
    in_component = np.array([0.1, 0.2, 0.3])
    off_m = np.linalg.norm(placed.marker_from_component.apply(in_component) - truth.apply(in_component))
    assert off_m < 0.03


def test_looks_from_one_place_do_not_suffice() -> None:
    truth = Sim3.identity()
    assert markers.place(sightings(truth, [(0.6, 0.3, 0.9)])) is None
    assert markers.place(sightings(truth, [(0.6, 0.3, 0.9), (0.61, 0.3, 0.9)])) is None


EYES = [(0.6, 0.3, 0.9), (0.3, 0.4, 1.1), (-0.4, 0.3, 0.9), (-0.6, 0.1, 0.8)]


def moved(camera_from_marker: F64, aside_m: tuple[float, float, float]) -> F64:
    """The same marker hung elsewhere on its wall."""
    pose = camera_from_marker.copy()
    pose[:3, 3] += pose[:3, :3] @ np.array(aside_m)
    return pose


def two_prints(camera_from_marker: F64, aside_m: float = 0.3) -> NDArray[np.uint8]:
    """A second print of the same marker beside the first."""
    first, second = photo(camera_from_marker), photo(moved(camera_from_marker, (aside_m, 0.0, 0.0)))
    return np.where(second == 140, first, second)


def test_an_id_seen_twice_in_one_picture_is_not_believed_until_one_print_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    finder = MarkerFinder(Config(size_m=SIZE_M))
    camera = camera_at((0.7, 0.3, 1.1))
    assert len(finder.find(photo(camera), K)) == 1
    with caplog.at_level(logging.WARNING):
        assert [finder.find(two_prints(camera), K) for _ in range(3)] == [[], [], []]
    assert ["marker 7 hangs twice" in record.getMessage() for record in caplog.records] == [True], "said once"
    assert finder.find(photo(camera), K) == [], "which of the two is it?"
    assert [s.marker for s in finder.find(photo(camera, marker=3), K)] == [3], "the others are no worse for it"
    alone = [len(finder.find(photo(camera), K)) for _ in range(60)]
    assert alone == sorted(alone), "once believed again it stays so"
    assert alone[0] == 0
    assert alone[-1] == 1


def test_a_second_print_that_is_too_small_to_use_still_makes_the_first_ambiguous() -> None:
    finder = MarkerFinder(Config(size_m=SIZE_M, min_side_px=50))
    near = camera_at((0.5, 0.3, 0.9))
    picture = photo(near)
    far = photo(moved(camera_at((0.1, 0.1, 2.2)), (-0.6, 0.4, 0.0)))
    assert len(finder.find(picture, K)) == 1
    assert finder.find(np.where(far == 140, picture, far), K) == []


@pytest.mark.parametrize("num_eyes", [1, 2, 4])
@pytest.mark.parametrize("aside_m", [(0.5, 0.0, 0.0), (0.25, 0.1, 0.0), (1.0, 0.0, -0.3)])
def test_two_prints_seen_by_one_eye_make_no_scale(num_eyes: int, aside_m: tuple[float, float, float]) -> None:
    """Their rays meet in the camera: a square of no size at all, and so 1e13 metres a unit."""
    unit = Sim3(3.2, exp_so3(np.array([0.3, -0.8, 0.4])), np.array([1.0, -2.0, 0.5]))
    seen = []
    for camera in map(camera_at, EYES[:num_eyes]):
        component_from_camera = unit.inverse().apply_pose(invert(camera))
        prints = (camera, moved(camera, aside_m))
        seen += [(component_from_camera, markers.Sighting(7, print_, 0.1, SIZE_M)) for print_ in prints]
    assert markers.place(seen) is None


def test_two_prints_that_are_never_in_one_picture_make_the_true_scale_or_none() -> None:
    for num_first in range(len(EYES) + 1):
        seen = []
        for i, camera in enumerate(map(camera_at, EYES)):
            print_ = camera if i < num_first else moved(camera, (0.7, 0.1, 0.0))
            seen.append((invert(camera), markers.Sighting(7, print_, 0.1, SIZE_M)))
        placed = markers.place(seen)
        assert (placed is not None) or 0 < num_first < len(EYES)
        assert placed is None or placed.marker_from_component.scale == pytest.approx(1.0, rel=0.02)


def test_corners_behind_the_cameras_are_no_marker() -> None:
    """Lines that meet behind those who look along them fit as well as lines that meet in front."""
    turn = np.diag([-1.0, 1.0, -1.0, 1.0])
    half_turned = [(pose @ turn, seen) for pose, seen in sightings(Sim3.identity(), EYES)]
    assert markers.place(half_turned) is None
    backwards = [(pose @ np.diag([-1.0, -1.0, -1.0, 1.0]), seen) for pose, seen in sightings(Sim3.identity(), EYES)]
    assert markers.place(backwards) is None


def test_a_sheet_that_turned_between_two_looks_is_no_square() -> None:
    """Rays from two eyes nearly meet whatever they look at; the square that they make tells."""

    def seen(roll_deg: float) -> list[tuple[F64, markers.Sighting]]:
        turn = rigid(exp_so3(np.array([0.0, 0.0, np.radians(roll_deg)])), np.zeros(3))
        before, after = camera_at((-0.4, 0.4, 1.0)), camera_at((0.4, 0.4, 1.0))
        return [
            (invert(before), markers.Sighting(7, before, 0.1, SIZE_M)),
            (invert(after), markers.Sighting(7, after @ turn, 0.1, SIZE_M)),
        ]

    assert markers.place(seen(0.0)) is not None
    assert markers.place(seen(20.0)) is None
