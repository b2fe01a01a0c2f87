"""Sizes out of a few words: "20 cm", "radius 5 cm", "1.2 m wide", "30 x 20 x 10 cm" (width, depth, height).

A size that is negative, there twice or beyond reason is an error that says so.
"""

from __future__ import annotations

import re

_UNITS_M = {
    "mm": 0.001, "millimeter": 0.001, "millimetre": 0.001, "cm": 0.01, "centimeter": 0.01, "centimetre": 0.01,
    "dm": 0.1, "decimeter": 0.1, "decimetre": 0.1, "m": 1.0, "meter": 1.0, "metre": 1.0, "km": 1000.0,
    "kilometer": 1000.0, "kilometre": 1000.0, "in": 0.0254, "inch": 0.0254, "inches": 0.0254, "ft": 0.3048,
    "foot": 0.3048, "feet": 0.3048, "yd": 0.9144, "yard": 0.9144, "mile": 1609.344,
}  # fmt: skip
_ALL_UNITS = "|".join(sorted((*_UNITS_M, *(f"{unit}s" for unit in _UNITS_M if len(unit) > 3)), key=len, reverse=True))
_UNIT = rf"({_ALL_UNITS})(?:(?![a-z])|(?=x\s*[0-9]))"
_NUMBER = r"(?<![0-9.])((?:[0-9]+(?:[.,][0-9]+)?|\.[0-9]+)(?:e[+-]?[0-9]+)?)"
_BY = r"\s*(?:x|×|\*|by)\s*"
_PRODUCT = re.compile(rf"{_NUMBER}\s*(?:{_UNIT})?{_BY}(?:{_NUMBER}\s*(?:{_UNIT})?{_BY})?{_NUMBER}\s*-?{_UNIT}")
_SINGLE = re.compile(rf"{_NUMBER}\s*-?{_UNIT}")
_NEGATIVE = re.compile(r"(?<![\w.])[-−][0-9][^\s,;]*(?:\s+[a-z]+)?")
_DIMENSIONS = {
    "wide": "width", "width": "width", "breadth": "width", "high": "height", "tall": "height", "height": "height",
    "deep": "depth", "depth": "depth", "long": "length", "length": "length", "radius": "radius",
    "diameter": "diameter", "across": "diameter", "thick": "thickness", "thickness": "thickness",
}  # fmt: skip
NUMERALS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
            "twelve": 12}  # fmt: skip
_SPELT = re.compile(rf"\b({'|'.join(NUMERALS)})(?=[\s-]+{_UNIT})")
_BARE = re.compile(rf"\b(?!(?:in|foot|m|yard)\b){_UNIT}")
"""A unit without a number, but for words that mean other things, too."""
SIZE_WORDS = frozenset(_DIMENSIONS) | frozenset(_UNITS_M)
MAX_SIZE_M, MIN_SIZE_M = 100.0, 0.001
_SIZE_HINT = "write sizes as 20 cm, as 20 x 30 x 40 cm (width, depth, height), or as 1.2 m wide and 70 cm high"
_MOST_TOLD = 60


class NotUnderstood(ValueError):
    """This text names no shape known here, or sizes and numbers that cannot be had."""

    def __init__(self, message: str, hint: str = _SIZE_HINT) -> None:
        super().__init__(message)
        self.hint = hint


def sizes(text: str) -> tuple[dict[str, float], str]:
    """Metres by `width`, `height`, `depth`, `length`, `radius`, `diameter`, `thickness`; and the text without them.

    `size` is one that is not called anything; of a pair `first` and `second`. The text is in lower case.

    Raises:
        NotUnderstood: a size is negative, there twice, or beyond reason.
    """
    if negative := _NEGATIVE.search(text):
        raise NotUnderstood(f"{told(negative[0])} is less than nothing")
    text = _SPELT.sub(lambda spelt: str(NUMERALS[spelt[1]]), text)
    found: dict[str, float] = {}
    if product := _PRODUCT.search(text):
        numbers = [(product[i], product[i + 1] or product[6]) for i in (1, 3, 5) if product[i]]
        names = ("width", "depth", "height") if len(numbers) == 3 else ("first", "second")
        for name, (number, unit) in zip(names, numbers, strict=True):
            _add(found, name, number, unit)
        text = f"{text[: product.start()]} {text[product.end() :]}"
    kept, last = [], 0
    for single in _SINGLE.finditer(text):
        # "radius 5 cm", or "5 cm high"; a word names one number only.
        before = re.search(r"([a-z]+)(?:\s+of)?[\s:=]*$", text[last : single.start()])
        after = re.match(r"[\s-]*(?:in\s+)?([a-z]+)", text[single.end() :])
        end = single.end()
        if before and before[1] in _DIMENSIONS:
            name = _DIMENSIONS[before[1]]
        elif after and after[1] in _DIMENSIONS:
            name, end = _DIMENSIONS[after[1]], end + after.end()
        else:
            name = "size"
        _add(found, name, single[1], single[2])
        kept.append(text[last : single.start()])
        last = end
    rest = " ".join([*kept, text[last:]])
    if bare := _BARE.search(rest):
        raise NotUnderstood(f"how many {bare[0]} is not clear")
    return found, rest


def told(text: str) -> str:
    """So much of it as a message repeats."""
    return text if len(text) <= _MOST_TOLD else text[: _MOST_TOLD - 3] + "..."


def _add(found: dict[str, float], name: str, number: str, unit: str) -> None:
    factor = _UNITS_M.get(unit) or _UNITS_M[unit.rstrip("s")]
    value = float(number.replace(",", ".")) * factor
    if not MIN_SIZE_M <= value <= MAX_SIZE_M:
        raise NotUnderstood(f"{told(number)} {unit} cannot be built; {MIN_SIZE_M:g} to {MAX_SIZE_M:g} m can")
    if found.setdefault(name, value) != value:
        both = f"{found[name]:g} m and {value:g} m"
        raise NotUnderstood(f"{both}: which is what?" if name == "size" else f"the {name} is both {both}")
