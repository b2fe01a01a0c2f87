"""Single pictures found in a map: with a lens that is known, guessed, or stated wrongly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mapping.places.locating import Located, PlaceInWorld
from mapping.places.place import Place
from mapping.places.recogniser import Recogniser
from mapping.transforms import F64, Sim3, angle_between
from tests.mapping.painted_room import PaintedRoom
from tests.mapping.places.filming import CAMERA, Phone, film, walk


@pytest.fixture(scope="module")
def room() -> PaintedRoom:
    return PaintedRoom()


@pytest.fixture(scope="module")
def phone(room: PaintedRoom) -> Phone:
    return Phone("a", room)


@pytest.fixture(scope="module")
def mapped(phone: Phone) -> Recogniser:
    recogniser = Recogniser()
    film(recogniser, phone, walk(4))
    return recogniser


@pytest.fixture(scope="module")
def in_room(phone: Phone) -> PlaceInWorld:
    room_from_component = phone.component_from_room.inverse()
    return lambda place: room_from_component @ Sim3.from_rigid(place.component_from_camera)


@pytest.fixture(scope="module")
def truth() -> F64:
    return walk(1, start=0.22)[0]


def _off_m(found: Located, truth: F64) -> float:
    return float(np.linalg.norm(found.world_from_camera[:3, 3] - truth[:3, 3]))


def test_a_single_picture_is_found_in_a_map_of_several_phones(room: PaintedRoom) -> None:
    recogniser = Recogniser()
    phones = [Phone("a", room, unit_m=0.4), Phone("b", room, unit_m=2.0, seed=1)]
    film(recogniser, phones[0], walk(3))
    film(recogniser, phones[1], walk(3, start=0.3))
    room_from_component = {p.stream: p.component_from_room.inverse() for p in phones}

    def in_room(place: Place) -> Sim3 | None:
        return room_from_component[place.component[0]] @ Sim3.from_rigid(place.component_from_camera)

    truth = walk(1, start=0.22)[0]
    found = recogniser.locate(room.render(truth, CAMERA), CAMERA, in_room)
    assert isinstance(found, Located)
    assert found.share > 0.5
    assert found.newest_ns == max(place.capture_ns for place in recogniser.places())
    assert np.linalg.norm(found.world_from_camera[:3, 3] - truth[:3, 3]) < 0.02
    assert np.degrees(angle_between(found.world_from_camera[:3, :3], truth[:3, :3])) < 0.5
    assert recogniser.locate(PaintedRoom(8).render(truth, CAMERA), CAMERA, in_room) == "not_recognised"
    assert recogniser.locate(np.full((240, 320), 250, np.uint8), CAMERA, in_room) == "too_plain"
    assert recogniser.locate(room.render(truth, CAMERA), CAMERA, lambda place: None) == "nothing_mapped"


@pytest.mark.parametrize("error", [0.65, 0.75, 0.93, 1.2, 1.55])
@pytest.mark.parametrize("is_focal_guess", [True, False])
def test_a_focal_length_that_is_guessed_or_stated_wrongly_is_found_out(
    room: PaintedRoom, in_room: PlaceInWorld, mapped: Recogniser, truth: F64, error: float, is_focal_guess: bool
) -> None:
    wrong = replace(CAMERA, fx=CAMERA.fx * error, fy=CAMERA.fy * error)
    found = mapped.locate(room.render(truth, CAMERA), wrong, in_room, is_focal_guess=is_focal_guess)
    assert isinstance(found, Located)
    assert found.is_lens_refuted is not is_focal_guess
    assert abs(found.zoom * error - 1) < 0.04
    assert _off_m(found, truth) < 0.06


@pytest.mark.parametrize("error", [0.985, 1.0, 1.015])
def test_a_lens_that_is_about_right_is_let_stand(
    room: PaintedRoom, in_room: PlaceInWorld, mapped: Recogniser, truth: F64, error: float
) -> None:
    stated = replace(CAMERA, fx=CAMERA.fx * error, fy=CAMERA.fy * error)
    found = mapped.locate(room.render(truth, CAMERA), stated, in_room)
    assert isinstance(found, Located)
    assert (found.is_lens_refuted, found.zoom) == (False, 1.0)
    assert _off_m(found, truth) < 0.06


def test_no_lens_makes_another_room_look_like_this_one(in_room: PlaceInWorld, mapped: Recogniser, truth: F64) -> None:
    for seed in range(8, 12):
        elsewhere = PaintedRoom(seed).render(truth, CAMERA)
        assert mapped.locate(elsewhere, CAMERA, in_room) == "not_recognised"
        assert mapped.locate(elsewhere, CAMERA, in_room, is_focal_guess=True) == "not_recognised"
