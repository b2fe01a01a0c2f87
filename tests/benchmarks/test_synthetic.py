"""The synthetic flat against its own truth: what the images show is where the plan says it is."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from benchmarks import synthetic
from benchmarks.synthetic import Flat, Walk, textures
from mapping.metric.markers import Config, MarkerFinder
from mapping.transforms import angle_between, invert, log_so3, project, unproject
from streams.frame import Intrinsics

SMALL = Intrinsics.from_fov(160, 120, 66.0)


@pytest.fixture(scope="module")
def flat() -> Flat:
    return synthetic.build()


@pytest.fixture(scope="module", params=[0, 1], ids=["clockwise", "counterclockwise"])
def walk(request: pytest.FixtureRequest) -> Walk:
    return synthetic.walks()[request.param]


def test_depth_is_what_rays_against_the_boxes_meet(flat: Flat, walk: Walk) -> None:
    rng = np.random.default_rng(3)
    wrong = []
    for t in np.linspace(0, walk.duration_s, 12, endpoint=False):
        view = flat.render(walk.at(t), SMALL)
        assert (view.depth_m > 0).all()
        rows, columns = rng.integers(0, 120, 150), rng.integers(0, 160, 150)
        pixels = np.stack([columns + 0.5, rows + 0.5], axis=1)
        along = flat.depth_along(view.world_from_camera, SMALL, pixels)
        rays = np.stack(
            [(pixels[:, 0] - SMALL.cx) / SMALL.fx, (pixels[:, 1] - SMALL.cy) / SMALL.fy, np.ones(150)], axis=1
        )
        off_m = np.abs(along - view.depth_m[rows, columns]) * np.linalg.norm(rays, axis=1)
        # Pictures stand 3 mm in front of what rays meet, more along a grazing ray; edges fall either way.
        wrong.append(off_m > 0.02)
    assert np.mean(wrong) < 0.03


def test_a_point_seen_in_one_view_has_the_same_colour_in_the_next(flat: Flat, walk: Walk) -> None:
    k = Intrinsics.from_fov(320, 240, 66.0)
    first, second = (flat.render(walk.at(t), k) for t in (1.0, 1.4))
    points = unproject(first.depth_m, k).reshape(-1, 3).astype(np.float64)
    second_from_first = invert(second.world_from_camera) @ first.world_from_camera
    moved = points @ second_from_first[:3, :3].T + second_from_first[:3, 3]
    seen_at = project(moved, k) - 0.5  # OpenCV counts pixel centres as whole numbers
    grid = seen_at.reshape(240, 320, 2).astype(np.float32)
    colour = cv2.remap(second.rgb, grid[:, :, 0], grid[:, :, 1], cv2.INTER_LINEAR)
    depth = cv2.remap(second.depth_m, grid[:, :, 0], grid[:, :, 1], cv2.INTER_NEAREST)
    visible = np.abs(depth - moved[:, 2].reshape(240, 320)) < 0.02
    assert visible.mean() > 0.7
    off = np.abs(colour[visible].astype(float) - first.rgb[visible].astype(float)).mean(axis=1)
    assert np.median(off) < 4
    shifted = np.abs(np.roll(colour, 3, axis=1)[visible].astype(float) - first.rgb[visible].astype(float)).mean(axis=1)
    assert np.mean(off) < 0.5 * np.mean(shifted)


def test_the_marker_is_found_where_it_hangs(flat: Flat, walk: Walk) -> None:
    marker = flat.plan.marker
    finder = MarkerFinder(Config(dictionary=marker.dictionary, size_m=marker.size_m))
    turned_deg = []
    for t in np.arange(0.0, 2.6, 0.5):
        view = flat.render(walk.at(t), synthetic.INTRINSICS)
        sightings = finder.find(cv2.cvtColor(view.rgb, cv2.COLOR_RGB2GRAY), view.intrinsics)
        assert [s.marker for s in sightings] in ([], [marker.id])  # none: a view that fits two poses is not believed
        if not sightings:
            continue
        world_from_marker = view.world_from_camera @ sightings[0].camera_from_marker
        assert np.linalg.norm(world_from_marker[:3, 3] - marker.world_from_marker[:3, 3]) < 0.01
        turned_deg.append(np.degrees(angle_between(world_from_marker[:3, :3], marker.world_from_marker[:3, :3])))
    assert len(turned_deg) >= 4
    assert np.median(turned_deg) < 1.0


def test_every_view_has_corners_to_track_all_over(flat: Flat, walk: Walk) -> None:
    for t in np.linspace(0, walk.duration_s, 14, endpoint=False):
        gray = cv2.cvtColor(flat.render(walk.at(t), synthetic.INTRINSICS).rgb, cv2.COLOR_RGB2GRAY)
        corners = cv2.goodFeaturesToTrack(gray, 400, 0.01, 10)
        cells = {(int(x) // 160, int(y) // 120) for x, y in corners.reshape(-1, 2)}
        assert len(corners) > 150
        assert len(cells) >= 12


def test_walks_are_smooth_closed_and_free_of_collisions(flat: Flat, walk: Walk) -> None:
    poses = np.array([walk.at(t) for t in walk.times(30)])
    eyes = poses[:, :3, 3]
    assert flat.is_free(eyes, margin_m=0.25).all()
    assert not flat.solid(eyes).any()
    speed_m_s = np.linalg.norm(np.diff(eyes, axis=0), axis=1) * 30
    assert speed_m_s.max() < 0.9
    turn_deg_s = [np.degrees(np.linalg.norm(log_so3(a[:3, :3].T @ b[:3, :3]))) * 30 for a, b in pairwise(poses)]
    assert max(turn_deg_s) < 50
    np.testing.assert_allclose(walk.at(walk.duration_s - 1e-9), walk.at(0.0), atol=1e-6)
    jerkiness_m = np.linalg.norm(np.diff(eyes, 3, axis=0), axis=1)
    assert jerkiness_m.max() < 0.004
    rotations = poses[:, :3, :3]
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1) - np.eye(3), 0.0, atol=1e-9)


def test_walks_keep_to_floor_an_agent_can_stand_on_and_visit_every_room(flat: Flat, walk: Walk) -> None:
    places = np.array([walk.at(t)[[0, 2], 3] for t in walk.times(10)])
    assert synthetic.walkable(flat, radius_m=0.2).contains(places).all()
    for x0, z0, x1, z1 in flat.plan.rooms.values():
        assert np.any((places[:, 0] > x0) & (places[:, 0] < x1) & (places[:, 1] > z0) & (places[:, 1] < z1))


def test_floor_is_free_in_doors_and_not_under_tables_nor_in_walls(flat: Flat) -> None:
    floor = synthetic.walkable(flat)
    doors = [point for door in flat.plan.doors for point in (door.before, door.center, door.behind)]
    assert floor.contains(np.array(doors)).all()
    under_the_table, in_a_wall, on_the_bed, outside = (-0.4, -2.8), (0.0, -0.62), (3.4, 2.2), (20.0, 0.0)
    assert not floor.contains(np.array([under_the_table, in_a_wall, on_the_bed, outside])).any()
    small = synthetic.walkable(flat, radius_m=0.1, height_m=0.6)
    assert small.contains(np.array([under_the_table])).all()
    assert floor.area_m2 == pytest.approx(21.3, abs=0.5)


def test_floor_agrees_with_probing_the_solids(flat: Flat) -> None:
    """Points inside of an upright cylinder are free exactly where the floor says it may stand."""
    floor = synthetic.walkable(flat, radius_m=0.25)
    rng = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    spots = np.concatenate([radius * ring for radius in (0.08, 0.17, 0.249)])
    agree = []
    for place in rng.uniform((-4.4, -3.4), (4.4, 3.4), (150, 2)):
        for height_m in np.arange(0.32, 1.8, 0.08):
            points = np.insert(place + spots, 1, height_m, axis=1)
            if flat.solid(points).any():
                agree.append(not floor.contains(place[None])[0])
                break
        else:
            agree.append(bool(floor.contains(place[None])[0]))
    assert np.mean(agree) > 0.96


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_paint(flat: Flat) -> None:
    again = synthetic.build()
    pose = synthetic.walks()[0].at(10.0)
    np.testing.assert_array_equal(flat.render(pose, SMALL).rgb, again.render(pose, SMALL).rgb)
    paints, others = textures.materials(0), textures.materials(1)
    differs = [name for name in paints if (paints[name].texture != others[name].texture).any()]
    assert set(paints) - set(differs) == {"marker", "lamp"}


def test_an_exported_folder_reads_like_the_real_ones(flat: Flat, walk: Walk, tmp_path: Path) -> None:
    count = synthetic.export(flat, walk, tmp_path, fps=10, duration_s=0.5, depth_every=2, intrinsics=SMALL)
    assert count == 5
    assert len(list((tmp_path / "rgb").glob("*.jpg"))) == 5
    assert [p.name for p in sorted((tmp_path / "depth").glob("*.png"))] == ["000000.png", "000002.png", "000004.png"]
    camera = json.loads((tmp_path / "camera.json").read_text())
    assert (camera["rgb"]["width"], camera["depth"]["every"], camera["fps"]) == (160, 2, 10)
    rows = np.loadtxt(tmp_path / "groundtruth.txt")
    assert rows.shape == (5, 8)
    np.testing.assert_allclose(rows[2, 1:4], walk.at(0.2)[:3, 3], atol=1e-5)
    depth = cv2.imread(str(tmp_path / "depth/000002.png"), cv2.IMREAD_UNCHANGED) * camera["depth"]["scale"]
    np.testing.assert_allclose(depth, flat.render(walk.at(0.2), SMALL).depth_m, atol=6e-4)


@pytest.mark.parametrize("suffix", [".h264", ".mjpeg", ".y4m", ".mp4"])
def test_recordings_play(flat: Flat, tmp_path: Path, suffix: str) -> None:
    walk = synthetic.walks()[0]
    done: list[tuple[int, int]] = []
    recording = synthetic.record(
        flat, walk, tmp_path / f"clip{suffix}", fps=10, duration_s=1.0, intrinsics=SMALL, threads=2,
        progress=lambda i, n: done.append((i, n)),
    )  # fmt: skip
    assert done[-1] == (10, 10)
    with av.open(str(recording.path)) as container:
        images = [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]
    assert len(images) == recording.num_frames == 10
    truth = flat.render(walk.at(0.5), SMALL).rgb
    assert np.abs(images[5].astype(float) - truth).mean() < 12


def test_a_cached_recording_is_made_once(flat: Flat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    walk = synthetic.walks()[0]

    def record(flat: Flat, walk: Walk, path: Path, **_: object) -> synthetic.Recording:
        calls.append(path)
        path.write_bytes(b"x")
        return synthetic.Recording(path, walk.name, 30, 1)

    monkeypatch.setattr("benchmarks.synthetic.clip.record", record)
    stale = tmp_path / f"{walk.name}-000000000000.h264"
    stale.write_bytes(b"old")
    first = synthetic.cached(lambda: flat, walk, folder=tmp_path)
    second = synthetic.cached(lambda: pytest.fail("rendered again"), walk, folder=tmp_path)
    assert calls == [first.path] == [second.path]
    assert not stale.exists()
