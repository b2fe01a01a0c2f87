"""The value: Gaussians with colour, in metres, +Y up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mapping.objects.mesh import F32, F64, U8, MeshError

SH_C0 = 0.28209479177387814
"""The constant spherical harmonic: a colour of 0..1 is 0.5 + SH_C0 times its coefficient."""
COEFFICIENTS = (1, 4, 9, 16)
"""Of each colour, by degree."""
MAX_SPLATS = 4_000_000
VISIBLE = 0.1
"""Opacity from which a splat counts for the size of the thing."""
# What turning half way round the x axis does to each spherical harmonic: those odd in y and z together change sign.
_TURNED = np.array([1, -1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Splats:
    """Gaussians: each an ellipsoid whose axes are turned by a quaternion, seen through its opacity."""

    centres_m: F32  # (n, 3)
    sizes_m: F32  # (n, 3) standard deviations along its own axes
    quats_wxyz: F32  # (n, 4) unit
    opacities: F32  # (n,) 0..1
    sh: F32  # (n, 1 | 4 | 9 | 16, 3) coefficients of spherical harmonics, constant first

    def __post_init__(self) -> None:
        n = len(self.centres_m)
        if not 0 < n <= MAX_SPLATS:
            raise MeshError(f"{n} splats: from 1 to {MAX_SPLATS} can be worked on")
        if self.sh.ndim != 3 or self.sh.shape[1] not in COEFFICIENTS or self.sh.shape[2] != 3:
            raise MeshError(f"sh must be (n, {COEFFICIENTS}, 3), got {self.sh.shape}")
        for name, shape in (("centres_m", (n, 3)), ("sizes_m", (n, 3)), ("quats_wxyz", (n, 4)), ("opacities", (n,))):
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise MeshError(f"{name} must be {shape} and finite")
        if len(self.sh) != n or not np.isfinite(self.sh).all():
            raise MeshError("sh must be as many as the centres, and finite")

    def __len__(self) -> int:
        return len(self.centres_m)

    @property
    def rgb(self) -> U8:
        """(n, 3) sRGB without what depends on the direction of view."""
        return np.asarray(np.round(255 * (0.5 + SH_C0 * self.sh[:, 0]).clip(0, 1)), np.uint8)

    def bounds_m(self) -> F64:
        """(2, 3) the box around the centres of those that can be seen."""
        seen = self.opacities >= VISIBLE
        centres = self.centres_m[seen] if seen.any() else self.centres_m
        return np.stack([centres.min(0), centres.max(0)]).astype(np.float64)


def of_rgb(rgb: F32) -> F32:
    """(n, 1, 3) coefficients of colours 0..1 that look the same from everywhere."""
    return ((np.asarray(rgb, np.float32) - 0.5) / SH_C0).astype(np.float32)[:, None]


def on_its_pivot(splats: Splats) -> Splats:
    """The same with the origin in the middle of its bottom."""
    low, high = splats.bounds_m()
    pivot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    return replace(splats, centres_m=(splats.centres_m - pivot).astype(np.float32))


def thinned(splats: Splats, most: int) -> Splats:
    """At most so many of them, evenly out of their order, each larger so that together they cover as much as before."""
    if len(splats) <= most:
        return splats
    kept = np.linspace(0, len(splats) - 1, most).astype(np.int64)
    grow = np.float32(np.sqrt(len(splats) / most))
    return Splats(
        splats.centres_m[kept], splats.sizes_m[kept] * grow, splats.quats_wxyz[kept],
        splats.opacities[kept], splats.sh[kept],
    )  # fmt: skip


def scaled(splats: Splats, factor: float) -> Splats:
    """Larger or smaller about the origin."""
    return replace(
        splats,
        centres_m=(splats.centres_m * np.float32(factor)).astype(np.float32),
        sizes_m=(splats.sizes_m * np.float32(factor)).astype(np.float32),
    )


def upside_down(splats: Splats) -> Splats:
    """Turned half way round the x axis: between +Y down, +Z ahead (as cameras and trained scenes have it) and ours."""
    axes, spins = np.array([1, -1, -1], np.float32), np.array([1, 1, -1, -1], np.float32)
    return replace(
        splats,
        centres_m=splats.centres_m * axes,
        quats_wxyz=splats.quats_wxyz * spins,
        sh=splats.sh * _TURNED[: splats.sh.shape[1], None],
    )


def unit(quats: F32) -> F32:
    """Of length 1; what has none is no turn."""
    length = np.linalg.norm(quats, axis=1, keepdims=True)
    still = np.array([1, 0, 0, 0], np.float32)
    return np.where(length > 1e-12, quats / np.maximum(length, 1e-12), still).astype(np.float32)
