"""The look of a mesh where there is no place for a picture: a colour for each vertex, or one for all of it."""

from __future__ import annotations

import cv2
import numpy as np

from mapping.objects.mesh import U8, Mesh


def vertex_rgb(mesh: Mesh) -> U8:
    """(n, 3) sRGB: its own colours, its picture at each vertex, or its material's colour."""
    colours = np.full((len(mesh.vertices_m), 3), 255.0, np.float32)
    if mesh.texture is not None and mesh.uv is not None:
        height, width = mesh.texture.shape[:2]
        columns, rows = (mesh.uv * [width, height] - 0.5).astype(np.float32).T
        # cv2 takes pictures of at most 2^15 pixels a side: the vertices stand in as many rows as are needed.
        side = int(np.ceil(np.sqrt(len(columns))))
        column, row = (np.pad(c, (0, side * side - len(c))).reshape(side, side) for c in (columns, rows))
        seen = cv2.remap(mesh.texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        colours = seen.reshape(-1, 3)[: len(columns)].astype(np.float32)
    elif mesh.rgb is not None:
        colours = mesh.rgb.astype(np.float32)
    return np.asarray(np.round(colours * np.array(mesh.material.rgb) / 255), np.uint8)


def mean_rgb(mesh: Mesh) -> tuple[int, int, int]:
    """One sRGB colour for all of it."""
    red, green, blue = (round(float(v)) for v in vertex_rgb(mesh)[mesh.faces.ravel()].mean(axis=0))
    return red, green, blue
