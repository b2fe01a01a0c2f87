"""The corridor without end: exact pictures of planes, and no place twice."""

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import endless
from mapping.transforms import F64, invert, unproject
from streams.frame import Frame


def _on_the_wall(seq: int) -> F64:
    """Points (n, 3) of the filmed wall in the middle of a frame."""
    camera = endless.world_from_camera(seq / endless.FPS)
    one = unproject(np.ones((endless.CAMERA.height, endless.CAMERA.width), np.float32), endless.CAMERA)
    rays = one[100:300:10, 250:560:10].reshape(-1, 3) @ camera[:3, :3].T
    points = camera[:3, 3] - rays * (camera[0, 3] / rays[:, :1])
    return np.asarray(points[(points[:, 1] > 0.1) & (points[:, 1] < 2.5)])


def _gray(frame: Frame, points: F64) -> NDArray[np.float64]:
    """What a frame shows of points (n, 3); NaN outside of it."""
    k, camera_from_world = endless.CAMERA, invert(endless.world_from_camera(frame.seq / endless.FPS))
    x, y, z = camera_from_world[:3, :3] @ points.T + camera_from_world[:3, 3:]
    column, row = (k.fx * x / z + k.cx).astype(int), (k.fy * y / z + k.cy).astype(int)
    inside = (z > 0) & (column >= 0) & (column < k.width) & (row >= 0) & (row < k.height)
    gray = frame.image.gray[np.where(inside, row, 0), np.where(inside, column, 0)]
    return np.where(inside, gray, np.nan)


def _likeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    assert np.count_nonzero(both) > 50
    return float(np.corrcoef(a[both], b[both])[0, 1])


def test_a_point_on_the_wall_looks_the_same_from_where_it_is_seen_next() -> None:
    first, later = (next(endless.frames(0, seq)) for seq in (0, 5))
    points = _on_the_wall(0)
    assert _likeness(_gray(first, points), _gray(later, points)) > 0.8
    assert _likeness(_gray(first, points), _gray(later, points + np.array([0.0, 0.0, 0.5]))) < 0.4


@pytest.mark.parametrize("width_m", [1024 / 211.0, 1024 / 97.3, 1024 / 23.9])
def test_where_one_of_its_textures_repeats_the_others_do_not(width_m: float) -> None:
    seq = round(width_m / 0.5 * endless.FPS)
    first, later = (next(endless.frames(0, at)) for at in (0, seq))
    points = _on_the_wall(0)
    assert _likeness(_gray(first, points), _gray(later, points + np.array([0.0, 0.0, width_m]))) < 0.8
