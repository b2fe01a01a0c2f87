from __future__ import annotations

import pytest

from mapping.objects.prims.grammar import COLOURS, MATERIALS, NotUnderstood, understood


@pytest.mark.parametrize(
    ("text", "shape", "sizes_m"),
    [
        ("red cube 20 cm", "cube", {"size": 0.2}),
        ("20cm red cube", "cube", {"size": 0.2}),
        ("box 30 x 20 x 10 cm", "box", {"width": 0.3, "depth": 0.2, "height": 0.1}),
        ("a 1m x 50cm x 5 mm slab", "slab", {"width": 1.0, "depth": 0.5, "height": 0.005}),
        ("a wooden table 1.2 m wide and 70 cm high", "table", {"width": 1.2, "height": 0.7}),
        ("steel cylinder, radius 5cm, height 30cm", "cylinder", {"radius": 0.05, "height": 0.3}),
        ("sphere of 1 ft diameter", "sphere", {"diameter": 0.3048}),
        ("2-meter tall pillar", "pillar", {"height": 2.0}),
        ("cube 3 inches", "cube", {"size": 0.0762}),
        ("Würfel? no: a cube", "cube", {}),
        ("1,5 m pole", "pole", {"size": 1.5}),
    ],
)
def test_shape_and_size(text: str, shape: str, sizes_m: dict[str, float]) -> None:
    wanted = understood(text)
    assert wanted.shape == shape
    assert wanted.sizes_m == pytest.approx(sizes_m)


def test_looks() -> None:
    assert understood("red cube").material.rgb == COLOURS["red"]
    assert understood("golden ball").material == MATERIALS["golden"]
    assert understood("ball made of gold").material.metallic == 1.0
    red_metal = understood("red metal cube").material
    assert (red_metal.rgb, red_metal.metallic) == (COLOURS["red"], 1.0)
    assert (
        sum(understood("dark green cone").material.rgb)
        < sum(COLOURS["green"])
        < sum(understood("light green cone").material.rgb)
    )
    assert understood("cube #0a141e").material.rgb == (10, 20, 30)


def test_counts_and_scales() -> None:
    assert understood("stairs with 8 steps").count == 8
    assert understood("bookshelf with five shelves").count == 5
    assert understood("huge ball").scale > understood("ball").scale > understood("tiny ball").scale


@pytest.mark.parametrize(
    "text",
    ["tablet", "chair leg", "tablecloth", "table lamp", "a mug", "", "20 cm", "red", "cube 1 mm 5000 m",
     "stairs with 900 steps",
     "ice cube tray", "cube 0 cm", "the", "x" * 2000],
)  # fmt: skip
def test_what_is_not_known_is_said(text: str) -> None:
    with pytest.raises(NotUnderstood):
        understood(text)
