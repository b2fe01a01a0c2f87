"""A small grammar of things: shape, size with unit, colour, material, in any order around the head noun.

"red cube 20 cm"   "a wooden table 1.2 m wide and 70 cm high"   "steel cylinder, radius 5cm, height 30cm"
"box 30 x 20 x 10 cm" (width, depth, height)   "stairs with 8 steps"   "dark green sphere of 1 ft diameter"
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mapping.objects.mesh import Material
from mapping.objects.words import phrase

_UNITS_M = {
    "mm": 0.001, "millimeter": 0.001, "millimetre": 0.001, "cm": 0.01, "centimeter": 0.01, "centimetre": 0.01,
    "m": 1.0, "meter": 1.0, "metre": 1.0, "in": 0.0254, "inch": 0.0254, "inches": 0.0254, "ft": 0.3048,
    "foot": 0.3048, "feet": 0.3048,
}  # fmt: skip
_UNIT = r"(millimet(?:er|re)s?|centimet(?:er|re)s?|met(?:er|re)s?|mm|cm|m|inch(?:es)?|in|ft|foot|feet)(?![a-z])"
_NUMBER = r"([0-9]+(?:[.,][0-9]+)?)"
_TRIPLE = re.compile(rf"{_NUMBER}\s*(?:{_UNIT})?\s*[x×*]\s*{_NUMBER}\s*(?:{_UNIT})?\s*[x×*]\s*{_NUMBER}\s*{_UNIT}")
_SINGLE = re.compile(rf"{_NUMBER}\s*-?{_UNIT}")
_COUNT = re.compile(
    r"\b(?:with\s+)?([0-9]+|two|three|four|five|six|seven|eight|nine|ten|twelve)\s+(steps?|shel(?:f|ves))\b"
)
_HEX = re.compile(r"#[0-9a-f]{6}\b")
_NUMERALS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
             "twelve": 12}  # fmt: skip
_DIMENSIONS = {
    "wide": "width", "width": "width", "breadth": "width", "high": "height", "tall": "height", "height": "height",
    "deep": "depth", "depth": "depth", "long": "length", "length": "length", "radius": "radius",
    "diameter": "diameter", "across": "diameter", "thick": "thickness", "thickness": "thickness",
}  # fmt: skip
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
MAX_SIZE_M, MIN_SIZE_M = 100.0, 0.001


class NotUnderstood(ValueError):
    """This text names no shape known here, or an impossible size."""


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
        NotUnderstood: its head noun is no shape known here, or a size is beyond reason.
    """
    lower = text.lower()
    sizes, rest = _sizes(lower)
    counted = _COUNT.search(rest)
    count = None
    if counted:
        count = _NUMERALS.get(counted[1]) or int(counted[1])
        if count < 1 or count > 64:
            raise NotUnderstood(f"{count} {counted[2]} cannot be built; 1 to 64 can")
        if counted.start() > 0:
            rest = rest[: counted.start()] + rest[counted.end() :]
    material, described = _material(rest)
    nouns = [word for word in phrase(_HEX.sub(" ", rest)) if word not in described and not word[0].isdigit()]
    nouns = [word for word in nouns if word not in _SCALES and word not in _DIMENSIONS and word not in _UNITS_M]
    if not nouns or nouns[-1] not in SHAPES:
        raise NotUnderstood(f"no shape is called {nouns[-1] if nouns else text!r}")
    scale = next((_SCALES[word] for word in phrase(rest) if word in _SCALES), 1.0)
    for name, value in sizes.items():
        if not MIN_SIZE_M <= value <= MAX_SIZE_M:
            raise NotUnderstood(f"a {name} of {value:g} m cannot be built; {MIN_SIZE_M:g} to {MAX_SIZE_M:g} m can")
    return Wanted(SHAPES[nouns[-1]], sizes, 1.0 if sizes else scale, count, material)


def _sizes(text: str) -> tuple[dict[str, float], str]:
    """Named sizes in metres, and the text without them."""
    sizes: dict[str, float] = {}
    if triple := _TRIPLE.search(text):
        numbers, units = (triple[1], triple[3], triple[5]), (triple[2], triple[4], triple[6])
        for name, number, unit in zip(("width", "depth", "height"), numbers, units, strict=True):
            sizes[name] = _metres(number, unit or triple[6])
        text = text[: triple.start()] + " " + text[triple.end() :]
    kept, last = [], 0
    for found in _SINGLE.finditer(text):
        # "radius 5 cm", or "5 cm high"; a word names one number only.
        before = re.search(r"([a-z]+)(?:\s+of)?[\s:=]*$", text[last : found.start()])
        after = re.match(r"[\s-]*(?:in\s+)?([a-z]+)", text[found.end() :])
        end = found.end()
        if before and before[1] in _DIMENSIONS:
            name = _DIMENSIONS[before[1]]
        elif after and after[1] in _DIMENSIONS:
            name, end = _DIMENSIONS[after[1]], end + after.end()
        else:
            name = "size"
        sizes[name] = _metres(found[1], found[2])
        kept.append(text[last : found.start()])
        last = end
    return sizes, " ".join([*kept, text[last:]])


def _metres(number: str, unit: str) -> float:
    factor = _UNITS_M.get(unit) or _UNITS_M[unit.rstrip("s")]
    return float(number.replace(",", ".")) * factor


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
