"""`.splat`: 32 bytes a Gaussian, without header or what depends on the direction of view; +Y down as the PLYs.

Centre and sizes as floats, red, green, blue and opacity as bytes, a quaternion wxyz in four bytes; those that show most
stand first, so that a viewer can begin before it has all.
"""

from __future__ import annotations

import numpy as np

from mapping.objects.mesh import MeshError
from mapping.objects.splats.cloud import Splats, of_rgb, unit, upside_down

_SPLAT = np.dtype([("centre", "<f4", 3), ("size", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def encode(splats: Splats) -> bytes:
    """Colours and opacities to 8 bits, turns to 7; spherical harmonics beyond the constant are left out."""
    out = upside_down(splats)
    first = np.argsort(-out.opacities * out.sizes_m.astype(np.float64).prod(axis=1), kind="stable")
    table = np.zeros(len(out), _SPLAT)
    table["centre"], table["size"] = out.centres_m, out.sizes_m
    table["rgba"][:, :3] = out.rgb
    table["rgba"][:, 3] = np.round(255 * out.opacities.clip(0, 1))
    table["quat"] = np.round(out.quats_wxyz * 128 + 128).clip(0, 255)
    return table[first].tobytes()


def decode(data: bytes) -> Splats:
    """
    Raises:
        MeshError: the length is not that of such a file, or a value is no number.
    """
    if not data or len(data) % _SPLAT.itemsize:
        raise MeshError(f"{len(data)} bytes are no .splat file")
    table = np.frombuffer(data, _SPLAT)
    rgba = np.asarray(table["rgba"] / 255, np.float32)
    quats = unit(np.asarray((table["quat"] - 128.0) / 128, np.float32))
    return upside_down(
        Splats(table["centre"].copy(), table["size"].copy(), quats, rgba[:, 3].copy(), of_rgb(rgba[:, :3]))
    )
