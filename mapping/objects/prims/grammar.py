"""A small grammar of things: shape, size with unit, colour, material, in any order around the head noun.

"red cube 20 cm"   "a wooden table 1.2 m wide and 70 cm high"   "steel cylinder, radius 5cm, height 30cm"
"box 30 x 20 x 10 cm" (width, depth, height)   "stairs with 8 steps"   "dark green sphere of 1 ft diameter"

Adjectives may be unknown; numbers may not: four chairs are not one chair.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mapping.objects.mesh import Material
from mapping.objects.prims import sizes
from mapping.objects.prims.sizes import NUMERALS, NotUnderstood, told
from mapping.objects.words import phrase

_COUNT = re.compile(
    r"\b(?:with\s+)?([0-9]+|two|three|four|five|six|seven|eight|nine|ten|twelve)\s+(steps?|shel(?:f|ves))\b"
)
_HEX = re.compile(r"#[0-9a-f]{6}\b")
_LEGS = re.compile(r"\b(?:4|four)[\s-]leg(?:s|ged)?\b")
"""All furniture here stands on so many."""
_NUMERAL = re.compile(rf"\S*[0-9]\S*|\b(?:{'|'.join(NUMERALS)}|dozen|pair|couple|several|many|few)\b")
COLOURS = {
    "red": (200, 36, 32), "green": (46, 139, 60), "blue": (36, 82, 190), "yellow": (236, 200, 40),
    "orange": (236, 126, 30), "purple": (118, 52, 150), "violet": (118, 52, 150), "pink": (236, 130, 170),
    "brown": (112, 70, 42), "black": (24, 24, 26), "white": (240, 240, 238), "grey": (128, 128, 128),
    "gray": (128, 128, 128), "cyan": (40, 180, 200), "turquoise": (48, 190, 180), "magenta": (200, 40, 150),
    "beige": (222, 208, 176), "navy": (24, 32, 84), "teal": (20, 120, 120), "maroon": (110, 20, 30),
    "olive": (110, 112, 40), "lime": (140, 210, 40), "tan": (205, 170, 125), "cream": (245, 235, 205),
}  # fmt: skip
MATERIALS = {
    "wood": Material((160, 112, 68), 0.0, 0.8), "wooden": Material((160, 112, 68), 0.0, 0.8),
    "oak": Material((176, 132, 82), 0.0, 0.8), "pine": Material((208, 170, 116), 0.0, 0.8),
    "metal": Material((170, 172, 176), 1.0, 0.35), "metallic": Material((170, 172, 176), 1.0, 0.35),
    "steel": Material((170, 172, 176), 1.0, 0.35), "iron": Material((120, 120, 124), 1.0, 0.5),
    "aluminium": Material((200, 202, 204), 1.0, 0.4), "aluminum": Material((200, 202, 204), 1.0, 0.4),
    "gold": Material((232, 186, 80), 1.0, 0.25), "golden": Material((232, 186, 80), 1.0, 0.25),
    "silver": Material((214, 214, 218), 1.0, 0.25), "copper": Material((200, 120, 84), 1.0, 0.35),
    "brass": Material((206, 170, 92), 1.0, 0.35), "plastic": Material((220, 220, 220), 0.0, 0.5),
    "rubber": Material((44, 44, 46), 0.0, 0.95), "stone": Material((140, 136, 130), 0.0, 0.95),
    "concrete": Material((150, 150, 148), 0.0, 0.95), "marble": Material((232, 230, 226), 0.0, 0.3),
    "clay": Material((178, 104, 76), 0.0, 0.9), "cardboard": Material((184, 146, 100), 0.0, 0.95),
    "paper": Material((240, 238, 230), 0.0, 0.95), "leather": Material((104, 62, 40), 0.0, 0.6),
}  # fmt: skip
_SCALES = {"tiny": 0.25, "small": 0.5, "little": 0.5, "big": 1.5, "large": 1.5, "huge": 3.0, "giant": 4.0}
_SHADES = {"light": 1.35, "bright": 1.15, "pale": 1.5, "dark": 0.55, "deep": 0.7}
SHAPES = {
    "cube": "cube", "box": "box", "block": "box", "brick": "brick", "cuboid": "box", "crate": "box", "slab": "slab",
    "sphere": "sphere", "ball": "sphere", "globe": "sphere", "orb": "sphere", "cylinder": "cylinder",
    "pillar": "pillar", "column": "pillar", "pole": "pole", "rod": "pole", "disc": "disc", "disk": "disc",
    "cone": "cone", "capsule": "capsule", "pill": "capsule", "torus": "torus", "ring": "torus", "donut": "torus",
    "doughnut": "torus", "pyramid": "pyramid", "wedge": "wedge", "ramp": "wedge", "table": "table", "desk": "table",
    "chair": "chair", "stool": "stool", "bench": "bench", "stairs": "stairs", "stair": "stairs", "step": "stairs",
    "staircase": "stairs", "shelf": "shelf", "bookshelf": "shelf", "bookcase": "shelf",
}  # fmt: skip
PLAIN = Material((190, 190, 188))
_SHAPES_HINT = "shapes are cube, box, sphere, cylinder, cone, torus, table, chair, stairs and their like"
_TURNED = {"cylinder", "cone", "capsule", "pillar", "pole", "disc", "torus", "stool"}
"""Of these a pair of sizes is diameter and height; of others width and depth."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a text asks for; sizes in metres, only those that it names."""

    shape: str
    sizes_m: dict[str, float] = field(default_factory=dict)
    """By `width`, `height`, `depth`, `length`, `radius`, `diameter`, `thickness`; `size` is the longest side."""
    scale: float = 1.0
    count: int | None = None
    """Of steps or shelves."""
    material: Material = PLAIN


def understood(text: str) -> Wanted:
    """Read a text.

    Raises:
        NotUnderstood: its head noun is no shape known here, or a number in it cannot be had.
    """
    named, rest = sizes.sizes(text.lower())
    counted = _COUNT.search(rest)
    count = None
    if counted:
        count = NUMERALS.get(counted[1]) or int(counted[1][:9])
        if count < 1 or count > 64:
            raise NotUnderstood(f"{count} {counted[2]} cannot be built; 1 to 64 can", "ask for fewer")
        # "8 steps" alone are stairs, too.
        noun = counted[2] if counted.start() == 0 else ""
        rest = f"{rest[: counted.start()]} {noun} {rest[counted.end() :]}"
    material, described = _material(rest)
    rest = _LEGS.sub(" ", _HEX.sub(" ", rest))
    nouns = [word for word in phrase(rest) if word not in described and not word[0].isdigit()]
    nouns = [word for word in nouns if word not in _SCALES and word not in sizes.SIZE_WORDS]
    if any(noun in SHAPES for noun in nouns):
        _check_numerals(rest)
    if not nouns or nouns[-1] not in SHAPES:
        raise NotUnderstood(f"no shape is called {told(nouns[-1] if nouns else text)!r}", _SHAPES_HINT)
    shape = SHAPES[nouns[-1]]
    scale = next((_SCALES[word] for word in phrase(rest) if word in _SCALES), 1.0)
    if "first" in named:
        first, second = ("diameter", "height") if shape in _TURNED else ("width", "depth")
        named[first], named[second] = named.pop("first"), named.pop("second")
    return Wanted(shape, named, 1.0 if named else scale, count, material)


def _check_numerals(rest: str) -> None:
    """Raises: NotUnderstood: a number is left of the text, but for "1"."""
    for found in _NUMERAL.finditer(rest):
        number, behind = found[0], rest[found.end() :]
        if number == "1" and re.match(r"\s+[a-z]", behind):
            continue
        if (
            (number.isalpha() or number.isdigit())
            and not behind.startswith("-")
            and SHAPES.keys() & phrase(behind)[-1:]
        ):
            raise NotUnderstood(
                f"{told(number)!r}: one thing at a time is made here", "ask for one, and set it down often"
            )
        raise NotUnderstood(f"what {told(' '.join([number, *behind.split()[:1]]))!r} means is not clear")


def _material(text: str) -> tuple[Material, set[str]]:
    """The look that a text describes, and the words that describe it."""
    found = re.findall(r"[a-z]+|#[0-9a-f]{6}\b", text)
    material = next((MATERIALS[word] for word in found if word in MATERIALS), PLAIN)
    rgb, used = material.rgb, {word for word in found if word in MATERIALS}
    for i, word in enumerate(found):
        if word in COLOURS or word.startswith("#"):
            used.add(word)
            rgb = COLOURS[word] if word in COLOURS else (int(word[1:3], 16), int(word[3:5], 16), int(word[5:7], 16))
            if i and found[i - 1] in _SHADES:
                used.add(found[i - 1])
                rgb = _shaded(rgb, _SHADES[found[i - 1]])
            break
    return Material(rgb, material.metallic, material.roughness), used


def _shaded(rgb: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    if factor <= 1:
        red, green, blue = (round(v * factor) for v in rgb)
    else:
        red, green, blue = (round(255 - (255 - v) / factor) for v in rgb)
    return red, green, blue
