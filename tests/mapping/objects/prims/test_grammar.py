from __future__ import annotations

import pytest

from mapping.objects.prims.grammar import COLOURS, MATERIALS, understood
from mapping.objects.prims.sizes import NotUnderstood


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
        ("cube .5 m", "cube", {"size": 0.5}),
        ("cube - 20 cm", "cube", {"size": 0.2}),
        ("1 cube 20 cm", "cube", {"size": 0.2}),
        ("cube 20 x 30 x 40 cm", "cube", {"width": 0.2, "depth": 0.3, "height": 0.4}),
        ("box 20cmx30cmx40cm", "box", {"width": 0.2, "depth": 0.3, "height": 0.4}),
        ("box 1 by 2 by 3 ft", "box", {"width": 0.3048, "depth": 0.6096, "height": 0.9144}),
        ("table 120 x 60 cm", "table", {"width": 1.2, "depth": 0.6}),
        ("cylinder 10 x 30 cm", "cylinder", {"diameter": 0.1, "height": 0.3}),
        ("a two-meter-tall pillar", "pillar", {"height": 2.0}),
        ("four-legged stool", "stool", {}),
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
    assert understood("8 steps").count == 8
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


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("cube -20 cm", "-20 cm", "20 cm"),
        ("stairs with -8 steps", "-8 steps", ""),
        ("four chairs", "one thing", "ask for one"),
        ("2 red cubes", "one thing", "ask for one"),
        ("a pair of oak chairs", "one thing", "ask for one"),
        ("cube 1e9 km", "1e9 km", "20 cm"),
        ("cube 1e-9 mm", "1e-9 mm", "20 cm"),
        ("cube 20 parsecs", "20 parsecs", "20 cm"),
        ("cube 20", "'20'", "20 cm"),
        ("cube 20 x 30 x 40", "20 x", "20 cm"),
        ("cube 10-20 cm", "10-", "20 cm"),
        ("box 20 cm 30 cm", "0.2 m and 0.3 m", "20 cm"),
        ("box 20 cm wide and 30 cm wide", "width", "20 cm"),
        ("half a meter cube", "meter", "20 cm"),
        ("table with 3 legs", "3 legs", ""),
        ("three-legged stool", "three", ""),
        ("stairs with 8.5 steps", "8.", ""),
        ("a mug", "'mug'", "shapes are"),
    ],
)
def test_numbers_are_understood_or_refused(text: str, said: str, hint: str) -> None:
    with pytest.raises(NotUnderstood) as refused:
        understood(text)
    assert said in str(refused.value)
    assert hint in refused.value.hint


@pytest.mark.parametrize("text", ["x" * 2000, f"cube {'9' * 2000} cm", f"cube {'9' * 2000}", f"cube {'y' * 2000}"])
def test_messages_repeat_little(text: str) -> None:
    with pytest.raises(NotUnderstood) as refused:
        understood(text)
    assert len(str(refused.value)) < 60 + 60
