"""How true a captured object is: a mug with a handle on a box, seen by eight keyframes, against exact truth.

    python -m benchmarks.capture --json

Twice: with exact masks and poses and 4 mm of depth noise (`capture_f1_clean`, texture `capture_psnr_db`, wall time
`capture_s`); then as the product is used: one box drawn in one keyframe, poses off by 1 degree and 1 cm
(`capture_f1_noisy`). Means over seeds; `capture_placed_m` is the worst. F1 is of points of the surface within 10 mm, as
placed in the world: nothing is aligned first. PSNR is over pictures from between the keyframes, which the capture never
saw. `full_set_s` is what follows: levels of detail, hull, convex parts, encodings, thumbnail and turntable of the
captured mesh; `glb_errors` is what Khronos' validator has to say of all its GLBs, a relief's, and one of every prim.

`refine_*` is what refinement makes of a race's winner that stands 15 degrees, 10 % and 5 cm off and has pale colours:
its score before and after, PSNR by pictures that it never saw, how far off it still is, and CPU seconds.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace

import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks import gltf_validator
from mapping.objects import finishing, glb
from mapping.objects.capture import capturing, region
from mapping.objects.fitting import Fit
from mapping.objects.judging import standing
from mapping.objects.mesh import F64, Mesh, from_arrays, joined, moved, sampled
from mapping.objects.prims.grammar import SHAPES, understood
from mapping.objects.prims.shapes import built
from mapping.objects.quality import compare
from mapping.objects.raster import draw, interpolated
from mapping.objects.refining import refined
from mapping.objects.relief import relief
from mapping.objects.view import View
from mapping.transforms import angle_between, exp_so3, look_at, rigid
from streams.frame import Intrinsics

WIDTH, HEIGHT = 518, 392
NUM_VIEWS = 8
DEPTH_NOISE_M = 0.004
THRESHOLD_M = 0.010
_BOX_M = (0.30, 0.20, 0.22)
_MUG_RADIUS_M, _MUG_HEIGHT_M, _MUG_WALL_M = 0.042, 0.11, 0.006
_SAMPLES = 40_000


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The object, and the room around it; both in the world."""

    thing: Mesh
    room: Mesh

    def view(self, world_from_camera: F64, k: Intrinsics) -> View:
        """What a camera sees, with exact depth and the thing's exact mask."""
        whole = joined([self.thing, self.room])
        drawn = draw(whole, world_from_camera, k)
        fine = draw(whole, world_from_camera, k.scaled(2 * k.width, 2 * k.height))
        rgb = _paint(interpolated(fine, whole.faces, whole.vertices_m), fine.face >= len(self.thing.faces))
        rgb = rgb.reshape(k.height, 2, k.width, 2, 3).mean(axis=(1, 3))
        mask = (drawn.face >= 0) & (drawn.face < len(self.thing.faces))
        return View(np.round(rgb).astype(np.uint8), world_from_camera, k, mask, drawn.depth_m)


def build(yaw_rad: float = 0.4, at_m: tuple[float, float, float] = (0.8, 0.0, -0.5)) -> Scene:
    """The mug on the box, turned and set down away from the origin."""
    box = manifold3d.Manifold.cube(_BOX_M, True).translate((0, _BOX_M[1] / 2, 0))
    r, h, t = _MUG_RADIUS_M, _MUG_HEIGHT_M, _MUG_WALL_M
    cup = manifold3d.Manifold.cylinder(h, r, r, 96) - manifold3d.Manifold.cylinder(h, r - t, r - t, 96).translate(
        (0, 0, t)
    )
    ring = manifold3d.CrossSection.circle(0.006, 24).translate((0.030, 0)).revolve(64).rotate((90, 0, 0))
    handle = ring.translate((r, 0, h / 2)) - manifold3d.Manifold.cylinder(h, r - t / 2, r - t / 2, 96)
    mug = (cup + handle).rotate((-90, 0, 0)).translate((0.03, _BOX_M[1], 0.01))
    whole = (box + mug).rotate((0, np.degrees(yaw_rad), 0)).translate(at_m)
    thing = from_arrays(np.asarray(whole.to_mesh().vert_properties)[:, :3], np.asarray(whole.to_mesh().tri_verts))
    return Scene(thing, joined([_grid(6.0, 60), _wall(6.0, 60)]))


def poses(scene: Scene, count: int, turn_rad: float = 0.0) -> list[F64]:
    """Cameras on a ring around the thing, alternately high and low, as somebody walks who films it."""
    low, high = scene.thing.bounds_m()
    centre = (low + high) / 2
    out = []
    for i in range(count):
        azimuth, elevation = turn_rad + 2 * np.pi * i / count, (0.35, 0.75)[i % 2]
        direction = np.array(
            [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)]
        )
        out.append(look_at(centre + 0.85 * direction, centre))
    return out


def noisy(views: list[View], seed: int, depth_m: float = 0.0, turn_deg: float = 0.0, move_m: float = 0.0) -> list[View]:
    """The views with Gaussian noise on depth, and poses that are off by an angle and a way of just that size."""
    rng = np.random.default_rng(seed)
    out = []
    for view in views:
        assert view.depth_m is not None
        z = view.depth_m + rng.normal(0, depth_m, view.depth_m.shape) * (view.depth_m > 0)
        pose = view.world_from_camera.copy()
        pose[:3, :3] = exp_so3(np.radians(turn_deg) * _direction(rng)) @ pose[:3, :3]
        pose[:3, 3] += move_m * _direction(rng)
        out.append(replace(view, depth_m=z.astype(np.float32), world_from_camera=pose))
    return out


def f1(found: Mesh, truth: Mesh, threshold_m: float = THRESHOLD_M) -> float:
    """Harmonic mean of the shares of each surface that lie near the other one."""
    a, _ = sampled(found, _SAMPLES, seed=1)
    b, _ = sampled(truth, _SAMPLES, seed=2)
    precision = float((cKDTree(b).query(a)[0] < threshold_m).mean())
    recall = float((cKDTree(a).query(b)[0] < threshold_m).mean())
    return 2 * precision * recall / max(precision + recall, 1e-9)


@dataclass(frozen=True, slots=True)
class Score:
    """One capture against the truth."""

    f1: float
    psnr_db: float
    placed_m: float
    """Between the middles of the boxes around what was captured and what is."""
    seconds: float


def score(scene: Scene, views: list[View], pick: region.Pick | None, held_out: list[View]) -> Score:
    """Capture and measure."""
    begun = time.perf_counter()
    found = capturing.capture(views, pick)
    seconds = time.perf_counter() - begun
    placed = moved(found.mesh, found.world_from_mesh[:3, 3])
    off_m = float(np.linalg.norm(placed.bounds_m().mean(0) - scene.thing.bounds_m().mean(0)))
    return Score(f1(placed, scene.thing), compare(placed, held_out).psnr_db, off_m, seconds)


def box_around(view: View, number: int, margin_px: float = 6.0) -> region.Box:
    """What somebody draws around the thing in one view."""
    assert view.mask is not None
    rows, columns = np.nonzero(view.mask)
    return region.Box(
        number, columns.min() - margin_px, rows.min() - margin_px, columns.max() + margin_px, rows.max() + margin_px
    )


def run(seeds: int = 3) -> dict[str, float]:
    """Every figure, with exact and with noisy masks and poses."""
    scene, k = build(), Intrinsics.from_fov(WIDTH, HEIGHT)
    views = [scene.view(pose, k) for pose in poses(scene, NUM_VIEWS)]
    held_out = [scene.view(pose, k) for pose in poses(scene, NUM_VIEWS, turn_rad=np.pi / NUM_VIEWS)]
    bare = [replace(view, mask=None) for view in views]
    score(scene, noisy(views, 100, DEPTH_NOISE_M), None, held_out[:1])  # compiles
    clean = [score(scene, noisy(views, seed, DEPTH_NOISE_M), None, held_out) for seed in range(seeds)]
    rough = [
        score(scene, noisy(bare, seed, DEPTH_NOISE_M, 1.0, 0.01), box_around(views[0], 0), held_out)
        for seed in range(seeds)
    ]
    return {
        "capture_f1_clean": float(np.mean([s.f1 for s in clean])),
        "capture_f1_noisy": float(np.mean([s.f1 for s in rough])),
        "capture_psnr_db": float(np.mean([s.psnr_db for s in clean])),
        "capture_placed_m": max(s.placed_m for s in clean + rough),
        "capture_s": float(np.median([s.seconds for s in clean + rough])),
        **_published(capturing.capture(noisy(views, 0, DEPTH_NOISE_M), None).mesh, views[0]),
    }


def refinement(turn_deg: float = 15.0, grow: float = 1.1, shift_m: float = 0.05) -> dict[str, float]:
    """A captured mug with pale colours is put off its place, and refined."""
    scene, k = build(), Intrinsics.from_fov(WIDTH, HEIGHT)
    exact = [scene.view(pose, k) for pose in poses(scene, NUM_VIEWS)]
    held_out = [scene.view(pose, k) for pose in poses(scene, NUM_VIEWS, turn_rad=np.pi / NUM_VIEWS)]
    views = noisy(exact, 0, DEPTH_NOISE_M)
    made = capturing.capture(views, None)
    assert made.mesh.texture is not None
    pale = replace(made.mesh, texture=(0.4 * made.mesh.texture + 90).astype(np.uint8))
    true = made.world_from_mesh
    turn = exp_so3(np.array([0.0, np.radians(turn_deg), 0.0]))
    off = rigid(turn @ true[:3, :3], true[:3, 3] + shift_m * np.array([1.0, 0.0, 1.0]) / np.sqrt(2))
    begun = time.process_time()
    found = refined(pale, views, Fit(grow, off))
    seconds = time.process_time() - begun
    stands = found.after.world_from_mesh
    assert stands is not None
    before, after = standing(pale, grow, off), standing(found.mesh, 1.0, stands)
    return {
        "refine_score_before": found.before.score,
        "refine_score_after": found.after.score,
        "refine_psnr_before_db": compare(before, held_out).psnr_db,
        "refine_psnr_after_db": compare(after, held_out).psnr_db,
        "refine_off_deg": float(np.degrees(angle_between(stands[:3, :3], true[:3, :3]))),
        "refine_off_m": float(np.linalg.norm(stands[:3, 3] - true[:3, 3])),
        "refine_s": seconds,
    }


def captured_mug() -> Mesh:
    """What is captured of noisy depth and exact masks: a mesh as providers publish them."""
    scene, k = build(), Intrinsics.from_fov(WIDTH, HEIGHT)
    views = [scene.view(pose, k) for pose in poses(scene, NUM_VIEWS)]
    return capturing.capture(noisy(views, 0, DEPTH_NOISE_M), None).mesh


def _published(mesh: Mesh, photo: View) -> dict[str, float]:
    """Seconds until a captured mesh can be shown and until all of it is there, and errors in what is published."""
    begun = time.perf_counter()
    first, _ = finishing.shown(mesh, "mug", 8000, {})
    shown_s = time.perf_counter() - begun
    files = [*first, *finishing.rest(mesh, "mug", {})]
    full_set_s = time.perf_counter() - begun
    glbs = {file.name: file.data for file in files if file.name.endswith(".glb")}
    assert photo.mask is not None
    glbs["relief"] = glb.encode(relief(photo.rgb, 0.3, photo.mask).mesh)
    glbs |= {noun: glb.encode(built(understood(f"red {noun}")), noun) for noun in SHAPES}
    return {"shown_s": shown_s, "full_set_s": full_set_s, "glb_errors": len(gltf_validator.errors(glbs))}


def main(argv: list[str]) -> None:
    figures = run() | refinement()
    if "--json" in argv:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:20} {value:.4g}")


def _direction(rng: np.random.Generator) -> F64:
    v = rng.normal(size=3)
    return np.asarray(v / np.linalg.norm(v))


def _grid(side_m: float, cells: int) -> Mesh:
    """The floor, in small squares: triangles that reach behind a camera are not drawn."""
    line = np.linspace(-side_m / 2, side_m / 2, cells + 1)
    x, z = np.meshgrid(line, line, indexing="ij")
    points = np.stack([x, np.zeros_like(x), z], axis=-1).reshape(-1, 3)
    i, j = (n.ravel() for n in np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij"))
    a = i * (cells + 1) + j
    b, c, d = a + 1, a + cells + 2, a + cells + 1
    return from_arrays(points, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))


def _wall(side_m: float, cells: int) -> Mesh:
    floor = _grid(side_m, cells)
    x, _, z = floor.vertices_m.T
    return from_arrays(np.stack([x, z + side_m / 2, np.full_like(x, -2.2)], axis=1), floor.faces)


def _paint(places: NDArray[np.float32], is_room: NDArray[np.bool_]) -> F64:
    """(h, w, 3) sRGB of points (h, w, 3): cloudy wood and plaster, a striped mug, a printed box."""
    x, y, z = (places[..., c].astype(np.float64) for c in range(3))
    clouds = sum(
        np.sin(f * x + 1.3 * f * z + p) * np.sin(0.7 * f * y - f * z + 2 * p) / f**0.5
        for f, p in ((9.0, 0.3), (23.0, 1.1), (61.0, 2.3), (140.0, 0.7))
    )
    stripes = np.tanh(15 * np.sin(70 * (x + 0.6 * y)))
    print_ = np.tanh(12 * (np.sin(45 * x + 20 * z) * np.sin(55 * y)))
    room = np.stack([150 + 22 * clouds, 120 + 20 * clouds, 92 + 14 * clouds], axis=-1)
    mug = np.stack([60 + 40 * stripes + 10 * clouds, 110 + 30 * clouds, 170 - 40 * stripes], axis=-1)
    box = np.stack([190 + 20 * clouds, 150 + 45 * print_, 90 + 30 * print_ + 15 * clouds], axis=-1)
    thing = np.where((y > _BOX_M[1] + 1e-4)[..., None], mug, box)
    return np.asarray(np.clip(np.where(is_room[..., None], room, thing), 0, 255))


if __name__ == "__main__":
    main(sys.argv[1:])
