"""The story of a capture: views agree, the thing is told from the rest, carved, cleaned, dressed, put on its pivot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mapping.objects import solid
from mapping.objects.atlas import unwrapped
from mapping.objects.baking import baked
from mapping.objects.capture import carving, masks, poses, region
from mapping.objects.cleaning import clean, smooth
from mapping.objects.decimation import decimated
from mapping.objects.mesh import F32, F64, Mesh, floor_centre_m, moved
from mapping.objects.quality import Agreement, compare
from mapping.objects.raster import picture
from mapping.objects.view import View
from mapping.transforms import look_at, rigid
from streams.frame import Intrinsics

MIN_VIEWS = 2


class Config(BaseModel):
    """How fine a capture is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    voxels: int = Field(default=110, ge=32, le=256)
    """Along the thing's longest side."""
    min_voxel_m: float = Field(default=0.0015, gt=0)
    smoothing_rounds: int = Field(default=8, ge=0)
    max_faces: int = Field(default=8000, ge=100)
    texture_px: int = Field(default=1024, ge=64, le=4096)
    agreeing: poses.Config = poses.Config()


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A thing of the world, and how well it fits the pictures it was made from."""

    mesh: Mesh  # on its pivot
    world_from_mesh: F64  # (4, 4)
    agreement: Agreement
    views: tuple[View, ...]
    """With the poses and masks that were used."""


def capture(
    views: Sequence[View],
    pick: region.Pick | None,
    config: Config = Config(),  # noqa: B008
    between: Callable[[str], None] = lambda stage: None,
) -> Captured:
    """Make the picked thing of a few keyframes with depth; without a pick, every view must have its mask.

    `between` is called before each of `STAGES`; it may take its time, or raise to give up.

    Raises:
        region.NothingThere: the pick means nothing that could be captured.
        mesh.MeshError: the masks and depth enclose nothing.
    """
    between("poses")
    views = poses.agreed([replace(view, depth_m=_denoised(view)) for view in views], config.agreeing)
    between("masks")
    if pick is not None:
        place = region.find(views, pick)
        views = masks.masked(views, place)
        floor, (low_m, high_m) = place.floor, place.bounds_m()
    else:
        floor, low_m, high_m = _of_masks(views)
    if len(views) < MIN_VIEWS:
        raise region.NothingThere(f"only {len(views)} keyframes see it with depth: film it from more sides")
    between("carve")
    voxel_m = max(config.min_voxel_m, float((high_m - low_m).max()) / config.voxels)
    raw = carving.surface(carving.carve(views, low_m, high_m, voxel_m, floor))
    shape = decimated(smooth(clean(raw), config.smoothing_rounds), config.max_faces)
    between("unwrap")
    flat = unwrapped(shape, config.texture_px)
    between("bake")
    dressed = baked(flat, views, config.texture_px)
    between("check")
    pivot_m = floor_centre_m(dressed)
    return Captured(moved(dressed, -pivot_m), rigid(np.eye(3), pivot_m), compare(dressed, views), tuple(views))


STAGES = ("poses", "masks", "carve", "unwrap", "bake", "check")


def warm_up() -> None:
    """Compile every kernel: capture a box that three small views show."""
    thing = solid.box(0.2, 0.2, 0.2)
    k = Intrinsics.from_fov(48, 36)
    views = []
    for eye in ([0.5, 0.3, 0.0], [0.0, 0.3, 0.5], [-0.4, 0.3, -0.3]):
        pose = look_at(eye, [0.0, 0.1, 0.0])
        rgb, depth_m = picture(thing, pose, k)
        views.append(View(rgb, pose, k, depth_m > 0, depth_m))
    capture(views, None, Config(voxels=32, texture_px=64))


def _of_masks(views: Sequence[View]) -> tuple[region.Floor, F64, F64]:
    """The lowest height and the box of the points within the views' own masks, less a few strays."""
    points = [
        region.world_points(v)[v.mask & (v.depth_m > 0)] for v in views if v.mask is not None and v.depth_m is not None
    ]
    together = np.concatenate([np.empty((0, 3)), *points])
    if len(together) < 50 or len(points) < len(views):
        raise region.NothingThere("without a pick every view needs a mask, and depth in it")
    low_m, high_m = np.percentile(together, 0.3, axis=0), np.percentile(together, 99.7, axis=0)
    margin_m = 0.03 * float((high_m - low_m).max())
    return region.Floor(0.0, 0.0, float(low_m[1])), low_m - margin_m, high_m + margin_m


def _denoised(view: View) -> F32:
    """(h, w) the view's depth with the noise of single pixels averaged out and jumps kept.

    Raises:
        region.NothingThere: it has no depth.
    """
    if view.depth_m is None or not (view.depth_m > 0).any():
        raise region.NothingThere("a keyframe has no depth yet: wait until the map has seen it")
    depth_m = np.ascontiguousarray(view.depth_m, np.float32)
    range_m = 0.025 * float(np.median(depth_m[depth_m > 0]))
    return np.where(depth_m > 0, cv2.bilateralFilter(depth_m, 7, range_m, 2.0), 0).astype(np.float32)
