from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import gltf_validator
from mapping.objects.splats import drawing, finishing
from mapping.objects.splats.cloud import Splats, of_rgb, on_its_pivot, scaled, thinned, upside_down
from mapping.objects.splats.drawing import draw, thumbnail
from mapping.transforms import look_at
from streams.frame import Intrinsics
from tests.mapping.objects.splats.clouds import cloud, pillar


def test_it_stands_on_its_pivot_in_metres() -> None:
    facts = finishing.facts(on_its_pivot(pillar()))
    low, high = facts["bbox_m"]
    assert np.allclose(low, [-0.1, 0, -0.1], atol=0.002)
    assert np.allclose(high, [0.1, 0.5, 0.1], atol=0.002)
    assert facts["quality"]["problems"] == []
    assert facts["quality"]["splats"] == 200
    assert finishing.facts(scaled(pillar(), 500.0))["quality"]["problems"] == ["pivot", "scale"]


def test_upside_down_twice_is_the_same() -> None:
    given = cloud()
    again = upside_down(upside_down(given))
    assert np.array_equal(again.centres_m, given.centres_m)
    assert np.array_equal(again.sh, given.sh)
    assert np.array_equal(again.quats_wxyz, given.quats_wxyz)


def test_thumbnail_shows_blue_above_red() -> None:
    shown = thumbnail(on_its_pivot(pillar()), 64).astype(int)
    redder = shown[..., 0] - shown[..., 2]
    rows = np.arange(64)[:, None]
    red, blue = redder > 60, redder < -60
    assert red.sum() > 50
    assert blue.sum() > 50
    assert (rows * red).sum() / red.sum() > (rows * blue).sum() / blue.sum() + 8, "rows count down"
    assert shown[0, 0].tolist() == [255, 255, 255]


def test_of_very_many_some_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    out = rng.normal(size=(30_000, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    still = np.tile(np.array([1, 0, 0, 0], np.float32), (len(out), 1))
    sizes, opacities = np.full((len(out), 3), 0.01, np.float32), np.full(len(out), 0.8, np.float32)
    ball = Splats((0.5 * out).astype(np.float32), sizes, still, opacities, of_rgb(0.5 + 0.4 * out))
    whole = thumbnail(ball, 64).astype(int)
    monkeypatch.setattr(drawing, "_MOST_DRAWN", 3000)
    some = thumbnail(ball, 64).astype(int)
    assert len(thinned(ball, 3000)) == 3000
    assert np.abs(whole - some).mean() < 6
    assert np.abs(whole - some).max() > 0
    assert thinned(ball, 30_000) is ball


def test_one_gaussian_is_drawn_as_its_formula_says() -> None:
    one = Splats(
        np.zeros((1, 3), np.float32), np.array([[0.2, 0.05, 0.01]], np.float32),
        np.array([[1, 0, 0, 0]], np.float32), np.array([0.8], np.float32), np.zeros((1, 1, 3), np.float32),
    )  # fmt: skip
    k = Intrinsics(100, 100, 40.5, 30.5, 81, 61)
    _, alpha = draw(one, look_at([0, 0, 2], [0, 0, 0]), k)
    across, down = (100 * 0.2 / 2) ** 2 + 0.3, (100 * 0.05 / 2) ** 2 + 0.3  # variances in pixels
    assert np.isclose(alpha[30, 40], 0.8, atol=1e-3)
    assert np.isclose(alpha[30, 50], 0.8 * np.exp(-100 / across / 2), atol=1e-3)
    assert np.isclose(alpha[33, 40], 0.8 * np.exp(-9 / down / 2), atol=1e-3)


def test_every_file_is_published() -> None:
    splats = on_its_pivot(pillar())
    files = [*finishing.shown(splats), *finishing.rest(splats, "pillar", {})]
    assert [file.name for file in files] == [
        "splats.ply", "thumbnail.png", "splats.spz", "splats.sog", "splats.splat", "splats.glb",
    ]  # fmt: skip
    assert Image.open(io.BytesIO(files[1].data)).size == (256, 256)
    assert gltf_validator.errors({"splats": files[5].data}) == []
