"""Small things to publish: each name is another file, and a sound one."""

from __future__ import annotations

from tests.mapping.objects.broken import triangle


def thing(name: str) -> bytes:
    """A GLB of one triangle, less than a kilobyte."""
    return triangle(asset={"version": "2.0", "extras": {"name": name}})
