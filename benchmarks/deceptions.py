"""What a mirror and a running screen on a wall do to a map: `python -m benchmarks.deceptions [--json]`.

One phone films the living room of the synthetic flat (pixels only, one printed marker), with a mirror of 1.3 m on a
wall, a mirror that stands on the floor, or a screen that plays a walk through other rooms; `plain_*` is the same wall
without. `wrong` is the share of poses more than 0.3 m or 10 degrees off, `ate_m` the error of all. `phantom_m2` is
how much surface was fused more than 15 cm from anything solid; `wall` is the share of the rectangle where the map does
have the wall, within 10 cm; `walk_on_nothing_m2` is NavMesh where there is no floor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from benchmarks import synthetic, walkability
from benchmarks.evaluation.surface import vertices
from benchmarks.flat import START_NS
from benchmarks.offline import Offline
from benchmarks.synthetic.flat import AXES
from benchmarks.synthetic.panes import mirrored, screened
from benchmarks.synthetic.plan import Picture
from benchmarks.trajectory import align_by_orientation, score
from mapping import engines
from mapping.changes import seq_of
from mapping.metric import markers
from mapping.scene_map import Config as MapConfig
from mapping.tracking import tracker
from mapping.transforms import F64
from navmesh.recast import Agent
from streams.frame import Frame, Image, StreamId

FPS = 10
SECONDS = 14.0
HUNG = Picture("hung", "+z", (-1.6, 1.45, -3.497), (1.3, 1.3), "")
STANDING = Picture("standing", "-x", (0.837, 1.0, -2.0), (1.3, 2.0), "")
FILM_FROM_S = 20.0
PHONE = StreamId("phone")
_PHANTOM_M, _NEAR_M, _GRID_M = 0.15, 0.1, 0.05

Shown = Callable[[synthetic.Flat, synthetic.View, float], synthetic.View]
CASES: dict[str, tuple[Picture, Shown]] = {
    "plain_hung": (HUNG, lambda flat, view, at_s: view),
    "mirror": (HUNG, lambda flat, view, at_s: mirrored(flat, HUNG, view)),
    "screen": (HUNG, lambda flat, view, at_s: screened(HUNG, view, _film(flat, at_s))),
    "plain_standing": (STANDING, lambda flat, view, at_s: view),
    "standing_mirror": (STANDING, lambda flat, view, at_s: mirrored(flat, STANDING, view)),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One case."""

    case: str
    posed: float
    wrong: float
    ate_m: float
    phantom_m2: float
    wall: float
    walk_on_nothing_m2: float


async def run(case: str, flat: synthetic.Flat, seconds: float = SECONDS) -> Result:
    """Film, map and measure one case."""
    walk, agent, (pane, shown) = synthetic.walks()[0], Agent(), CASES[case]
    marker = markers.Config(dictionary=flat.plan.marker.dictionary, size_m=flat.plan.marker.size_m)
    offline = Offline(engines.create("classical"), agent, MapConfig(marker=marker))
    offline.join(PHONE)
    for frame in _frames(flat, walk, shown, seconds):
        offline.see(frame)
    offline.finish()
    trace = offline.runs[PHONE].trace
    truth = {seq: walk.at(seq / FPS) for seq in range(offline.runs[PHONE].frames)}
    poses = {round((capture_ns - START_NS) * 1e-9 * FPS): pose for capture_ns, _, pose in trace}
    scored = score(poses, truth, FPS)
    assert scored is not None
    kept = {seq_of(key): pose for key, pose in offline.map.keyframe_poses().items()}
    truth_from_map = align_by_orientation(
        np.stack(list(kept.values())), np.stack([truth[seq] for seq in kept]), with_scale=False
    )
    found = truth_from_map.apply(vertices(offline.map.voxels).astype(np.float64))
    phantom = np.count_nonzero(flat.clearance_m(found) > _PHANTOM_M) * offline.map.voxels.voxel_size_m**2
    floor = synthetic.walkable(flat, radius_m=agent.radius_m, height_m=agent.height_m, climb_m=agent.max_climb_m)
    area = walkability.area(list(offline.nav.values()), truth_from_map, floor, floor)
    return Result(
        case,
        round(len(trace) / max(1, len(truth)), 3),
        round(scored.wrong / len(scored.frames), 3),
        round(float(np.sqrt(np.mean(scored.position_error_m**2))), 4),
        round(float(phantom), 2),
        round(_wall(pane, found), 3),
        round(area.found_m2 * (1.0 - area.precision), 2),
    )


def _frames(flat: synthetic.Flat, walk: synthetic.Walk, shown: Shown, seconds: float) -> Iterator[Frame]:
    for seq, (at_s, view) in enumerate(synthetic.frames(flat, walk, fps=FPS, duration_s=seconds)):
        capture_ns = START_NS + round(at_s * 1e9)
        yield Frame(PHONE, seq, capture_ns, capture_ns, Image(rgb=shown(flat, view, at_s).rgb), view.intrinsics)


def _film(flat: synthetic.Flat, at_s: float) -> np.ndarray:
    return flat.render(synthetic.walks()[0].at(FILM_FROM_S + at_s), synthetic.INTRINSICS.scaled(320, 240)).rgb


def _wall(pane: Picture, found: F64) -> float:
    """Share of the rectangle that has surface where the wall is."""
    along, down = (np.arange(-0.5 * size, 0.5 * size, _GRID_M) for size in pane.size)
    right_axis, down_axis = (np.asarray(axis, np.float64) for axis in AXES[pane.side])
    grid = along[:, None, None] * right_axis + down[None, :, None] * down_axis + np.asarray(pane.center)
    distance, _ = cKDTree(found).query(grid.reshape(-1, 3), distance_upper_bound=_NEAR_M)
    return float(np.isfinite(distance).mean())


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deceptions", description="Mirrors and screens.")
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", action="store_true", help="one JSON object a case, one a line")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    tracker.warm_up()
    flat = synthetic.build()
    for case in options.cases or CASES:
        figures = asdict(asyncio.run(run(case, flat)))
        print(json.dumps(figures) if options.json else "  ".join(f"{k} {v}" for k, v in figures.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
