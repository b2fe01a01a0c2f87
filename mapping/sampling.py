"""What is too much to look at: every so many, evenly."""

from __future__ import annotations


def evenly(num: int, most: int) -> slice:
    """Picks at most `most` of `num` things in a row; the first is always among them."""
    return slice(None, None, max(1, -(-num // most)))
