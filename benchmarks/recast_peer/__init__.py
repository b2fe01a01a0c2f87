"""recast-navigation-js in Node: an independent, newer build of Recast that our tiles and paths must agree with.

The npm package is fetched into `node_modules` beside this file on first use and is never part of the product. It has no
way to add spans, so a span is given to it as one sliver of a triangle inside its cell, which rasterises to that span.
"""

from __future__ import annotations

import base64
import json
import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navmesh.recast import Agent, Config, Point, TileFrame, radius_cells

_HERE = Path(__file__).parent
Job = dict[str, Any]


class PeerMissing(RuntimeError):
    """Node or the npm package is not here."""


def ask(jobs: Sequence[Job], timeout_s: float = 300.0) -> list[Any]:
    """Run jobs in one Node process.

    Raises:
        PeerMissing: Node, npm or the package cannot be had.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise PeerMissing("Node 20 or newer with npm is needed to run recast-navigation-js")
    if not (_HERE / "node_modules" / "@recast-navigation" / "core").is_dir():
        done = subprocess.run([npm, "ci", "--silent"], cwd=_HERE, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode:
            raise PeerMissing(f"npm ci failed in {_HERE}: {done.stderr.strip()[-500:]}")
    command = [node, str(_HERE / "peer.mjs")]
    done = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        raise RuntimeError(f"the peer failed: {done.stderr.strip()[-2000:]}")
    answers: list[Any] = json.loads(done.stdout)
    return answers


def tile_job(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    areas: NDArray[np.uint8] | None,
    frame: TileFrame,
    agent: Agent,
    config: Config,
) -> Job:
    """Build one tile from triangles; without areas they are told by slope, as `build_from_triangles` does."""
    low = frame.origin_m
    side_m = frame.side_cells * frame.cell_size_m
    climb = math.floor(agent.max_climb_m / frame.cell_height_m + 1e-6)
    return {
        "job": "build_tile",
        "vertices": _base64(vertices.astype(np.float32)),
        "triangles": _base64(triangles.astype(np.int32)),
        "areas": None if areas is None else _base64(areas.astype(np.uint8)),
        "side": frame.side_cells,
        "bmin": list(low),
        "bmax": [low[0] + side_m, low[1] + 8191 * frame.cell_height_m, low[2] + side_m],
        "cs": frame.cell_size_m,
        "ch": frame.cell_height_m,
        "border": frame.border_cells,
        "height": math.ceil(agent.height_m / frame.cell_height_m - 1e-6),
        "climb": climb,
        "merge_climb": 1 if areas is not None else climb,
        "filter_low_hanging": areas is None,
        "max_slope_deg": agent.max_slope_deg,
        "radius": radius_cells(agent, frame.cell_size_m, config),
        "min_region": round(config.min_region_m2 / frame.cell_size_m**2),
        "merge_region": round(config.merge_region_m2 / frame.cell_size_m**2),
        "partition": config.partition,
        "contour_error": config.contour_error_cells,
        "max_edge": 0,
        "detail_sample": 6 * frame.cell_size_m,
        "detail_error": 1.5 * frame.cell_height_m,
    }


def slivers(
    spans: NDArray[np.uint16], frame: TileFrame
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.uint8]]:
    """Vertices, triangles and areas that rasterise to these spans (n, 5), one triangle each."""
    x, z, smin, smax, area = spans.astype(np.float64).T
    ox, oy, oz = frame.origin_m
    cs, ch = frame.cell_size_m, frame.cell_height_m
    low, high = oy + (smin + 0.25) * ch, oy + (smax - 0.25) * ch
    corners = [
        np.stack([ox + (x + dx) * cs, y, oz + (z + dz) * cs], axis=1)
        for dx, y, dz in ((0.4, low, 0.4), (0.6, high, 0.4), (0.5, (low + high) / 2, 0.6))
    ]
    vertices = np.stack(corners, axis=1).reshape(-1, 3).astype(np.float32)
    triangles = np.arange(3 * len(spans), dtype=np.int32).reshape(-1, 3)
    return vertices, triangles, area.astype(np.uint8)


def paths_job(
    blobs: Sequence[bytes],
    queries: Sequence[tuple[Point, Point]],
    tile_size_m: float,
    origin_m: Point,
    half_extents_m: Point,
) -> Job:
    """Load our Detour blobs and find paths between points."""
    return {
        "job": "find_paths",
        "tiles": [base64.b64encode(blob).decode() for blob in blobs],
        "queries": queries,
        "tile_size": tile_size_m,
        "tile_bits": 12,
        "poly_bits": 10,
        "origin": origin_m,
        "half_extents": half_extents_m,
    }


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
