"""Pointing at a thing in the live map: the keyframes that show it are chosen, and a job makes it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import capture as scene_of
from mapping.transforms import invert, project
from mapping.volume.visibility import DepthView
from server.api.contract import NotFound, Unprocessable
from server.film import MAX_VIEWS, film, pick_within
from server.generation.keyframes import Keyframes
from streams.frame import Intrinsics
from tests.server.jobs.live import live, png
from tests.server.test_rest import assert_problem

K = Intrinsics.from_fov(130, 98)
UNIT_M = 2.0
"""Depth maps of a phone whose unit is two metres."""


@pytest.fixture(scope="module")
def filmed() -> tuple[dict[str, DepthView], dict[str, NDArray[np.uint8]], NDArray[np.float64]]:
    """Depth and pictures of keyframes around a thing, one that looks away, and the thing's middle."""
    scene = scene_of.build()
    looks, pictures = {}, {}
    for i, pose in enumerate(scene_of.poses(scene, 16)):
        view = scene.view(pose, K)
        assert view.depth_m is not None
        looks[f"phone/{i}"] = DepthView(pose, K, view.depth_m / UNIT_M, UNIT_M)
        pictures[f"phone/{i}"] = np.repeat(np.repeat(view.rgb, 2, 0), 2, 1)
    first = looks["phone/0"]
    away = first.world_from_camera @ np.diag([-1.0, 1.0, -1.0, 1.0])
    looks["phone/away"] = replace(first, world_from_camera=away)
    pictures["phone/away"] = pictures["phone/0"]
    return looks, pictures, scene.thing.bounds_m().mean(0)


def pixel(look: DepthView, point: NDArray[np.float64]) -> list[float]:
    camera = (invert(look.world_from_camera) @ np.append(point, 1))[:3]
    return (2 * project(camera[None], K)[0]).tolist()  # type: ignore[no-any-return]


def test_a_click_finds_those_that_see_it_from_all_sides(filmed: Any) -> None:
    looks, pictures, middle = filmed
    click = pixel(looks["phone/3"], middle)
    chosen, params = film("main", 7, looks, pictures.get, {"keyframe": "phone/3", "click": click})
    assert (chosen.scene, chosen.epoch) == ("main", 7)
    assert "phone/3" in chosen.views
    assert "phone/away" not in chosen.views
    assert 4 <= len(chosen.views) <= MAX_VIEWS
    assert list(chosen.views) == [name for name in looks if name in chosen.views], "newest last"
    assert params["keyframe"] == "phone/3"
    assert params["click"] == pytest.approx(click), "of a picture as wide as the view"
    view = chosen.views["phone/3"]
    assert view.depth_m is not None
    assert view.rgb.shape[:2] == view.depth_m.shape == (196, 260)
    row, column = int(click[1]), int(click[0])
    distance_m = float(np.linalg.norm(looks["phone/3"].world_from_camera[:3, 3] - middle))
    assert view.depth_m[row, column] == pytest.approx(distance_m, rel=0.2), "in metres"


def test_a_point_of_the_world_becomes_a_click(filmed: Any) -> None:
    looks, pictures, middle = filmed
    chosen, params = film("main", 7, looks, pictures.get, {"point_m": middle.tolist(), "height_m": 1})
    assert "point_m" not in params
    assert params["height_m"] == 1
    name = params["keyframe"]
    assert name in chosen.views
    assert params["click"] == pytest.approx(pixel(looks[name], middle), abs=1)


def test_an_outline_is_a_pick_inside_of_it(filmed: Any) -> None:
    looks, pictures, middle = filmed
    u, v = map(int, pixel(looks["phone/3"], middle))
    ring = np.zeros((196, 260), np.uint8)
    cv2.circle(ring, (u, v), 12, 255, 3)
    params = pick_within(cv2.imencode(".png", ring)[1].tobytes())
    assert ring[int(params["click"][1]), int(params["click"][0])] == 255, "not the hole in its middle"
    chosen, _ = film("main", 7, looks, pictures.get, {"keyframe": "phone/3", **params})
    assert len(chosen.views) >= 4
    for bad in (cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes(), b"no picture"):
        with pytest.raises(Unprocessable):
            pick_within(bad)


def test_a_large_outline_costs_little_more_than_its_pixels() -> None:
    side = 4000
    large = np.zeros((side, side), np.uint8)
    large[1000:, 2000:] = 255
    encoded = cv2.imencode(".png", large)[1].tobytes()
    tracemalloc.start()
    try:
        params = pick_within(encoded)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * side * side
    finally:
        tracemalloc.stop()
    assert params["click"] == pytest.approx([3000, 2500], abs=side / 200)
    assert (params["width_px"], params["height_px"]) == (side, side)
    dot = np.zeros((side, side), np.uint8)
    dot[1234, 2345] = 255
    click = pick_within(cv2.imencode(".png", dot)[1].tobytes())["click"]
    assert click == pytest.approx([2345.5, 1234.5], abs=side / 200), "not even the smallest is lost"


async def test_an_outline_is_looked_at_before_it_is_decoded(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        for mask, status in ((png(9000, 9000), 413), (b"", 422), (b"no picture", 415)):
            form: dict[str, Any] = {"data": {"task": "capture", "scene": "main"}, "files": {"mask": ("m.png", mask)}}
            assert_problem(await server.http.post("/v1/jobs", **form), status)


def test_what_cannot_be_filmed_says_why(filmed: Any) -> None:
    looks, pictures, middle = filmed
    for params, error in (
        ({"keyframe": "phone/99", "click": [1, 1]}, NotFound),
        ({"keyframe": "phone/0"}, Unprocessable),
        ({"keyframe": "phone/0", "click": ["a", None]}, Unprocessable),
        ({"keyframe": "phone/0", "click": [-5, 5]}, Unprocessable),
        ({"keyframe": "phone/0", "click": [5, 5], "width_px": 0}, Unprocessable),
        ({"point_m": [1, 2]}, Unprocessable),
        ({"point_m": (middle + 100).tolist()}, Unprocessable),
    ):
        with pytest.raises(error):
            film("main", 7, looks, pictures.get, params)
    with pytest.raises(NotFound):
        film("main", 7, {}, pictures.get, {"point_m": middle.tolist()})
    with pytest.raises(NotFound):
        film("main", 7, looks, lambda name: None, {"point_m": middle.tolist()})
    empty = {name: replace(look, depth=np.zeros_like(look.depth)) for name, look in looks.items()}
    with pytest.raises(Unprocessable):
        film("main", 7, empty, pictures.get, {"keyframe": "phone/0", "click": [50, 50]})


async def test_a_capture_is_a_job_whose_asset_stands_in_the_map(filmed: Any, tmp_path: Path) -> None:
    scene, k = scene_of.build(), Intrinsics.from_fov(260, 196)
    views = {f"phone/{i}": replace(scene.view(p, k), mask=None) for i, p in enumerate(scene_of.poses(scene, 6))}
    box = scene_of.box_around(scene.view(views["phone/0"].world_from_camera, k), 0, 3.0)
    async with live(tmp_path) as server:
        params = {"keyframe": "phone/0", "box": [box.left_px, box.top_px, box.right_px, box.bottom_px]}
        wanted = {"task": "capture", "params": params, "asset": "mug"}
        assert_problem(await server.http.post("/v1/jobs", json=wanted), 422)
        assert_problem(await server.http.post("/v1/jobs", json=wanted | {"scene": "main"}), 404)
        server.scenes.filmed.append(Keyframes("main", 0, views))
        answer = await server.http.post("/v1/jobs", json=wanted | {"scene": "main"})
        assert answer.status_code == 202, answer.text
        done = await server.done(answer.json()["job"])
        assert (done["state"], done["provider"]) == ("succeeded", "capture"), done["failure"]
        version = (await server.http.get(done["result"]["url"])).json()
        low, high = scene.thing.bounds_m()
        foot = [(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2]
        assert np.linalg.norm(np.array(version["placement"]["position_m"]) - foot) < 0.03
        assert (await server.http.get("/v1/assets/mug")).json()["placement"]["scene"] == "main"
        assert len(list((tmp_path / "jobs" / "spool").iterdir())) == 0


async def test_a_capture_that_is_repeated_is_the_same_job_whatever_the_map_became(filmed: Any, tmp_path: Path) -> None:
    scene, k = scene_of.build(), Intrinsics.from_fov(260, 196)
    views = {f"phone/{i}": replace(scene.view(p, k), mask=None) for i, p in enumerate(scene_of.poses(scene, 3))}
    mask = cv2.imencode(".png", np.full((196, 260), 255, np.uint8))[1].tobytes()
    async with live(tmp_path) as server:
        server.scenes.filmed.append(Keyframes("main", 0, views))
        form: dict[str, Any] = {"data": {"task": "capture", "scene": "main"}, "files": {"mask": ("m.png", mask)}}
        key = {"Idempotency-Key": "this one"}
        first = await server.http.post("/v1/jobs", **form, headers=key)
        assert first.status_code == 202, first.text
        assert first.json()["wanted"]["params"]["width_px"] == 260, "an outline alone is enough"
        server.scenes.filmed.clear()  # the keyframes are not kept any more
        again = await server.http.post("/v1/jobs", **form, headers=key)
        assert (again.status_code, again.json()["job"]) == (202, first.json()["job"])
        assert_problem(await server.http.post("/v1/jobs", **form), 404)
        other = form | {"data": form["data"] | {"seed": "2"}}
        assert_problem(await server.http.post("/v1/jobs", **other, headers=key), 409)
