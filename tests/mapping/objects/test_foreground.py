"""A small benchmark: rendered things before plain, noisy and textured backgrounds, with their soft shadows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.objects.foreground import (
    BACKGROUND_ALIKE,
    BACKGROUND_CLUTTERED,
    CUT_BY_BORDER,
    NOTHING_STANDS_OUT,
    OneColour,
    foreground,
)
from mapping.objects.mesh import U8, Mesh, face_areas_m2, vertex_normals
from mapping.objects.relief import Config, relief

HEIGHT, WIDTH = 240, 320
Y, X = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    mask: NDArray[np.bool_]
    rgb: NDArray[np.float64]


def ball() -> Thing:
    light = np.clip(1.1 - np.hypot(X - 140, Y - 95) / 130, 0.25, 1)
    return Thing(np.hypot(X - 165, Y - 120) < 73, np.array([215.0, 80, 40]) * light[..., None])


def mug() -> Thing:
    body = (np.abs(X - 147) < 53) & (np.abs(Y - 120) < 70)
    away = np.hypot((X - 200) / 42, (Y - 120) / 50)
    light = np.clip(1 - 0.35 * np.abs(X - 147) / 66, 0.4, 1)
    stripes = np.where((np.abs(Y - 120) < 14)[..., None], [60.0, 200, 90], [30.0, 90, 190])
    return Thing(body | ((away < 1) & (away > 0.68) & (X > 197)), stripes * light[..., None])


def box() -> Thing:
    sides = np.where((X < 130)[..., None], [150.0, 45, 60], [190.0, 60, 80])
    return Thing((np.abs(X - 160) < 80) & (np.abs(Y - 126) < 60), sides)


def white() -> NDArray[np.float64]:
    return np.asarray(250 - 0.07 * np.hypot(X - 160, Y - 120)[..., None] * np.ones(3))


def noisy_grey() -> NDArray[np.float64]:
    noise = np.random.default_rng(0).uniform(-25, 25, (HEIGHT, WIDTH, 3))
    return np.asarray(np.array([150.0, 140, 130]) + cv2.GaussianBlur(noise, (0, 0), 1))


def floor() -> NDArray[np.float64]:
    boards = 18 * np.sin(X / 5 + 3 * np.sin(Y / 40)) + 25 * ((Y // 30) % 2)
    noise = np.random.default_rng(1).normal(0, 6, (HEIGHT, WIDTH, 3))
    return np.asarray(np.array([150.0, 110, 75]) + boards[..., None] + noise)


def photo(thing: Thing, background: NDArray[np.float64]) -> U8:
    """With a shadow at its foot, and a rim as soft as a lens makes it."""
    shadow = np.exp(-(((X - 165) / 100) ** 2) - ((Y - 196) / 19) ** 2)
    cover = cv2.GaussianBlur(thing.mask.astype(np.float64), (0, 0), 0.8)[..., None]
    rgb: U8 = np.clip(background * (1 - 0.35 * shadow[..., None]) * (1 - cover) + thing.rgb * cover, 0, 255).astype(
        "u1"
    )
    return rgb


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def share_like(mesh: Mesh, background: NDArray[np.float64]) -> float:
    """Of the front half's area, as far as triangles' corners and middles tell: more like the background there."""
    assert mesh.uv is not None
    assert mesh.texture is not None
    front = vertex_normals(mesh)[mesh.faces].mean(axis=1)[:, 2] > 0
    uv = mesh.uv[mesh.faces[front]]
    at = np.concatenate([uv, uv.mean(axis=1, keepdims=True)], axis=1)
    size = np.array(mesh.texture.shape[1::-1])
    column, row = np.moveaxis(np.clip(at * size, 0, size - 1).astype(int), -1, 0)
    lab = cv2.cvtColor(mesh.texture, cv2.COLOR_RGB2LAB).astype(float)[row, column]
    usual = cv2.cvtColor(background.clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2LAB).reshape(-1, 3)
    like = np.linalg.norm(lab - np.median(usual, axis=0), axis=-1) < 40
    areas = face_areas_m2(mesh)[front]
    return float((like.mean(axis=1) * areas).sum() / areas.sum())


@pytest.mark.parametrize("background", [white, noisy_grey, floor])
@pytest.mark.parametrize("make", [ball, mug, box])
def test_things_are_cut_out(make: Callable[[], Thing], background: Callable[[], NDArray[np.float64]]) -> None:
    thing, behind = make(), background()
    rgb = photo(thing, behind)
    found = foreground(rgb)
    assert found.doubts == ()
    body = relief(rgb, 0.1, found.mask, Config(cells=48))
    assert iou(body.mask, thing.mask) > 0.95
    assert not body.mask[120, 216] or make is not mug, "one sees through the handle"
    assert share_like(body.mesh, behind) < 0.02


def test_a_thing_on_a_table_before_a_wall_is_neither() -> None:
    behind = np.where((Y > 175)[..., None], [140.0, 95, 60], [225.0, 222, 215]) + 0.0 * X[..., None]
    thing = mug()
    found = foreground(photo(thing, behind))
    assert iou(found.mask, thing.mask) > 0.95
    assert found.doubts == ()


def test_what_is_doubtful_is_said() -> None:
    whole = ball()
    moved = Thing(np.roll(whole.mask, 110, axis=1) & (X > 190), np.roll(whole.rgb, 110, axis=1))
    found = foreground(photo(moved, white()))
    assert found.doubts == (CUT_BY_BORDER,)
    assert iou(found.mask, moved.mask) > 0.95
    noise = np.random.default_rng(2).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    assert foreground(noise).mask.all()
    assert foreground(noise).doubts == (NOTHING_STANDS_OUT,)
    checks = np.where(((X // 30 + Y // 30) % 2)[..., None] > 0, [200.0, 195, 185], [90.0, 85, 80])
    grey = Thing(ball().mask, 1.2 * ball().rgb.mean(axis=2, keepdims=True) * np.ones(3))
    assert foreground(photo(grey, checks)).doubts == (BACKGROUND_ALIKE,)
    porcelain = Thing(
        mug().mask, np.array([238.0, 238, 235]) * np.clip(1 - 0.35 * np.abs(X - 147) / 66, 0.5, 1)[..., None]
    )
    assert foreground(photo(porcelain, white())).doubts == (BACKGROUND_ALIKE,)
    room = np.kron(np.random.default_rng(3).integers(0, 255, (8, 10, 3)), np.ones((30, 32, 1)))
    assert BACKGROUND_CLUTTERED in foreground(photo(ball(), room)).doubts


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_picture_of_one_colour_shows_nothing(shade: int) -> None:
    with pytest.raises(OneColour):
        foreground(np.full((HEIGHT, WIDTH, 3), shade, np.uint8))


def test_colours_of_a_thin_part_are_its_own() -> None:
    """They are not those of what lies deeper within, nor of what lies behind."""
    mask = (np.abs(X - 100) < 60) & (np.abs(Y - 120) < 60) | (np.abs(Y - 120) < 2) & (X > 100) & (X < 300)
    rgb = np.where(X[..., None] < 170, [200, 40, 40], [40, 40, 200]) * mask[..., None] + 255 * ~mask[..., None]
    texture = relief(rgb.astype(np.uint8), 0.1, mask).mesh.texture
    assert texture is not None
    right = texture[:, texture.shape[1] * 3 // 4]
    assert (right == [40, 40, 200]).all()
