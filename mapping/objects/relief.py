"""One photo into a body at once: the silhouette, inflated, with the photo on it and its mirror image behind.

Heights solve Poisson's equation over the mask, `laplace h = -4` with 0 at the rim, and the surface stands at `sqrt(h)`
(Johnston 2002; Nealen et al. 2007 inflate sketches so): a disc becomes a ball, a stripe a tube. What the photo does not
show is a guess, and says so: it is a stand-in that fits its picture from the front.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mapping.changes import VoxelWindow
from mapping.objects.cleaning import clean, smooth
from mapping.objects.decimation import decimated
from mapping.objects.mesh import F32, U8, Mesh, from_arrays, on_its_pivot, scaled, vertex_normals
from mapping.volume.surface import extract

_STEP_LIMIT = 1.4
_EDGE = 1 / 256
"""Of the picture's longer side: how far thing and background mix at the rim."""
_PART, _BESIDE = 0.02, 0.1
"""A part of the thing has so much of its largest part's area, and is so near, of its longer side."""


class Config(BaseModel):
    """How fine and how thick a relief is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cells: int = Field(default=112, ge=24, le=256)
    """Along the longer side."""
    thickness: float = Field(default=0.7, gt=0, le=1.5)
    """1: a disc becomes a ball."""
    max_faces: int = Field(default=4000, ge=100)
    texture_px: int = Field(default=1024, ge=64, le=4096)
    """Longer side of the picture on it, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Relief:
    """The body, and the mask that it was made from: without specks in it and beside it."""

    mesh: Mesh  # on its pivot, front towards +Z
    mask: NDArray[np.bool_]  # (h, w)


def relief(
    rgb: U8,
    height_m: float,
    mask: NDArray[np.bool_],
    config: Config = Config(),  # noqa: B008
) -> Relief:
    """A body of that height, of what a mask (h, w) shows of a picture (h, w, 3); an empty one shows all.

    Raises:
        ValueError: the mask has another size than the picture.
    """
    if mask.shape != rgb.shape[:2]:
        raise ValueError(f"the mask is {mask.shape}, the picture {rgb.shape[:2]}")
    mask = _whole(mask)
    rows, columns = np.nonzero(mask)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    part, picture = mask[top:bottom, left:right], rgb[top:bottom, left:right]
    shape = _inflated(part, config)
    # The picture lies over the front: what the mask leaves out of it takes the colours beside it.
    height, width = part.shape
    uv = np.stack([shape.vertices_m[:, 0] / width, 1 - shape.vertices_m[:, 1] / height], axis=1)
    dressed = replace(
        shape,
        normals=vertex_normals(shape),
        uv=np.clip(uv, 0, 1).astype(np.float32),
        texture=_texture(picture, part, max(rgb.shape[:2]), config),
    )
    return Relief(on_its_pivot(scaled(dressed, height_m / float(shape.extents_m()[1]))), mask)


def _whole(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part with those beside it (a highlight cuts a handle off), small holes filled; else everything."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return np.ones(mask.shape, np.bool_)
    areas = stats[:, cv2.CC_STAT_AREA]
    largest = 1 + int(areas[1:].argmax())
    away_px = cv2.distanceTransform((labels != largest).astype(np.uint8), cv2.DIST_L2, 5)
    reach_px = _BESIDE * max(stats[largest, cv2.CC_STAT_WIDTH], stats[largest, cv2.CC_STAT_HEIGHT])
    near = [n for n in range(1, count) if areas[n] > _PART * areas[largest] and away_px[labels == n].min() < reach_px]
    body = np.isin(labels, near)
    holes, labels, stats, _ = cv2.connectedComponentsWithStats((~body).astype(np.uint8), connectivity=4)
    small = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] < 0.002 * body.sum()) if holes > 1 else np.empty(0)
    return np.asarray(body | np.isin(labels, small))


def _inflated(mask: NDArray[np.bool_], config: Config) -> Mesh:
    """The body over a mask (h, w), in pixels: x to the right, y up, z to the front."""
    height, width = mask.shape
    step = max(height, width) / config.cells
    size = (max(4, round(width / step)), max(4, round(height / step)))
    soft = cv2.GaussianBlur(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA), (3, 3), 0)
    inside = np.pad(soft > 0.5, 3)
    heights = np.sqrt(_poisson(inside)) * config.thickness
    reach = int(np.ceil(heights.max())) + 3
    outside = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    z = np.arange(-reach, reach + 1, dtype=np.float32)
    # Roughly a distance: exact at the surface, right in sign everywhere, and continuous over the rim.
    square = np.where(inside, heights**2, -(outside**2)).astype(np.float32)
    field = (z**2 - square[..., None]) / (2 * np.sqrt(np.maximum(z**2, np.abs(square)[..., None]) + 0.25))
    field = np.ascontiguousarray(np.clip(field, -_STEP_LIMIT, _STEP_LIMIT).transpose(1, 0, 2)[:, ::-1])
    window = VoxelWindow((0, 0, 0), field, np.ones_like(field), np.zeros((*field.shape, 3), np.uint8))
    found = extract(window, 1.0)
    middle = np.array([3.0, 3.0, reach + 0.5], np.float32)
    shape = smooth(clean(from_arrays(found.vertices_m - middle, found.indices), 0.01), 4)
    shape = decimated(shape, config.max_faces)
    return from_arrays(shape.vertices_m * np.array([width / size[0], height / size[1], step], np.float32), shape.faces)


def _poisson(inside: NDArray[np.bool_]) -> F32:
    """(h, w) the solution of `laplace h = -4` within, 0 outside."""
    number = np.full(inside.shape, -1, np.int64)
    number[inside] = np.arange(inside.sum())
    here = number[inside]
    rows, columns, values = [here], [here], [np.full(len(here), 4.0)]
    for axis in (0, 1):
        for shift in (-1, 1):
            beside = np.roll(number, shift, axis)[inside]
            known = beside >= 0
            rows.append(here[known])
            columns.append(beside[known])
            values.append(np.full(int(known.sum()), -1.0))
    matrix = sparse.csc_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))))
    out = np.zeros(inside.shape, np.float32)
    out[inside] = np.maximum(spsolve(matrix, np.full(len(here), 4.0)), 0)
    return out


def _texture(picture: U8, mask: NDArray[np.bool_], max_px: int, config: Config) -> U8:
    """Part of a picture of `max_px`, at most so large, its thing's own colours drawn out over all else."""
    factor = min(1.0, config.texture_px / max(mask.shape))
    size = (max(1, round(mask.shape[1] * factor)), max(1, round(mask.shape[0] * factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    deep_px = cv2.distanceTransform(
        np.pad(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), 1), cv2.DIST_L2, 5
    )[1:-1, 1:-1]
    edge_px = max(2, round(_EDGE * factor * max_px)) + 0.5
    # What is thinner than two edges has its colours along its middle.
    middle_px = cv2.dilate(deep_px, np.ones((3, 3), np.uint8))
    inner = ((deep_px > 0) & (deep_px >= np.minimum(edge_px, middle_px))).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(1 - inner, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    of_label[nearest[inner > 0]] = small[inner > 0]
    return np.asarray(of_label[nearest])
