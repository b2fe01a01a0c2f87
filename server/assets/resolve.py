"""Which file of a version suits a client best. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.api.contract import Refused
from server.assets.values import AssetFile, Role

SHOWN: tuple[Role, ...] = ("lod0", "lod1", "lod2")
"""Roles that are the asset itself, best first."""
_TELLING: tuple[Role, ...] = (*SHOWN, "splat", "source")
"""Roles by how well they tell what the asset is."""
AUTHORITY = "glb"
"""The other formats are made of it."""
STAYS_PACKED = "KHR_texture_basisu"
"""Of such a file the picture takes a quarter of the GPU's memory, and is there without decoding: worth its bytes."""


class NotAcceptable(Refused):
    """There is no file that the client could read."""

    status = 406


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client can take."""

    format: str | None = None
    """None = a GLB, where there is one."""
    role: Role | None = None
    """None = the asset itself, in whatever level of detail fits."""
    extensions: frozenset[str] = frozenset()
    """Those it can read; a file with others is useless to it."""
    max_triangles: int | None = None
    max_bytes: int | None = None


def choose(files: Sequence[AssetFile], wish: Wish) -> AssetFile:
    """The finest level of detail that fits; of its variants one that stays packed on the GPU, else the smallest.

    Raises:
        NotAcceptable: nothing fits; the message says what there is.
    """
    roles = (wish.role,) if wish.role is not None else SHOWN
    if wish.role is None and not any(file.role in SHOWN for file in files):
        roles = ("splat", "source")
    fits = [file for file in files if file.role in roles and _fits(file, wish)]
    if wish.format is None and any(file.format == AUTHORITY for file in fits):
        fits = [file for file in fits if file.format == AUTHORITY]
    if not fits:
        there = ", ".join(sorted({f"{file.role} {file.format} ({file.size} bytes)" for file in files}))
        raise NotAcceptable(f"no file fits what was asked for; there are: {there[:1000]}")
    return min(
        fits,
        key=lambda file: (roles.index(file.role), STAYS_PACKED not in file.extensions, file.size, file.sha256),
    )


def rank(file: AssetFile) -> int:
    """How well a file tells what the asset is, 0 = best, whoever can read it."""
    return _TELLING.index(file.role) if file.role in _TELLING else len(_TELLING)


def _fits(file: AssetFile, wish: Wish) -> bool:
    if wish.format is not None and file.format != wish.format:
        return False
    if not wish.extensions.issuperset(file.extensions):
        return False
    if wish.max_bytes is not None and file.size > wish.max_bytes:
        return False
    return wish.max_triangles is None or (file.triangles is not None and file.triangles <= wish.max_triangles)
