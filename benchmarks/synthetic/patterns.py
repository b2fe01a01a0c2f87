"""Surfaces: wood, tiles, wallpaper and cloth, each a recipe from a random generator to a square that repeats."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.float32]
Rng = np.random.Generator


def noise(rng: Rng, side: int, cells: int, octaves: int = 4, stretch: int = 1) -> NDArray[np.float32]:
    """(side, side) repeating value noise in about -1..1; `stretch` > 1 makes it longer along the columns."""
    total, weight = np.zeros((side, side), np.float32), 1.0
    for _ in range(octaves):
        rows, columns = min(side, cells), max(1, min(side, cells // stretch))
        grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        padded = np.pad(grid, 2, mode="wrap")
        scale_y, scale_x = side // rows, side // columns
        large = cv2.resize(padded, None, fx=scale_x, fy=scale_y, interpolation=cv2.INTER_CUBIC)
        large = large[2 * scale_y : 2 * scale_y + side, 2 * scale_x : 2 * scale_x + side]
        total += weight * large
        cells, weight = cells * 2, weight * 0.6
        if cells > side:
            break
    return total / max(1e-6, float(np.abs(total).max()))


def flat(side: int, colour: tuple[int, int, int]) -> Rgb:
    return np.broadcast_to(np.array(colour, np.float32), (side, side, 3)).copy()


def grain(rng: Rng, side: int, image: Rgb, strength: float = 9.0) -> Rgb:
    """Fine speckle over everything, so that no patch is blank."""
    speckle = noise(rng, side, side // 8, 3)[:, :, None] * strength
    return np.asarray(image + speckle + noise(rng, side, 8, 3)[:, :, None] * strength * 0.8, dtype=np.float32)


def planks(light: tuple[int, int, int], dark: tuple[int, int, int]) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Boards along the columns, each of its own tone and grain."""
        fibres = noise(rng, side, 128, 3, stretch=16)
        tone = np.zeros((side, side), np.float32)
        gap = np.ones((side, side), np.float32)
        rows = 16
        board = side // rows
        for r in range(rows):
            y, x = r * board, int(rng.integers(0, side))
            while x < 2 * side:
                length = int(rng.integers(side // 4, side // 2))
                columns = np.arange(x, x + length) % side
                tone[y : y + board, columns] = rng.uniform(0, 1)
                gap[y : y + board, columns[:2]] = 0.45
                x += length
            gap[y : y + 2] = 0.5
        knots = np.clip(noise(rng, side, 32, 2, stretch=2) - 0.55, 0, 1) * 2
        mix = np.clip(0.25 + 0.5 * tone + 0.35 * fibres - knots, 0, 1)[:, :, None]
        image = np.array(dark, np.float32) * (1 - mix) + np.array(light, np.float32) * mix
        return grain(rng, side, image * gap[:, :, None], 6)

    return make


def wood(light: tuple[int, int, int], dark: tuple[int, int, int]) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Rings drawn out along the columns."""
        warp = noise(rng, side, 8, 4, stretch=4)
        rings = 0.5 + 0.5 * np.sin(2 * np.pi * (8 * np.linspace(0, 1, side, endpoint=False)[:, None] + 2.5 * warp))
        mix = np.clip(0.65 * rings + 0.3 * noise(rng, side, 128, 2, stretch=16) + 0.15, 0, 1)[:, :, None]
        image = np.array(dark) * (1 - mix) + np.array(light) * mix
        return grain(rng, side, image.astype(np.float32), 7)

    return make


def tiles(a: tuple[int, int, int], b: tuple[int, int, int], count: int) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Square tiles of two colours in no order, with veins and joints."""
        cell = side // count
        choice = rng.integers(0, 2, (count, count))[:, :, None]
        tone = rng.uniform(0.82, 1.08, (count, count, 1))
        grid = (np.where(choice, np.array(a), np.array(b)) * tone).astype(np.float32)
        image = cv2.resize(grid, (side, side), interpolation=cv2.INTER_NEAREST)
        veins = np.exp(-(np.abs(noise(rng, side, 8, 5)) * 12))[:, :, None]
        image = image * (1 - 0.35 * veins)
        for k in range(count):
            image[k * cell : k * cell + 3] = 120
            image[:, k * cell : k * cell + 3] = 120
        return grain(rng, side, image, 8)

    return make


def paper(ground: tuple[int, int, int], inks: list[tuple[int, int, int]], motif: str) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Wallpaper whose motifs are strewn without a period."""
        image = grain(rng, side, flat(side, ground), 7)
        canvas = np.ascontiguousarray(np.tile(image, (1, 1, 1)))
        for _ in range(420):
            ink = [float(v) for v in np.array(inks[int(rng.integers(len(inks)))]) * rng.uniform(0.85, 1.1)]
            x, y = (int(v) for v in rng.integers(0, side, 2))
            size = int(rng.integers(side // 90, side // 32))
            angle = float(rng.uniform(0, 360))
            # Drawn at every wrapped place, so that the sheet joins itself.
            for dx in (-side, 0, side):
                for dy in (-side, 0, side):
                    if -2 * size < x + dx < side + 2 * size and -2 * size < y + dy < side + 2 * size:
                        _motif(canvas, (x + dx, y + dy), size, angle, ink, motif)
        return canvas

    return make


def _motif(canvas: Rgb, at: tuple[int, int], size: int, angle: float, ink: list[float], motif: str) -> None:
    if motif == "flower":
        for petal in range(5):
            turn = np.radians(angle + 72 * petal)
            at_petal = (at[0] + int(0.7 * size * np.cos(turn)), at[1] + int(0.7 * size * np.sin(turn)))
            axes = (max(1, size // 2), max(1, size // 4))
            cv2.ellipse(canvas, at_petal, axes, angle + 72 * petal, 0, 360, ink, -1, cv2.LINE_AA)
        cv2.circle(canvas, at, max(1, size // 4), [235, 200, 90], -1, cv2.LINE_AA)
    elif motif == "leaf":
        cv2.ellipse(canvas, at, (size, max(1, size // 3)), angle, 0, 360, ink, -1, cv2.LINE_AA)
        tip = (at[0] + int(size * np.cos(np.radians(angle))), at[1] + int(size * np.sin(np.radians(angle))))
        cv2.line(canvas, at, tip, [0.7 * v for v in ink], 1, cv2.LINE_AA)
    elif motif == "shard":
        turns = np.radians(angle + np.array([0.0, 130.0, 220.0]))
        points = np.array(at) + size * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        cv2.fillPoly(canvas, [points.astype(np.int32)], ink, cv2.LINE_AA)
    else:
        cv2.circle(canvas, at, size // 2, ink, max(1, size // 6), cv2.LINE_AA)


def weave(colours: list[tuple[int, int, int]], count: int) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Cloth: random stripes both ways under a fine weave."""
        palette = np.array(colours, np.float32)
        ways = [palette[rng.integers(0, len(colours), count)].repeat(side // count, axis=0) for _ in range(2)]
        image = 0.5 * (ways[0][:, None] + ways[1][None, :])
        index = np.arange(side)
        weave = ((index[:, None] // 4 + index[None, :] // 4) % 2)[:, :, None] * 12.0 - 6.0
        return grain(rng, side, image + weave.astype(np.float32), 12)

    return make


def patches(colours: list[tuple[int, int, int]], count: int) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Patchwork: squares of different cloth, each with its own dots or bars."""
        image = np.zeros((side, side, 3), np.float32)
        cell = side // count
        for r in range(count):
            for c in range(count):
                a, b = (np.array(colours[int(i)], np.float32) for i in rng.integers(0, len(colours), 2))
                patch = np.broadcast_to(a, (cell, cell, 3)).copy()
                for _ in range(7):
                    x, y = (int(v) for v in rng.integers(0, cell, 2))
                    if (r + c) % 2:
                        cv2.circle(patch, (x, y), int(rng.integers(3, cell // 5 + 4)), b.tolist(), -1, cv2.LINE_AA)
                    else:
                        end = (int(rng.integers(0, cell)), int(rng.integers(0, cell)))
                        cv2.line(patch, (x, y), end, b.tolist(), 3, cv2.LINE_AA)
                image[r * cell : (r + 1) * cell, c * cell : (c + 1) * cell] = patch
        return grain(rng, side, image, 10)

    return make


def granite(rng: Rng, side: int) -> Rgb:
    spots = noise(rng, side, 64, 3)[:, :, None]
    image = flat(side, (98, 96, 100)) + 60 * spots
    image[noise(rng, side, 128, 2) > 0.45] = (205, 200, 196)
    return grain(rng, side, image, 12)


def plain(colour: tuple[int, int, int], strength: float, cells: int = 16) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        return grain(rng, side, flat(side, colour) + strength * noise(rng, side, cells, 5)[:, :, None], strength * 0.8)

    return make
