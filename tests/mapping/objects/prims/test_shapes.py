from __future__ import annotations

import numpy as np
import pytest

from mapping.objects.mesh import Mesh, volume_m3, welded
from mapping.objects.prims.grammar import SHAPES, understood
from mapping.objects.prims.shapes import built
from mapping.objects.quality import measure


def made(text: str) -> Mesh:
    return built(understood(text))


@pytest.mark.parametrize("noun", sorted(SHAPES))
def test_every_shape_is_a_solid_on_its_pivot(noun: str) -> None:
    mesh = made(f"green {noun}")
    quality = measure(mesh, 8000)
    assert quality.problems == ()
    assert quality.bodies == 1
    assert mesh.normals is not None
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "extents_m"),
    [
        ("cube 20 cm", (0.2, 0.2, 0.2)),
        ("box 30 x 20 x 10 cm", (0.3, 0.1, 0.2)),
        ("cube 20 x 30 x 40 cm", (0.2, 0.4, 0.3)),
        ("cube 20 cm wide and 30 cm high", (0.2, 0.3, 0.2)),
        ("sphere 10 x 20 x 30 cm", (0.1, 0.3, 0.2)),
        ("cylinder 10 x 30 cm", (0.1, 0.3, 0.1)),
        ("cylinder radius 5 cm height 30 cm", (0.1, 0.3, 0.1)),
        ("sphere 1 ft", (0.3048, 0.3048, 0.3048)),
        ("torus 30 cm wide 8 cm high", (0.3, 0.08, 0.3)),
        ("table 1.2 m wide, 70 cm high, 60 cm deep", (1.2, 0.7, 0.6)),
        ("chair 1 m high 50 cm wide 50 cm deep", (0.5, 1.0, 0.5)),
        ("stairs 1 m wide 2 m high 3 m long with 10 steps", (1.0, 2.0, 3.0)),
        ("bench 2 m", (2.0, 0.45, 0.4)),
        ("pole 3 m long", (0.06, 3.0, 0.06)),
    ],
)
def test_extents_are_exact(text: str, extents_m: tuple[float, float, float]) -> None:
    assert made(text).extents_m() == pytest.approx(extents_m, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "volume", "rel"),
    [
        ("cube 20 cm", 0.008, 1e-5),
        ("box 30 x 20 x 10 cm", 0.006, 1e-5),
        ("wedge 1 m wide 1 m high 1 m deep", 0.5, 1e-5),
        ("pyramid 30 cm wide 30 cm high 30 cm deep", 0.009, 1e-5),
        ("stairs 1 m wide 2 m high 3 m deep with 10 steps", 2.0 * 3.0 * 11 / 20, 1e-5),
        ("cylinder diameter 20 cm height 1 m", np.pi * 0.01, 0.01),
        ("cone diameter 20 cm height 30 cm", np.pi * 0.001, 0.01),
        ("sphere diameter 20 cm", 4 / 3 * np.pi * 0.001, 0.01),
        ("capsule diameter 20 cm height 50 cm", np.pi * 0.01 * 0.3 + 4 / 3 * np.pi * 0.001, 0.01),
        ("torus diameter 30 cm height 8 cm", 2 * np.pi**2 * 0.11 * 0.04**2, 0.02),
    ],
)
def test_volumes_are_exact(text: str, volume: float, rel: float) -> None:
    assert volume_m3(welded(made(text))) == pytest.approx(volume, rel=rel)


def test_a_table_has_a_top_and_four_legs() -> None:
    table = made("table 1 m wide 1 m deep 70 cm high")
    top_m, leg_m = 0.045 * 0.7, 0.06
    assert volume_m3(table) == pytest.approx(top_m + 4 * leg_m**2 * (0.7 - top_m), rel=1e-4)


def test_stairs_rise_away_from_who_comes_from_the_front() -> None:
    stairs = made("stairs 1 m high 1 m deep with 5 steps")
    high = stairs.vertices_m[stairs.vertices_m[:, 1] > 0.99]
    assert high[:, 2].max() < -0.29


def test_the_same_words_make_the_same_mesh() -> None:
    a, b = made("oak chair"), made("oak chair")
    assert np.array_equal(a.vertices_m, b.vertices_m)
    assert np.array_equal(a.faces, b.faces)
