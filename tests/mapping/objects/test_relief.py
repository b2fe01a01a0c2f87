from __future__ import annotations

import numpy as np
import pytest

from mapping.objects.foreground import foreground
from mapping.objects.quality import measure
from mapping.objects.raster import picture
from mapping.objects.relief import Config, relief
from mapping.transforms import look_at
from streams.frame import Intrinsics


def photo(height: int = 240, width: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """A green vase before a wall with noise, and its mask."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:height, :width]
    half = 35 + 20 * np.sin(rows / height * 2.5 * np.pi)
    mask = (np.abs(columns - width * 0.45) < half) & (rows > 40) & (rows < 210)
    rgb = np.where(mask[..., None], [60, 140, 70], [170, 165, 150]) + rng.normal(0, 6, (height, width, 3))
    rgb = rgb + (40 * np.sin(columns / 9) * mask)[..., None]
    return np.clip(rgb, 0, 255).astype(np.uint8), mask


def test_a_photo_becomes_a_solid_of_the_given_height_on_its_pivot() -> None:
    rgb, _ = photo()
    mesh = relief(rgb, 0.25, foreground(rgb).mask).mesh
    quality = measure(mesh, 4000)
    assert quality.problems == ()
    assert quality.extents_m[1] == pytest.approx(0.25, rel=1e-5)
    assert quality.extents_m[2] < quality.extents_m[0]


def test_the_thing_is_found_and_looks_like_its_photo_from_the_front() -> None:
    rgb, mask = photo()
    found = foreground(rgb).mask
    assert (found & mask).sum() / (found | mask).sum() > 0.95
    mesh = relief(rgb, 0.25, mask).mesh
    # From far away through a long lens the outline is the mask's.
    rows, columns = np.nonzero(mask)
    scale = (rows.max() + 1 - rows.min()) / 0.25
    away = 100.0
    k = Intrinsics(scale * away, scale * away, (columns.min() + columns.max() + 1) / 2, rows.max() + 1.0, 320, 240)
    drawn, depth_m = picture(mesh, look_at([0, 0, away], [0, 0, 0]), k)
    both = (depth_m > 0) & mask
    assert both.sum() / ((depth_m > 0) | mask).sum() > 0.95
    inner = both & np.roll(mask, 6, 1) & np.roll(mask, -6, 1)
    assert np.abs(drawn[inner].astype(int) - rgb[inner]).mean() < 6


def test_a_disc_becomes_a_ball() -> None:
    rows, columns = np.mgrid[:200, :200]
    disc = (rows - 100) ** 2 + (columns - 100) ** 2 < 80**2
    mesh = relief(np.full((200, 200, 3), 90, np.uint8), 0.2, disc, Config(thickness=1.0)).mesh
    assert mesh.extents_m() == pytest.approx([0.2, 0.2, 0.2], rel=0.03)
    assert measure(mesh, 4000).volume_m3 == pytest.approx(4 / 3 * np.pi * 0.001, rel=0.05)


@pytest.mark.parametrize(
    "rgb",
    [
        np.repeat(np.random.default_rng(1).integers(0, 255, (5, 300, 3)).astype(np.uint8), 10, axis=0),
        np.random.default_rng(1).integers(0, 255, (90, 120, 3)).astype(np.uint8),
        np.eye(16, dtype=np.uint8)[..., None] * np.array([255, 90, 0], np.uint8),
    ],
)
def test_any_picture_gives_something(rgb: np.ndarray) -> None:
    assert "open" not in measure(relief(rgb, 0.3, foreground(rgb).mask).mesh, 4000).problems


def test_a_part_beside_the_largest_belongs_to_it_and_one_far_away_does_not() -> None:
    rows, columns = np.mgrid[:200, :300]
    body, handle = (np.abs(columns - 70) < 50) & (np.abs(rows - 100) < 60), np.hypot(columns - 140, rows - 100) < 14
    far = np.hypot(columns - 260, rows - 100) < 30
    assert np.array_equal(relief(np.full((200, 300, 3), 90, np.uint8), 0.2, body | handle | far).mask, body | handle)


def test_a_hole_stays_a_hole_and_the_same_photo_gives_the_same_body() -> None:
    rows, columns = np.mgrid[:200, :200]
    away = np.hypot(rows - 100, columns - 100)
    ring = (away < 80) & (away > 35)
    rgb = np.full((200, 200, 3), 90, np.uint8)
    mesh = relief(rgb, 0.2, ring).mesh
    assert not ((np.hypot(mesh.vertices_m[:, 0], mesh.vertices_m[:, 1] - 0.1)) < 0.035).any()
    assert np.array_equal(mesh.vertices_m, relief(rgb, 0.2, ring).mesh.vertices_m)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="mask"):
        relief(np.zeros((20, 20, 3), np.uint8), 0.3, np.ones((10, 10), np.bool_))
