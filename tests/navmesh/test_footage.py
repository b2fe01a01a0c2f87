"""The hololens clip with its own depth and poses: the floor a person walked on is walkable, the furniture is not."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mapping.changes import MapChange
from mapping.transforms import rigid, rotation_from_quat
from mapping.volume.tsdf import Tsdf
from navmesh.incremental import Config, Incremental
from navmesh.query import Path as WalkedPath
from navmesh.query import Query
from navmesh.recast import Agent
from streams.frame import DepthMap, Intrinsics

HUMAN = Agent()
FLOOR_M = -1.53


class Walked:
    """The clip fused, with tiles built after every depth map."""

    def __init__(self, clip: Path) -> None:
        camera = json.loads((clip / "camera.json").read_text())["depth"]
        intrinsics = Intrinsics(*(camera[name] for name in ("fx", "fy", "cx", "cy", "width", "height")))
        rows = np.loadtxt(clip / "groundtruth.txt")
        self.tsdf = Tsdf()
        self.tiles = Incremental(self.tsdf, [HUMAN], Config(surfaces=False))
        self.query = Query([HUMAN], self.tsdf.voxel_size_m)
        self.path_m = []
        for file in sorted((clip / "depth").glob("*.png")):
            z_m = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(np.float32) * camera["scale"]
            _, x, y, z, qx, qy, qz, qw = rows[int(file.stem)]
            world_from_camera = rigid(rotation_from_quat([qw, qx, qy, qz]), [x, y, z])
            dirty = self.tsdf.integrate(DepthMap(z_m, intrinsics), world_from_camera, None)
            self.query.apply(self.tiles.apply(MapChange(epoch=0, dirty_blocks=dirty)))
            self.path_m.append((x, FLOOR_M, z))


@pytest.fixture(scope="module")
def walked(footage: Path) -> Walked:
    return Walked(footage / "hololens")


def test_far_corners_of_the_seen_floor_are_joined_by_a_path_that_touches_no_solid(walked: Walked) -> None:
    path = walked.query.path((-3.9, FLOOR_M, -0.2), (0.5, FLOOR_M, -1.5), "human")
    assert not path.is_partial
    assert path.length_m > 5.0
    assert solid_voxels_along(walked.tsdf, path) == 0


def solid_voxels_along(tsdf: Tsdf, path: WalkedPath) -> int:
    """Solid voxels within 5 cm of the path, between what a human steps over and its head."""
    count, size = 0, tsdf.voxel_size_m
    for a, b in itertools.pairwise(path.points_m):
        steps = max(int(np.linalg.norm(b - a) / size), 1)
        for x, y, z in a + np.linspace(0, 1, steps + 1)[:, None] * (b - a):
            low = np.floor(np.array([x - 0.05, y + 0.3, z - 0.05]) / size).astype(int)
            window = tsdf.window((int(low[0]), int(low[1]), int(low[2])), (3, 28, 3))
            count += int(((window.weight > 0) & (window.tsdf_m < 0)).sum())
    return count


def test_most_of_the_way_the_camera_went_over_seen_floor_is_walkable(walked: Walked) -> None:
    on_floor = [walked.query.nearest(point, "human", (0.15, 0.2, 0.15)) is not None for point in walked.path_m]
    assert np.mean(on_floor) > 0.6


def test_the_tiles_equal_those_of_a_map_loaded_at_once(walked: Walked) -> None:
    """The latch remembers, so cells may differ where noise decides; the walkable area must not."""
    fresh = Incremental(walked.tsdf, [HUMAN], Config(surfaces=False)).step()
    query = Query([HUMAN], walked.tsdf.voxel_size_m)
    query.apply(fresh)
    rng = np.random.default_rng(0)
    places = [(x, FLOOR_M, z) for x, z in rng.uniform([-5, -3], [2, 3], (800, 2)).tolist()]
    both = [
        (
            walked.query.nearest(p, "human", (0.03, 0.2, 0.03)) is not None,
            query.nearest(p, "human", (0.03, 0.2, 0.03)) is not None,
        )
        for p in places
    ]
    assert np.mean([a or b for a, b in both]) > 0.1
    assert np.mean([a != b for a, b in both]) < 0.02
