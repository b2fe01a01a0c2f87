"""Places found again: pairs verified, several of them believed, one never; rooms and pictures of rooms told apart."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mapping.changes import KeyframeId
from mapping.kept import ComponentKey
from mapping.places.agreement import Agreed, Seen, agree
from mapping.places.features import detect
from mapping.places.place import place_of
from mapping.places.recogniser import Config, Recogniser
from mapping.places.storing import from_stored, to_stored
from mapping.places.verification import verify
from mapping.store.records import StoredPlace, decode, encode
from mapping.transforms import F64, Sim3, invert, look_at, rigid
from streams.frame import GivenPose
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import CAMERA, Phone, film, turned_about, walk


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    return PaintedRoom()


def believed(seen: list[Seen], recogniser: Recogniser) -> Agreed | None:
    poses = {place.keyframe: place.component_from_camera for place in recogniser.places()}

    def pose_of(keyframe: KeyframeId, _: ComponentKey) -> F64 | None:
        return poses.get(keyframe)

    return agree(seen, pose_of)


def test_two_sights_of_one_place_give_the_similarity_between_their_cameras(room: PaintedRoom) -> None:
    near, far = Phone("a", room, unit_m=0.4), Phone("b", room, unit_m=2.5, seed=1)
    poses = walk(1)[0], walk(1, start=0.25)[0]
    a, b = place_of(*near.sees(poses[0])), place_of(*far.sees(poses[1]))
    assert a is not None
    assert b is not None
    pair = verify(a.features, b.features)
    assert pair is not None
    assert pair.num_inliers > 60
    b_from_a = Sim3.from_rigid(invert(poses[1]), 1.0) @ Sim3.from_rigid(poses[0])
    metric = Sim3(1 / 2.5, np.eye(3), np.zeros(3)) @ b_from_a @ Sim3(0.4, np.eye(3), np.zeros(3))
    shift, angle_deg, stretch = turned_about(pair.b_from_a, metric)
    assert (shift < 0.02, angle_deg < 0.5, stretch < 0.02) == (True, True, True)
    shift, angle_deg, stretch = turned_about(pair.swapped().b_from_a, metric.inverse())
    assert (angle_deg < 0.5, stretch < 0.02) == (True, True)


def test_phones_in_one_room_are_tied_by_several_pairs(room: PaintedRoom) -> None:
    recogniser = Recogniser()
    a, b = Phone("a", room, unit_m=0.4), Phone("b", room, unit_m=2.0, seed=1)
    assert film(recogniser, a, walk(5)) == []
    seen = film(recogniser, b, walk(3, start=0.15))
    agreed = believed(seen, recogniser)
    assert agreed is not None
    a_from_b = a.component_from_room @ b.component_from_room.inverse()
    shift, angle_deg, stretch = turned_about(agreed.b_from_a, a_from_b)
    assert (shift < 0.01 / 0.4, angle_deg < 0.3, stretch < 0.01) == (True, True, True)


def test_one_pair_ties_nothing_however_often_it_is_seen(room: PaintedRoom) -> None:
    recogniser = Recogniser()
    film(recogniser, Phone("a", room), walk(1))
    seen = film(recogniser, Phone("b", room, seed=1), walk(1, start=0.1))
    assert seen
    assert believed(seen * 5, recogniser) is None
    seen += film(recogniser, Phone("b", room, seed=1), walk(6, start=0.1, step=0.0))
    assert believed(seen, recogniser) is None, "a phone that rests says the same thing again and again"


def test_a_pair_is_looked_at_again_when_landmarks_are_known_better(room: PaintedRoom) -> None:
    """The first picture's landmarks come a tenth too far away; the next one's are right."""
    recogniser, a, b = Recogniser(), Phone("a", room), Phone("b", room, seed=1)
    film(recogniser, a, walk(4))
    tracked, frame = b.sees(walk(1, start=0.1)[0])
    assert tracked.component_from_camera is not None
    assert tracked.landmarks_component is not None
    centre = tracked.component_from_camera[:3, 3]
    farther = (centre + 1.1 * (tracked.landmarks_component - centre)).astype(np.float32)
    first = recogniser.see(replace(tracked, landmarks_component=farther), frame)
    again = {(seen.a, seen.b): seen for seen in film(recogniser, b, walk(2, start=0.12, step=0.02))}
    assert first
    grown = [again[seen.a, seen.b].pair.b_from_a.scale / seen.pair.b_from_a.scale for seen in first]
    assert np.median(grown) == pytest.approx(1.1, abs=0.03)


def test_other_rooms_have_nothing_in_common() -> None:
    recogniser = Recogniser()
    for seed in range(4):
        assert film(recogniser, Phone(f"phone {seed}", PaintedRoom(10 + seed), seed=seed), walk(4)) == []


def test_a_screen_that_shows_another_place_ties_nothing(room: PaintedRoom) -> None:
    """The picture is recognised, and its flatness is what tells it from the place."""
    recogniser = Recogniser()
    a, b = Phone("a", room), Phone("b", PaintedRoom(9), seed=1)
    film(recogniser, a, walk(5))
    photo = room.render(walk(1, start=0.15)[0], CAMERA)
    seen = []
    for x in (-0.2, 0.0, 0.1, 0.2):
        camera = look_at([x, 1.0, 0.2], [0.0, 1.0, 1.6])
        gray, depth = _screen(photo, camera)
        seen += recogniser.see(*b.shows(gray, depth, camera))
    assert believed(seen, recogniser) is None
    facing = rigid(np.eye(3), [0.0, 0.0, 0.0])
    for x in (-0.1, -0.05, 0.0, 0.05, 0.1):
        camera = facing.copy()
        camera[0, 3] = x
        gray, depth = _screen(photo, camera, plane=rigid(np.eye(3), [0.0, 0.0, 1.4]))
        seen += recogniser.see(*b.shows(gray, depth, camera))
    assert believed(seen, recogniser) is None


def _screen(photo: np.ndarray, room_from_camera: F64, plane: F64 | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What a camera sees of a photo 1.6 m wide that hangs before it, and how far the photo is."""
    room_from_photo = rigid(np.diag([-1.0, -1.0, 1.0]), [0.0, 1.0, 1.6]) if plane is None else plane
    camera_from_photo = invert(room_from_camera) @ room_from_photo
    k = CAMERA.matrix()
    metres_from_pixel = np.array([[1.6 / 320, 0, -0.8], [0, 1.6 / 320, -0.6], [0, 0, 1.0]])
    pixels_from_photo = k @ camera_from_photo[:3, [0, 1, 3]] @ metres_from_pixel
    gray = cv2.warpPerspective(photo, pixels_from_photo, (320, 240))
    normal, distance = camera_from_photo[:3, 2], camera_from_photo[:3, 2] @ camera_from_photo[:3, 3]
    u, v = np.meshgrid(np.arange(320) + 0.5, np.arange(240) + 0.5)
    rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], axis=-1)
    return np.asarray(gray, np.uint8), (distance / (rays @ normal)).astype(np.float32)


def test_a_white_wall_a_black_frame_and_a_tiny_one_are_no_places() -> None:
    recogniser, phone = Recogniser(), Phone("a", PaintedRoom())
    for gray in (np.full((240, 320), 250, np.uint8), np.zeros((240, 320), np.uint8)):
        assert recogniser.see(*phone.shows(gray, np.ones((240, 320), np.float32), np.eye(4))) == []
    assert len(recogniser) == 0
    assert len(detect(np.zeros((1, 1), np.uint8), CAMERA.scaled(1, 1)).descriptors) == 0


def test_how_sure_a_phone_is_of_its_lens_is_remembered_across_a_restart(room: PaintedRoom) -> None:
    tracked, frame = Phone("a", room).sees(walk(1)[0])
    calibrated = replace(frame, pose=GivenPose(np.eye(4)))
    sigmas = []
    for filmed in (calibrated, frame, replace(frame, intrinsics=None)):
        place = place_of(tracked, filmed)
        assert place is not None
        record = decode(encode(to_stored(place, Sim3.identity())))
        assert isinstance(record, StoredPlace)
        (again,) = from_stored([record], {place.component: Sim3.identity()})
        assert again.features.focal_sigma == place.features.focal_sigma
        sigmas.append(again.features.focal_sigma)
    assert sigmas[0] < 0.2 * sigmas[1] < 0.2 * sigmas[2]


def test_what_is_remembered_is_bounded_and_forgotten_on_demand(room: PaintedRoom) -> None:
    recogniser = Recogniser(Config(max_places=6, refreshed=2))
    a, b = Phone("a", room), Phone("b", room, seed=1)
    film(recogniser, a, walk(8))
    film(recogniser, b, walk(3))
    assert len(recogniser) == 6
    assert recogniser.nbytes < 6 * 150_000
    recogniser.forget(a.stream)
    assert {place.component[0] for place in recogniser.places()} == {b.stream}
    assert film(recogniser, b, walk(1)) == []


def test_who_met_somebody_that_was_forgotten_looks_for_company_again(room: PaintedRoom) -> None:
    recogniser = Recogniser(Config(enough=3, candidates_known=0, looked_at_again=0))
    a, b, c = (Phone(name, room, seed=k) for k, name in enumerate("abc"))
    film(recogniser, a, walk(4))
    assert film(recogniser, b, walk(4, start=0.1))
    other_side = [np.diag([-1.0, 1.0, -1.0, 1.0]) @ pose for pose in walk(5)]
    film(recogniser, c, other_side[:3])
    assert film(recogniser, b, other_side[3:4]) == []
    recogniser.forget(a.stream)
    assert film(recogniser, b, other_side[4:])
