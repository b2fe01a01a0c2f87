"""The synthetic flat, walked and mapped: `python -m benchmarks.flat [--mode posed|marker] [--phones 2] [--json]`.

`posed`: the phones bring exact poses and depth, as LiDAR phones do; what is measured is fusion and NavMesh. `marker`:
the phones bring pixels and nothing else; a printed marker near the start gives scale and puts them into one map.

What the keys mean. `precision`: share of the NavMesh (floor level) on which the agent truly fits. `recall`: share of
the floor that the NavMesh should cover: where the agent fits with the clearance Recast was asked to keep on top of its
radius; `recall_strict` counts the floor without that clearance. `paths_through_solid`: of `paths` between random
places, those whose body touches a wall or furniture. Map and truth are aligned by the cameras' poses, never by the
floor, and never scaled: `scale_error` is what a scale would mend (posed maps are not aligned at all). `two_phones_m`:
how far apart the two phones' own poses put the flat.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from heapq import merge

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import synthetic, walkability
from benchmarks.offline import Offline, Run
from benchmarks.synthetic import Flat, Walk
from mapping import engines
from mapping.metric import markers
from mapping.scene_map import Config as MapConfig
from mapping.scene_map import StreamOptions
from mapping.transforms import Sim3, umeyama
from navmesh.recast import Agent, Config, radius_cells
from streams.frame import DepthMap, Frame, GivenPose, Image, StreamId

START_NS = 1_700_000_000_000_000_000
POSED_FPS = 6.0


@dataclass(frozen=True, slots=True)
class PhoneResult:
    """One phone's poses in the map's world, aligned by a rigid motion (`drift_m` by a similarity)."""

    phone: str
    position_error_m: float
    drift_m: float
    scale_error: float


@dataclass(frozen=True, slots=True)
class Result:
    """One run's figures; None = not measured."""

    mode: str
    phones: int
    precision: float
    recall: float
    recall_strict: float
    truth_m2: float
    found_m2: float
    doors_passable: int
    doors: int
    blocked: tuple[str, ...]
    paths: int
    paths_through_solid: int
    coverage: tuple[float, ...]
    """Per phone: share of its frames that were posed."""
    keyframes: int
    scale_source: str
    scale_error: float | None
    position_error_m: float | None
    """RMS of camera positions after alignment by a rigid motion (posed: as they are)."""
    each_phone: tuple[PhoneResult, ...]
    """Every phone aligned on its own: how good its own track is, whatever its place in the map."""
    two_phones_m: float | None
    cpu_s: float


def main(argv: list[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    results = [
        asyncio.run(run(mode, options.phones, options.seconds, options.fps))
        for mode in options.mode or ("posed", "marker")
    ]
    if options.json:
        json.dump([asdict(result) for result in results], sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        for result in results:
            sys.stdout.write(_table(result))


async def run(mode: str, num_phones: int, seconds: float | None = None, fps: float | None = None) -> Result:
    """Walk the flat with some phones, map it, and measure the map."""
    began_s = time.process_time()
    flat = synthetic.build()
    walks = synthetic.walks()[:num_phones]
    agent = Agent()
    is_posed = mode == "posed"
    marker = markers.Config(dictionary=flat.plan.marker.dictionary, size_m=flat.plan.marker.size_m)
    engine = None if is_posed else engines.create("classical")
    offline = Offline(engine, agent, MapConfig() if is_posed else MapConfig(marker=marker))
    sources: list[Iterator[Frame]] = []
    for walk in walks:
        stream = StreamId(walk.name)
        offline.join(stream, StreamOptions(world="flat") if is_posed else StreamOptions())
        if is_posed:
            sources.append(posed_frames(flat, walk, stream, fps or POSED_FPS, seconds))
        else:
            sources.append(pixel_frames(lambda: flat, walk, stream, fps or synthetic.FPS, seconds))
    for frame in merge(*sources, key=lambda frame: frame.capture_ns):
        offline.see(frame)
    offline.finish()
    return measure(mode, flat, offline, walks, time.process_time() - began_s)


def posed_frames(flat: Flat, walk: Walk, stream: StreamId, fps: float, seconds: float | None) -> Iterator[Frame]:
    """Exact poses and depth, depth at a quarter of the pixels as such sensors give it."""
    small = synthetic.INTRINSICS.scaled(320, 240)
    for seq, (t, view) in enumerate(synthetic.frames(flat, walk, fps=fps, duration_s=seconds)):
        capture_ns = START_NS + round(t * 1e9)
        depth = np.ascontiguousarray(view.depth_m[::2, ::2])
        # Every second pixel's centre, not the middle of four: half a pixel of the large image off.
        camera = replace(small, cx=small.cx + 0.25, cy=small.cy + 0.25)
        yield Frame(
            stream, seq, capture_ns, capture_ns, Image(rgb=view.rgb), view.intrinsics,
            pose=GivenPose(view.world_from_camera), depth=DepthMap(depth, camera),
        )  # fmt: skip


def pixel_frames(
    flat: Callable[[], Flat], walk: Walk, stream: StreamId, fps: float, seconds: float | None
) -> Iterator[Frame]:
    """What a phone's encoder leaves of the views; nothing but pixels and their camera."""
    recording = synthetic.cached(flat, walk)
    every = max(1, round(synthetic.FPS / fps))
    with av.open(str(recording.path), format="h264") as container:
        for index, picture in enumerate(container.decode(video=0)):
            t = index / recording.fps
            if seconds is not None and t > seconds:
                return
            if index % every == 0:
                capture_ns = START_NS + round(t * 1e9)
                image = Image(i420=picture.to_ndarray(format="yuv420p"))
                yield Frame(stream, index // every, capture_ns, capture_ns, image, synthetic.INTRINSICS)


def measure(mode: str, flat: Flat, offline: Offline, walks: tuple[Walk, ...], cpu_s: float) -> Result:
    """Compare the finished map with the truth."""
    agent = offline.agent
    voxel_m = offline.map.voxels.voxel_size_m
    truth = {walk.name: walk for walk in walks}
    traces = [_trace(offline, run, truth[run.live.id]) for run in offline.runs.values()]
    pairs = [np.concatenate([t[i] for t in traces]) for i in (0, 1)]
    if mode == "posed" or len(pairs[0]) < 3:
        truth_from_map, scale_error = Sim3.identity(), None
    else:
        scale_error = umeyama(pairs[0], pairs[1]).scale - 1.0
        truth_from_map = umeyama(pairs[0], pairs[1], with_scale=False)
    off_m = np.linalg.norm(truth_from_map.apply(pairs[0]) - pairs[1], axis=1)

    def floor(radius_m: float) -> synthetic.FloorGrid:
        return synthetic.walkable(flat, radius_m=radius_m, height_m=agent.height_m, climb_m=agent.max_climb_m)

    fits = floor(agent.radius_m)
    promised = floor(radius_cells(agent, voxel_m, Config()) * voxel_m)
    tiles = list(offline.nav.values())
    area = walkability.area(tiles, truth_from_map, fits, promised)
    strict = walkability.area(tiles, truth_from_map, fits, fits)
    ways = walkability.ways(offline.query, agent.name, truth_from_map, flat, promised)
    return Result(
        mode=mode,
        phones=len(walks),
        precision=round(area.precision, 4),
        recall=round(area.recall, 4),
        recall_strict=round(strict.recall, 4),
        truth_m2=round(area.truth_m2, 2),
        found_m2=round(area.found_m2, 2),
        doors_passable=ways.doors_passable,
        doors=ways.doors,
        blocked=ways.blocked,
        paths=ways.paths,
        paths_through_solid=ways.paths_through_solid,
        coverage=tuple(round(run.posed / max(1, run.frames), 4) for run in offline.runs.values()),
        keyframes=sum(run.keyframes for run in offline.runs.values()),
        scale_source=offline.map.status.scale_source,
        scale_error=None if scale_error is None else round(scale_error, 4),
        position_error_m=round(float(np.sqrt(np.mean(off_m**2))), 4) if len(off_m) else None,
        each_phone=tuple(_phone(walk, *trace) for walk, trace in zip(walks, traces, strict=True) if len(trace[0]) > 2),
        two_phones_m=_apart_m(traces),
        cpu_s=round(cpu_s, 1),
    )


def _trace(offline: Offline, run: Run, walk: Walk) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Camera positions (n, 3) in the map's world, and where they truly were."""
    found, true = [], []
    for capture_ns, component, pose in run.trace:
        world = offline.map.world_from_component(run.live.id, component)
        if world is not None:
            found.append(world.apply(pose[:3, 3]))
            true.append(walk.at((capture_ns - START_NS) * 1e-9)[:3, 3])
    return np.array(found).reshape(-1, 3), np.array(true).reshape(-1, 3)


def _phone(walk: Walk, found: NDArray[np.float64], true: NDArray[np.float64]) -> PhoneResult:
    def rms_m(fit: Sim3) -> float:
        return round(float(np.sqrt(np.mean(np.sum((fit.apply(found) - true) ** 2, axis=1)))), 4)

    similar = umeyama(found, true)
    return PhoneResult(
        walk.name, rms_m(umeyama(found, true, with_scale=False)), rms_m(similar), round(similar.scale - 1.0, 4)
    )


def _apart_m(traces: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> float | None:
    """How far apart two phones' own alignments put the middle of the flat."""
    if len(traces) != 2 or min(len(found) for found, _ in traces) < 3:
        return None
    first, second = (umeyama(found, true, with_scale=False) for found, true in traces)
    corners = np.array([[x, y, z] for x in (-3.0, 3.0) for y in (0.0, 2.0) for z in (-2.0, 2.0)])
    apart = first.apply(second.inverse().apply(corners)) - corners
    return round(float(np.linalg.norm(apart, axis=1).mean()), 4)


def picture(flat: Flat, offline: Offline, truth_from_map: Sim3) -> NDArray[np.uint8]:
    """Floor plan (h, w, 3) RGB: free floor grey, NavMesh green where right and red where wrong."""
    floor = synthetic.walkable(flat, radius_m=offline.agent.radius_m)
    found = walkability.covered(offline.nav.values(), truth_from_map, floor)
    image = np.full((*floor.free.shape, 3), 40, np.uint8)
    image[floor.free] = 150
    image[found & floor.free] = (70, 190, 90)
    image[found & ~floor.free] = (220, 60, 50)
    return np.asarray(cv2.resize(image.transpose(1, 0, 2), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))


def _table(result: Result) -> str:
    rows = "".join(f"  {key:22} {value}\n" for key, value in asdict(result).items() if key != "mode")
    return f"{result.mode}\n{rows}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description="NavMesh of the synthetic flat.")
    parser.add_argument("--mode", action="append", choices=("posed", "marker"), help="default: both")
    parser.add_argument("--phones", type=int, default=2, choices=(1, 2))
    parser.add_argument("--seconds", type=float, help="only the first part of each walk")
    parser.add_argument("--fps", type=float, help="frames a second (posed: 6, marker: 30)")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    main()
