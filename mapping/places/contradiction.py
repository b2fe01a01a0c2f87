"""Whether what two components show contradicts where a tie puts them: a room is more than the table in it.

Recognition counts what agrees. Two rooms that hold the same table agree on it as well as one room does with itself;
but there the walls do not. So before a tie is believed, keyframes of either side are laid over each other by their own
depth, and asked whether surfaces that come to lie in one place look the same (correlation of patches: it does not mind
exposure). What is hidden, plain, unsure or out of the picture says nothing. Depth by itself says nothing either: that
of a young map is off by more than two rooms of one plan differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mapping.kept import Kept
from mapping.sampling import evenly
from mapping.transforms import F64, Sim3, invert, unproject
from streams.frame import Intrinsics

_F32 = NDArray[np.float32]


class Config(BaseModel):
    """How much may differ where two phones show one place.

    Of what could be compared, less than 9 % differs between true ties of real rooms, and 30 % and more between
    rooms of one plan that share a table of a third of the picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_share: float = Field(default=0.2, gt=0, le=1)
    """Of the comparable pixels may look different."""
    min_pixels: int = Field(default=400, ge=1)
    """Comparable, of all pairs together: with fewer, nothing is said."""
    max_pairs: int = Field(default=6, ge=1)
    """Pairs of keyframes looked at, evenly chosen."""
    min_confidence: float = Field(default=0.25, ge=0, le=1)
    depth_error: float = Field(default=0.2, gt=0)
    """Depths are the same within this share of them: three times what depth engines are off by."""
    min_correlation: float = Field(default=0.4, ge=-1, le=1)
    """Patches that are less alike show different things."""
    patch_px: int = Field(default=5, ge=3)
    shift_px: int = Field(default=1, ge=0)
    """A patch may lie this far from where depth puts it."""
    min_contrast: float = Field(default=6.0, gt=0)
    """Standard deviation of a patch in gray levels from which on it has looks to compare."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A keyframe at the size that is compared: half of that of its depth."""

    component_from_camera: F64  # (4, 4)
    intrinsics: Intrinsics
    depth: _F32  # (h, w) component units, 0 = unknown or unsure
    gray: _F32  # (h, w)

    @staticmethod
    def of(kept: Kept, min_confidence: float) -> View:
        """Of a kept keyframe."""
        sure = kept.confidence >= 255 * min_confidence
        height, width = kept.depth.shape[0] // 2, kept.depth.shape[1] // 2
        depth = np.where(sure, kept.depth, np.float16(0)).astype(np.float32)[: 2 * height : 2, : 2 * width : 2]
        small = cv2.resize(kept.rgb[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        return View(
            kept.component_from_camera, kept.intrinsics.scaled(width, height), depth,
            cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """What two sides say about each other, in pixels."""

    compared: int = 0
    """Both see one surface there that has looks to compare."""
    unlike: int = 0

    def __add__(self, other: Difference) -> Difference:
        return Difference(self.compared + other.compared, self.unlike + other.unlike)

    def is_contradiction(self, config: Config = Config()) -> bool:  # noqa: B008
        """Enough was compared, and too much of it is unlike."""
        return self.compared >= config.min_pixels and self.unlike > config.max_share * self.compared

    def is_agreement(self, config: Config = Config()) -> bool:  # noqa: B008
        """Enough was compared, and most of it is alike."""
        return self.compared >= config.min_pixels and self.unlike <= config.max_share * self.compared


def contradicts(b_from_a: Sim3, pairs: Iterable[tuple[Kept, Kept]], config: Config = Config()) -> bool:  # noqa: B008
    """Whether keyframes (of a, of b) show that a similarity between their components cannot be right."""
    return difference(b_from_a, pairs, config).is_contradiction(config)


def difference(
    b_from_a: Sim3,
    pairs: Iterable[tuple[Kept, Kept]],
    config: Config = Config(),  # noqa: B008
) -> Difference:
    """What keyframes (of a, of b) differ in, laid over each other both ways by a similarity of their components."""
    known = [(a, b) for a, b in pairs if np.any(a.depth) and np.any(b.depth)]
    views: dict[str, View] = {}
    total = Difference()
    for pair in known[evenly(len(known), config.max_pairs)]:
        for kept in pair:
            if kept.id not in views:
                views[kept.id] = View.of(kept, config.min_confidence)
        a, b = (views[kept.id] for kept in pair)
        total = total + _seen_by(b, a, b_from_a, config) + _seen_by(a, b, b_from_a.inverse(), config)
    return total


def _seen_by(b: View, a: View, b_from_a: Sim3, config: Config) -> Difference:
    """What view b says about the surfaces that view a shows."""
    camera_b_from_a = Sim3.from_rigid(invert(b.component_from_camera)) @ b_from_a
    points = (camera_b_from_a @ Sim3.from_rigid(a.component_from_camera)).apply(
        unproject(a.depth, a.intrinsics).reshape(-1, 3).astype(np.float64)
    )
    x, y, z = points.T.astype(np.float32).reshape(3, *a.depth.shape)
    k = b.intrinsics
    ahead = (a.depth > 0) & (z > 1e-6)
    safe_z = np.where(ahead, z, np.float32(1.0))
    u, v = k.fx * x / safe_z + np.float32(k.cx - 0.5), k.fy * y / safe_z + np.float32(k.cy - 0.5)
    inside = ahead & (u >= 0) & (u <= k.width - 1) & (v >= 0) & (v <= k.height - 1)
    column, row = (np.where(inside, np.rint(at), 0).astype(np.intp) for at in (u, v))
    measured = np.where(inside, b.depth[row, column], np.float32(0.0))
    is_same = (measured > 0) & (np.abs(z - measured) < config.depth_error * measured)
    has_looks, is_alike = _compared(a.gray, b.gray, u, v, is_same, config)
    return Difference(int(np.count_nonzero(has_looks)), int(np.count_nonzero(has_looks & ~is_alike)))


def _compared(
    gray_a: _F32, gray_b: _F32, u: _F32, v: _F32, is_same: NDArray[np.bool_], config: Config
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Around which pixels (h, w) of a both pictures show something, and whether it is alike, b's looked up at (u, v).

    Sums go over those pixels of a patch alone whose surface is the same on both sides.
    """
    weight = is_same.astype(np.float32)
    share = _blurred(weight, config)
    scale = 1.0 / np.maximum(share, 1e-6)
    mean_a = _blurred(gray_a * weight, config) * scale
    variance_a = _blurred(gray_a * gray_a * weight, config) * scale - mean_a**2
    best, variance_b = np.full(share.shape, -1.0, np.float32), variance_a
    shifts = range(-config.shift_px, config.shift_px + 1)
    for du, dv in ((du, dv) for du in shifts for dv in shifts):
        seen = cv2.remap(gray_b, u + np.float32(du), v + np.float32(dv), cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        mean = _blurred(seen * weight, config) * scale
        variance = _blurred(seen * seen * weight, config) * scale - mean**2
        together = _blurred(gray_a * seen * weight, config) * scale - mean_a * mean
        np.maximum(best, together / np.sqrt(np.maximum(variance_a, 1.0) * np.maximum(variance, 1.0)), out=best)
        if du == dv == 0:
            variance_b = np.asarray(variance, np.float32)
    has_looks = is_same & (share > 0.6) & (np.minimum(variance_a, variance_b) > config.min_contrast**2)
    return has_looks, best >= config.min_correlation


def _blurred(image: _F32, config: Config) -> _F32:
    return np.asarray(cv2.blur(image, (config.patch_px, config.patch_px)), np.float32)
