"""Straight edges of pictures, and the direction in which most of them stand."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.metric.upright_lines import Edges, find_edges, find_up
from mapping.transforms import F64, exp_so3, look_at, project
from streams.frame import Intrinsics

K = Intrinsics.from_fov(640, 480)
UP = np.array([0.0, 1.0, 0.0])


def colonnade(world_from_camera: F64, intrinsics: Intrinsics, *, lean_deg: float = 0.0) -> NDArray[np.uint8]:
    """Upright bars all around, and bars that lie or lean between them."""
    image = np.full((intrinsics.height, intrinsics.width), 200, np.uint8)
    camera_from_world = np.linalg.inv(world_from_camera)
    for n, angle in enumerate(np.radians(np.arange(0.0, 360.0, 9.0))):
        foot = np.array([3.0 * np.sin(angle), 0.0, -3.0 * np.cos(angle)])
        tilt = np.radians(lean_deg if n % 3 else 35.0)
        along = np.array([np.cos(angle) * np.sin(tilt), np.cos(tilt), np.sin(angle) * np.sin(tilt)])
        bar = foot + np.linspace(0.0, 2.5, 20)[:, None] * along
        seen = bar @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        if (seen[:, 2] > 0.5).all():
            pixels = np.round((project(seen, intrinsics) - 0.5) * 16).astype(np.int32)
            cv2.polylines(image, [pixels.reshape(-1, 1, 2)], False, 40, 4, cv2.LINE_AA, 4)
    return image


def looking(yaw_deg: float) -> F64:
    yaw = np.radians(yaw_deg)
    return look_at([0, 1.5, 0], [np.sin(yaw), 1.2, -np.cos(yaw)])


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (480, 640)])
def test_edges_of_a_picture_lie_in_the_planes_of_upright_bars(size: tuple[int, int]) -> None:
    k = Intrinsics.from_fov(*size)
    pose = looking(20.0)
    edges = find_edges(colonnade(pose, k), k)
    off_deg = np.abs(np.degrees(np.arcsin(edges.turned(pose).normals @ UP)))
    assert len(off_deg) >= 8
    assert np.mean(off_deg < 0.7) > 0.4
    assert edges.weights.sum() <= 1 + 1e-9
    np.testing.assert_allclose(np.linalg.norm(edges.normals, axis=1), 1)


def test_a_bent_lens_is_straightened() -> None:
    bent = replace(K, k1=-0.08)
    pose = looking(0.0)
    picture = colonnade(pose, bent)

    def off_deg(k: Intrinsics) -> float:
        edges = find_edges(picture, k).turned(pose)
        off = np.abs(np.degrees(np.arcsin(edges.normals @ UP)))
        return float(np.median(off[off < 10]))

    assert off_deg(bent) < 0.3
    assert off_deg(bent) < 0.5 * off_deg(K)


def test_up_is_found_from_a_poor_guess_among_leaning_bars() -> None:
    images = [find_edges(colonnade(looking(yaw), K), K).turned(looking(yaw)) for yaw in range(0, 96, 12)]
    found = find_up(images, exp_so3(np.radians([9.0, 0.0, -8.0])) @ UP, 8.0)
    assert found is not None
    up, scatter_deg = found
    assert np.degrees(np.arccos(up @ UP)) < 0.3
    assert scatter_deg < 0.5


def test_a_walk_that_contradicts_itself_says_so() -> None:
    yaws = range(0, 96, 8)
    images = [
        find_edges(colonnade(looking(yaw), K, lean_deg=1.5 if n >= 8 else 0.0), K).turned(looking(yaw))
        for n, yaw in enumerate(yaws)
    ]
    found = find_up(images, UP, 8.0)
    assert found is not None
    assert found[1] > 0.5


def test_nothing_is_claimed_without_edges_or_with_few_pictures() -> None:
    blank = find_edges(np.full((480, 640), 90, np.uint8), K)
    assert len(blank.normals) == len(blank.weights) == 0
    assert find_up([blank] * 20, UP, 10.0) is None
    assert find_up([find_edges(colonnade(looking(0.0), K), K)] * 3, UP, 10.0) is None
    assert find_edges(np.zeros((1, 1), np.uint8), Intrinsics.from_fov(1, 1)).normals.shape == (0, 3)


def test_edges_that_run_anyhow_tell_nothing() -> None:
    normals = np.random.default_rng(0).normal(size=(20, 100, 3))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    assert find_up([Edges(n, np.full(100, 0.01)) for n in normals], UP, 15.0) is None


def test_a_kitchen_without_upright_edges_is_found_by_its_counters() -> None:
    rng = np.random.default_rng(7)
    images = []
    for _ in range(12):
        along = np.repeat([[0.8, 0.0, 0.6], [-0.6, 0.0, 0.8]], 20, axis=0)
        normals = np.cross(along, rng.normal(size=along.shape))
        clutter = np.cross(rng.normal(size=(25, 3)), rng.normal(size=(25, 3)))
        normals = np.concatenate([normals, clutter]) + 0.005 * rng.normal(size=(65, 3))
        images.append(Edges(normals / np.linalg.norm(normals, axis=1, keepdims=True), np.full(65, 0.01)))
    found = find_up(images, exp_so3(np.radians([4.0, 0.0, -3.0])) @ UP, 5.0)
    assert found is not None
    assert np.degrees(np.arccos(found[0] @ UP)) < 0.3
