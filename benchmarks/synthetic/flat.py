"""The flat as something to look at and to ask: images with exact depth and pose, and the truth about its space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.synthetic import layout, light, plan, raster, textures
from streams.frame import Intrinsics

AXES: dict[plan.Side, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    # Right and down as seen by who looks at that side.
    "+z": ((1, 0, 0), (0, -1, 0)),
    "-z": ((-1, 0, 0), (0, -1, 0)),
    "+x": ((0, 0, -1), (0, -1, 0)),
    "-x": ((0, 0, 1), (0, -1, 0)),
    "+y": ((1, 0, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, 0, -1)),
}


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a camera in the flat sees."""

    rgb: NDArray[np.uint8]  # (h, w, 3)
    depth_m: NDArray[np.float32]  # (h, w) along the optical axis
    world_from_camera: NDArray[np.float64]  # (4, 4) OpenCV camera axes
    intrinsics: Intrinsics


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """A textured flat with exact truth; `build` makes it."""

    plan: plan.Plan
    boxes: NDArray[np.float64]  # (n, 6) lo, hi of everything solid
    faces: raster.Faces
    atlas: raster.Atlas

    def render(self, world_from_camera: NDArray[np.float64], intrinsics: Intrinsics) -> View:
        """Look from a pose; releases the GIL, so threads render in parallel."""
        rgb, depth = raster.draw(self.faces, self.atlas, world_from_camera, intrinsics)
        return View(rgb, depth, world_from_camera, intrinsics)

    def solid(self, points_world: ArrayLike) -> NDArray[np.bool_]:
        """(...,) whether points (..., 3) lie in a wall or in furniture."""
        p = np.asarray(points_world, dtype=np.float64)[..., None, :]
        return np.asarray(np.any(np.all((p >= self.boxes[:, :3]) & (p <= self.boxes[:, 3:]), axis=-1), axis=-1))

    def clearance_m(self, points_world: ArrayLike) -> NDArray[np.float64]:
        """(...,) distance from points (..., 3) to the nearest surface, 0 inside of anything solid."""
        p = np.asarray(points_world, dtype=np.float64)[..., None, :]
        outside = np.maximum(np.maximum(self.boxes[:, :3] - p, p - self.boxes[:, 3:]), 0.0)
        return np.asarray(np.sqrt(np.min(np.sum(outside**2, axis=-1), axis=-1)))

    def is_free(self, points_world: ArrayLike, margin_m: float = 0.0) -> NDArray[np.bool_]:
        """(...,) whether points (..., 3) keep `margin_m` from everything solid."""
        return self.clearance_m(points_world) > margin_m

    def depth_along(
        self, world_from_camera: NDArray[np.float64], intrinsics: Intrinsics, pixels: ArrayLike
    ) -> NDArray[np.float64]:
        """Depth (n,) at pixels (n, 2) by casting rays against the boxes: slow, and independent of the renderer."""
        uv = np.asarray(pixels, dtype=np.float64)
        k = intrinsics
        rays = np.stack([(uv[:, 0] - k.cx) / k.fx, (uv[:, 1] - k.cy) / k.fy, np.ones(len(uv))], axis=1)
        rays = rays @ world_from_camera[:3, :3].T
        x, y, z = world_from_camera[:3, 3]
        return np.array([light.first_hit(x, y, z, *ray, 100.0, self.boxes) for ray in rays])


def build(seed: int = 0) -> Flat:
    """Lay out, paint and light the flat (a few seconds)."""
    rooms = layout.plan()
    boxes = np.array([[*b.lo, *b.hi] for b in rooms.boxes], dtype=np.float64)
    paints = textures.materials(seed)
    index = {name: i for i, name in enumerate(paints)}
    atlas = raster.Atlas.pack([m.texture for m in paints.values()])
    sides = [s for b in rooms.boxes for s in _sides_of(b)] + [_side_of_picture(p) for p in rooms.pictures]
    origin, right, down = (
        np.array([getattr(s, n) for s in sides], dtype=np.float64) for n in ("origin", "right", "down")
    )
    size_m = np.array([s.size for s in sides])
    start, shape, texels = light.bake(origin, right, down, size_m, boxes, np.array(rooms.lamps))
    rng = np.random.default_rng([seed, 1])
    offset = np.array([(0.0, 0.0) if s.fitted else rng.uniform(0, 1024, 2) for s in sides])
    covers = np.array([s.size if s.fitted else (paints[s.material].width_m,) * 2 for s in sides])
    texture = np.array([index[s.material] for s in sides], np.int32)
    per_m = 2.0 ** atlas.log2_size[texture][:, None] / covers
    faces = raster.Faces(
        origin,
        right,
        down,
        size_m,
        texture,
        per_m,
        offset,
        start,
        shape,
        texels,
    )
    return Flat(rooms, boxes, faces, atlas)


@dataclass(frozen=True, slots=True)
class _Side:
    origin: tuple[float, float, float]
    right: tuple[int, int, int]
    down: tuple[int, int, int]
    size: tuple[float, float]
    material: str
    fitted: bool


def _sides_of(box: plan.Box) -> list[_Side]:
    out = []
    center = tuple((a + b) / 2 for a, b in zip(box.lo, box.hi, strict=True))
    extent = tuple(b - a for a, b in zip(box.lo, box.hi, strict=True))
    for side, (right, down) in AXES.items():
        axis = "xyz".index(side[1])
        if side == "-y" and box.lo[1] <= 0.0:
            continue
        middle = list(center)
        middle[axis] = box.hi[axis] if side[0] == "+" else box.lo[axis]
        size = (sum(abs(r) * e for r, e in zip(right, extent, strict=True)),
                sum(abs(d) * e for d, e in zip(down, extent, strict=True)))  # fmt: skip
        out.append(
            _rectangle(middle, right, down, size, box.side_materials.get(side, box.material), side in box.fitted)
        )
    return out


def _side_of_picture(picture: plan.Picture) -> _Side:
    right, down = AXES[picture.side]
    repeats = picture.name == "skirting"
    return _rectangle(list(picture.center), right, down, picture.size, picture.material, not repeats)


def _rectangle(
    center: list[float],
    right: tuple[int, int, int],
    down: tuple[int, int, int],
    size: tuple[float, float],
    material: str,
    fitted: bool,
) -> _Side:
    x, y, z = (center[i] - right[i] * size[0] / 2 - down[i] * size[1] / 2 for i in range(3))
    return _Side((x, y, z), right, down, size, material, fitted)
