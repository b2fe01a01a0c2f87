"""Meshes as files of other programs, beside the GLB that is the authority. One file per format; its name is the suffix.

A module here has `encode(mesh, name) -> bytes`, imports its library within, and keeps colours where
the format has a place for them. DXF and USDZ need the extra `formats`.
"""

from __future__ import annotations

import importlib
import pkgutil

from mapping.objects.mesh import Mesh


class FormatMissing(RuntimeError):
    """No such format, or its library is not installed."""


def available() -> list[str]:
    """Suffixes without the dot."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def encode(suffix: str, mesh: Mesh, name: str = "object") -> bytes:
    """The mesh as a file of that format.

    Raises:
        FormatMissing: no such format, or its library is not installed; the message says what to install.
        MeshError: the mesh has no triangles.
    """
    if suffix not in available():
        raise FormatMissing(f"no format {suffix!r}; there are {', '.join(available())}")
    mesh.bounds_m()
    module = importlib.import_module(f"{__name__}.{suffix}")
    try:
        data: bytes = module.encode(mesh, name)
    except ModuleNotFoundError as error:
        raise FormatMissing(f"{suffix} needs {error.name}: pip install 'commonground[formats]'") from error
    return data
