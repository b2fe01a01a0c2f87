"""Meshes as files of other programs, beside the GLB that is the authority. One file per format; its name is the suffix.

A module here has `encode(mesh, name) -> bytes`, imports its library within, and keeps colours where the format has a
place for them; one that is not made for many triangles has `MAX_FACES`. DXF and USDZ need the extra `formats`.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from mapping.objects.decimation import decimated
from mapping.objects.mesh import Mesh


class FormatMissing(RuntimeError):
    """No such format, or its library is not installed."""


def available() -> list[str]:
    """Suffixes without the dot."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


FACETED = frozenset({"step"})
"""Formats made for curved surfaces, in which a mesh is but many flat ones."""


def limited(suffix: str, mesh: Mesh) -> Mesh:
    """The mesh with as many triangles as the format is made for.

    Raises:
        FormatMissing: no such format.
    """
    most = getattr(_module(suffix), "MAX_FACES", len(mesh.faces))
    return decimated(mesh, most)


def encode(suffix: str, mesh: Mesh, name: str = "object") -> bytes:
    """The mesh as a file of that format.

    Raises:
        FormatMissing: no such format, or its library is not installed; the message says what to install.
        MeshError: the mesh has no triangles.
    """
    mesh.bounds_m()
    try:
        data: bytes = _module(suffix).encode(limited(suffix, mesh), name)
    except ModuleNotFoundError as error:
        raise FormatMissing(f"{suffix} needs {error.name}: pip install 'commonground[formats]'") from error
    return data


def _module(suffix: str) -> ModuleType:
    if suffix not in available():
        raise FormatMissing(f"no format {suffix!r}; there are {', '.join(available())}")
    return importlib.import_module(f"{__name__}.{suffix}")
