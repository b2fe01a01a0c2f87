from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.generation.formats import READERS, ktx2_psnr_db, round_trips
from mapping.objects import glb
from mapping.objects.decimation import decimated
from mapping.objects.mesh import Material, Mesh
from tests.mapping.objects.shapes import ball, checkered_cube

ONE_COLOUR = {"dxf", "step"}


def many_coloured() -> Mesh:
    mesh = decimated(ball(), 400)
    return replace(mesh, rgb=(255 * mesh.vertices_m / mesh.bounds_m()[1] % 256).astype(np.uint8))


class TestRoundTrips:
    """What comes back of every format: the issue's row of them."""

    @pytest.fixture(
        scope="class",
        params=[checkered_cube(), replace(decimated(ball(), 400), material=Material((200, 36, 32))), many_coloured()],
        ids=["cube with a picture", "red ball", "many-coloured ball"],
    )
    def kept(self, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
        self.mesh: Mesh = request.param
        return round_trips(request.param)

    def test_every_format_is_there(self, kept: dict[str, dict[str, Any]]) -> None:
        assert set(kept) == set(READERS) == {"glb", "ply", "obj", "stl", "dxf", "step", "usdz"}

    def test_shapes_are_the_same(self, kept: dict[str, dict[str, Any]]) -> None:
        for suffix, one in kept.items():
            assert one["bounds_off_m"] < 1e-6, suffix
            assert one["volume_off"] < 1e-4, suffix

    def test_colours_are_kept_where_there_is_a_place_for_them(self, kept: dict[str, dict[str, Any]]) -> None:
        assert kept.pop("stl")["colour_off"] is None
        for suffix, one in kept.items():
            assert one["colour_off"] < (1.5 if suffix in ONE_COLOUR else 0.6), suffix

    def test_readers_object_to_nothing(self, kept: dict[str, dict[str, Any]]) -> None:
        assert not any(one["problems"] for one in kept.values())


def test_what_is_thinned_out_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapping.objects.formats.step.MAX_FACES", 60)
    kept = round_trips(decimated(ball(), 400))
    assert kept["stl"]["volume_off"] < 1e-4 < 0.02 < kept["step"]["volume_off"]


def test_glbs_are_read_by_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def ours(data: bytes) -> Mesh:
        raise AssertionError("the authority would judge itself")

    monkeypatch.setattr("mapping.objects.glb.decode", ours)
    assert READERS["glb"](glb.encode(checkered_cube())).rgb is not None


def test_a_wrong_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = READERS["stl"]
    monkeypatch.setitem(READERS, "stl", lambda data: replace(right(data), vertices_m=right(data).vertices_m * 1.01))
    off = round_trips(checkered_cube())["stl"]
    assert off["bounds_off_m"] > 1e-3
    assert off["volume_off"] > 0.02


def test_pictures_stay_near() -> None:
    assert ktx2_psnr_db(checkered_cube()) > 60
