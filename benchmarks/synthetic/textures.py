"""Procedural, seeded, matte materials: every one has detail from centimetres down to millimetres to track and match.

A material is a square texture that repeats (or is stretched once over a picture) and the width it covers in metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    texture: NDArray[np.uint8]  # (s, s, 3) RGB, s a power of two
    width_m: float
    """Width of the square the texture covers when it repeats."""


def materials(seed: int = 0) -> dict[str, Material]:
    """Every material of the flat by name."""
    out = {}
    for index, (name, (make, side, width_m)) in enumerate(_RECIPES.items()):
        image = make(np.random.default_rng([seed, index]), side)
        out[name] = Material(np.clip(image, 0, 255).astype(np.uint8), width_m)
    return out


def marker_sheet(dictionary: str, marker_id: int, side: int = 512) -> NDArray[np.uint8]:
    """(side, side, 3) white sheet; the marker's black square takes the middle two thirds."""
    cells = 6  # four of data, one of black border on each side
    pixels = 64 * cells
    bits = cv2.aruco.generateImageMarker(
        cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary)), marker_id, pixels
    )
    sheet = cv2.copyMakeBorder(bits, *(pixels // 4,) * 4, cv2.BORDER_CONSTANT, value=255)
    image = cv2.resize(16 + sheet // 255 * 219, (side, side), interpolation=cv2.INTER_AREA)
    return np.repeat(image[:, :, None], 3, axis=2)


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


def _flat(side: int, colour: tuple[int, int, int]) -> Rgb:
    return np.broadcast_to(np.array(colour, np.float32), (side, side, 3)).copy()


def _grain(rng: Rng, side: int, image: Rgb, strength: float = 9.0) -> Rgb:
    """Fine speckle over everything, so that no patch is blank."""
    speckle = noise(rng, side, side // 8, 3)[:, :, None] * strength
    return np.asarray(image + speckle + noise(rng, side, 8, 3)[:, :, None] * strength * 0.8, dtype=np.float32)


def _scribble(rng: Rng, image: Rgb, x: int, y: int, size: int, letters: int, ink: tuple[int, int, int]) -> None:
    """Something like `letters` letters of `size` pixels, from (x, y) to the right."""
    for letter in range(letters):
        strokes = rng.integers(0, size, (4, 2)) + [x + letter * size * 5 // 4, y - size]
        cv2.polylines(image, [strokes.astype(np.int32)], False, ink, max(1, size // 8), cv2.LINE_AA)


def _planks(light: tuple[int, int, int], dark: tuple[int, int, int]) -> Callable[[Rng, int], Rgb]:
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
        return _grain(rng, side, image * gap[:, :, None], 6)

    return make


def _wood(light: tuple[int, int, int], dark: tuple[int, int, int]) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Rings drawn out along the columns."""
        warp = noise(rng, side, 8, 4, stretch=4)
        rings = 0.5 + 0.5 * np.sin(2 * np.pi * (8 * np.linspace(0, 1, side, endpoint=False)[:, None] + 2.5 * warp))
        mix = np.clip(0.65 * rings + 0.3 * noise(rng, side, 128, 2, stretch=16) + 0.15, 0, 1)[:, :, None]
        return _grain(rng, side, np.array(dark, np.float32) * (1 - mix) + np.array(light, np.float32) * mix, 7)

    return make


def _tiles(a: tuple[int, int, int], b: tuple[int, int, int], count: int) -> Callable[[Rng, int], Rgb]:
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
        return _grain(rng, side, image, 8)

    return make


def _paper(ground: tuple[int, int, int], inks: list[tuple[int, int, int]], motif: str) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Wallpaper whose motifs are strewn without a period."""
        image = _grain(rng, side, _flat(side, ground), 7)
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


def _weave(colours: list[tuple[int, int, int]], count: int) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Cloth: random stripes both ways under a fine weave."""
        palette = np.array(colours, np.float32)
        ways = [palette[rng.integers(0, len(colours), count)].repeat(side // count, axis=0) for _ in range(2)]
        image = 0.5 * (ways[0][:, None] + ways[1][None, :])
        index = np.arange(side)
        weave = ((index[:, None] // 4 + index[None, :] // 4) % 2)[:, :, None] * 12.0 - 6.0
        return _grain(rng, side, image + weave.astype(np.float32), 12)

    return make


def _patches(colours: list[tuple[int, int, int]], count: int) -> Callable[[Rng, int], Rgb]:
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
        return _grain(rng, side, image, 10)

    return make


def _books(rng: Rng, side: int) -> Rgb:
    """Four shelves of spines of every width, height and colour."""
    image = _wood((150, 105, 62), (105, 70, 40))(rng, side)
    shelves, thickness = 4, side // 40
    pitch = side // shelves
    for shelf in range(shelves):
        y0, y1 = shelf * pitch + thickness, (shelf + 1) * pitch
        image[y0:y1] *= 0.35
        x = 4
        while x < side - 12:
            width = int(rng.integers(side // 60, side // 22))
            top = y0 + int(rng.integers(pitch // 12, pitch // 3))
            hue = np.uint8([[[rng.integers(0, 180), rng.integers(60, 210), rng.integers(90, 235)]]])
            colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)
            end = min(x + width, side)
            image[top:y1, x:end] = colour
            for _ in range(int(rng.integers(1, 4))):
                band = int(rng.integers(top + 4, y1 - 4))
                image[band : band + int(rng.integers(3, 14)), x + 2 : end - 2] = rng.uniform(40, 240, 3)
            image[top:y1, end - 1 : end] *= 0.5
            x = end + (int(rng.integers(4, 20)) if rng.random() < 0.08 else 0)
    return _grain(rng, side, image, 7)


def _poster(rng: Rng, side: int) -> Rgb:
    """An abstract print with a frame."""
    palette = rng.uniform(30, 245, (6, 3)).astype(np.float32)
    image = np.broadcast_to(palette[0], (side, side, 3)).copy()
    style = int(rng.integers(3))
    for i in range(46):
        colour = palette[1 + i % 5].tolist()
        a, b = (tuple(int(v) for v in rng.integers(0, side, 2)) for _ in range(2))
        if style == 0:
            cv2.circle(image, a, int(rng.integers(8, side // 7)), colour, -1 if i % 3 else 6, cv2.LINE_AA)
        elif style == 1:
            cv2.rectangle(image, a, (a[0] + int(rng.integers(12, side // 4)), a[1] + int(rng.integers(12, side // 4))),
                          colour, -1)  # fmt: skip
        else:
            points = rng.integers(0, side, 2) + rng.integers(-side // 6, side // 6, (3, 2))
            cv2.fillPoly(image, [points.astype(np.int32)], colour, cv2.LINE_AA)
        if i % 6 == 0:
            cv2.line(image, a, b, palette[i % 6].tolist(), 3, cv2.LINE_AA)
    for line in range(4):
        y = int(0.86 * side) + line * side // 40
        _scribble(rng, image, side // 12, y, side // 60, 22, (20, 20, 20))
    frame = side // 28
    image = _grain(rng, side, image, 8)
    for edge in (np.s_[:frame], np.s_[-frame:], np.s_[:, :frame], np.s_[:, -frame:]):
        image[edge] = (38, 34, 32)
    return image


def _window(rng: Rng, side: int) -> Rgb:
    """A view of hills and houses behind a cross of white bars."""
    y = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    image = (1 - y) * np.array([150, 195, 240], np.float32) + y * np.array([225, 235, 245], np.float32)
    image = np.broadcast_to(image, (side, side, 3)).copy()
    clouds = np.clip(noise(rng, side, 4, 5) * 1.6, 0, 1)[:, :, None]
    image = image * (1 - clouds) + 250 * clouds
    for ridge, colour in ((0.55, (120, 150, 130)), (0.68, (88, 128, 80)), (0.82, (70, 104, 56))):
        line = (ridge + 0.06 * noise(rng, side, 8, 4)[0]) * side
        image[np.arange(side)[:, None] > line[None, :]] = colour
    for _ in range(14):
        x, top, width = int(rng.integers(0, side)), int(rng.uniform(0.6, 0.85) * side), int(rng.integers(20, 52))
        image[top : top + width, x : x + width] = rng.uniform(140, 235, 3)
        image[top - 8 : top, x : x + width] = (150, 70, 50)
    image = _grain(rng, side, image, 6)
    bar = side // 22
    for edge in (np.s_[:bar], np.s_[-bar:], np.s_[:, :bar], np.s_[:, -bar:],
                 np.s_[side // 2 - bar // 2 : side // 2 + bar // 2], np.s_[:, side // 2 - bar // 2 : side // 2 + bar // 2]):  # fmt: skip
        image[edge] = (238, 236, 230)
    return image


def _rug(colours: list[tuple[int, int, int]]) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        """Borders around a field of lozenges."""
        palette = [np.array(c, np.float32) for c in colours]
        index = np.arange(side)
        edge = np.minimum(index, side - 1 - index)
        ring = np.minimum(edge[:, None], edge[None, :]) // (side // 22)
        image = np.stack(palette)[np.minimum(ring, 4) % len(palette)]
        inside = ring >= 4
        lozenges = np.abs(index[:, None] % (side // 4) - side // 8) + np.abs(index[None, :] % (side // 6) - side // 12)
        field = np.stack(palette)[(lozenges // (side // 24)) % len(palette)]
        image = np.where(inside[:, :, None], field, image).astype(np.float32)
        for _ in range(60):
            x, y = (int(v) for v in rng.integers(side // 5, 4 * side // 5, 2))
            cv2.circle(
                image, (x, y), int(rng.integers(3, side // 40)), palette[int(rng.integers(len(palette)))].tolist(), -1
            )
        return _grain(rng, side, image, 14)

    return make


def _drawers(rng: Rng, side: int) -> Rgb:
    """Six fronts with knobs."""
    image = _wood((160, 112, 70), (112, 74, 44))(rng, side)
    for r in range(3):
        for c in range(2):
            y0, x0, y1, x1 = r * side // 3 + 8, c * side // 2 + 8, (r + 1) * side // 3 - 8, (c + 1) * side // 2 - 8
            image[y0:y1, x0:x1] *= rng.uniform(0.85, 1.15)
            cv2.rectangle(image, (x0, y0), (x1, y1), (62, 40, 24), 4)
            cv2.circle(image, ((x0 + x1) // 2, (y0 + y1) // 2), side // 44, (214, 182, 90), -1, cv2.LINE_AA)
    return image


def _carton(rng: Rng, side: int) -> Rgb:
    """Cardboard with tape, a label and printing."""
    image = _grain(rng, side, _flat(side, (184, 142, 92)), 14)
    image[:, side // 2 - side // 16 : side // 2 + side // 16] = image[:, :1] * 0.5 + np.array([110, 96, 60])
    for _ in range(3):
        x, y = (int(v) for v in rng.integers(20, side - side // 3, 2))
        cv2.rectangle(image, (x, y), (x + side // 4, y + side // 6), (236, 236, 230), -1)
        for line in range(4):
            cv2.line(image, (x + 6, y + 10 + line * 14), (x + int(rng.integers(40, side // 4 - 6)), y + 10 + line * 14),
                     (30, 30, 30), 4)  # fmt: skip
    for _ in range(8):
        x, y = (int(v) for v in rng.integers(0, side - 40, 2))
        _scribble(rng, image, x, y + 30, 24, 2, (84, 52, 30))
    return image


def _granite(rng: Rng, side: int) -> Rgb:
    spots = noise(rng, side, 64, 3)[:, :, None]
    image = _flat(side, (98, 96, 100)) + 60 * spots
    image[noise(rng, side, 128, 2) > 0.45] = (205, 200, 196)
    return _grain(rng, side, image, 12)


def _leaves(rng: Rng, side: int) -> Rgb:
    image = _flat(side, (24, 48, 20))
    for _ in range(400):
        at = tuple(int(v) for v in rng.integers(0, side, 2))
        green = (float(rng.uniform(30, 110)), float(rng.uniform(100, 200)), float(rng.uniform(30, 80)))
        cv2.ellipse(image, at, (side // 14, side // 40), float(rng.uniform(0, 360)), 0, 360, green, -1, cv2.LINE_AA)
    return _grain(rng, side, image, 8)


def _screen(rng: Rng, side: int) -> Rgb:
    image = _flat(side, (22, 26, 36))
    for line in range(24):
        x = side // 16
        for _ in range(int(rng.integers(1, 7))):
            width = int(rng.integers(side // 30, side // 6))
            y = side // 14 + line * side // 28
            cv2.rectangle(image, (x, y), (x + width, y + side // 60), rng.uniform(90, 240, 3).tolist(), -1)
            x += width + side // 50
    image = _grain(rng, side, image, 4)
    for edge in (np.s_[: side // 30], np.s_[-side // 30 :], np.s_[:, : side // 40], np.s_[:, -side // 40 :]):
        image[edge] = (14, 14, 15)
    return image


def _fridge(rng: Rng, side: int) -> Rgb:
    """Metal with notes and magnets on it."""
    image = _grain(rng, side, _flat(side, (196, 200, 204)) + 14 * noise(rng, side, 128, 2, stretch=32)[:, :, None], 5)
    cv2.line(image, (0, side // 3), (side, side // 3), (60, 60, 62), 6)
    for _ in range(13):
        x, y = (int(v) for v in rng.integers(20, side - 110, 2))
        w, h = (int(v) for v in rng.integers(40, 110, 2))
        cv2.rectangle(image, (x, y), (x + w, y + h), rng.uniform(140, 255, 3).tolist(), -1)
        for line in range(h // 16):
            cv2.line(
                image, (x + 6, y + 12 + 14 * line), (x + int(rng.integers(12, w)), y + 12 + 14 * line), (40, 40, 60), 2
            )
        cv2.circle(image, (x + w // 2, y + 4), 8, rng.uniform(20, 240, 3).tolist(), -1, cv2.LINE_AA)
    return image


def _plain(colour: tuple[int, int, int], strength: float, cells: int = 16) -> Callable[[Rng, int], Rgb]:
    def make(rng: Rng, side: int) -> Rgb:
        return _grain(
            rng, side, _flat(side, colour) + strength * noise(rng, side, cells, 5)[:, :, None], strength * 0.8
        )

    return make


def _lamp(rng: Rng, side: int) -> Rgb:
    image = _flat(side, (236, 232, 224))
    cv2.circle(image, (side // 2, side // 2), int(side * 0.46), (255, 246, 220), -1, cv2.LINE_AA)
    cv2.circle(image, (side // 2, side // 2), int(side * 0.46), (150, 130, 90), side // 40, cv2.LINE_AA)
    return image


def _marker(rng: Rng, side: int) -> Rgb:
    return marker_sheet("DICT_4X4_50", 7, side).astype(np.float32)


_OAK = ((206, 160, 106), (140, 96, 58))
_WALNUT = ((142, 98, 66), (84, 54, 36))
_RECIPES: dict[str, tuple[Callable[[Rng, int], Rgb], int, float]] = {
    "oak": (_planks(*_OAK), 1024, 2.4),
    "walnut_floor": (_planks((160, 112, 76), (92, 60, 40)), 1024, 2.4),
    "carpet": (_weave([(92, 110, 128), (120, 134, 146), (76, 92, 112), (150, 156, 160)], 128), 1024, 2.5),
    "terracotta": (_tiles((186, 104, 72), (160, 84, 58), 8), 1024, 2.4),
    "tiles": (_tiles((222, 218, 206), (112, 140, 150), 8), 1024, 2.4),
    "plaster": (_plain((226, 222, 214), 9), 512, 2.0),
    "render": (_plain((170, 160, 150), 12), 256, 2.0),
    "trim": (_plain((232, 228, 218), 8, 8), 256, 0.8),
    "paper_living": (_paper((214, 200, 172), [(176, 96, 80), (120, 140, 96), (196, 150, 90)], "flower"), 1024, 2.6),
    "paper_study": (_paper((150, 172, 164), [(70, 110, 104), (210, 214, 190), (100, 140, 150)], "leaf"), 1024, 2.6),
    "paper_corridor": (_paper((220, 206, 186), [(184, 150, 110), (150, 120, 96), (200, 120, 90)], "shard"), 1024, 2.6),
    "paper_kitchen": (_paper((236, 222, 170), [(220, 140, 60), (150, 170, 80), (200, 90, 60)], "ring"), 1024, 2.6),
    "paper_bedroom": (_paper((176, 180, 204), [(110, 116, 160), (226, 220, 232), (150, 120, 160)], "flower"), 1024, 2.6),
    "pine": (_wood((214, 174, 118), (168, 122, 72)), 512, 0.8),
    "walnut": (_wood(*_WALNUT), 512, 0.8),
    "drawers": (_drawers, 512, 1.2),
    "cupboard": (_plain((170, 188, 178), 12), 512, 0.9),
    "granite": (_granite, 512, 0.7),
    "metal": (_plain((190, 194, 198), 10), 256, 0.7),
    "fridge": (_fridge, 512, 1.0),
    "ceramic": (_paper((232, 228, 220), [(50, 80, 150), (90, 120, 180)], "leaf"), 256, 0.5),
    "fabric_blue": (_weave([(58, 88, 132), (80, 112, 150), (44, 66, 104), (160, 170, 176)], 64), 512, 0.7),
    "fabric_red": (_weave([(150, 56, 52), (182, 84, 66), (112, 40, 44), (214, 170, 130)], 64), 512, 0.6),
    "patchwork": (_patches([(196, 80, 66), (70, 110, 140), (226, 190, 110), (96, 130, 90), (232, 224, 208)], 4), 512, 0.5),
    "quilt": (_patches([(180, 96, 110), (100, 120, 170), (230, 210, 180), (120, 150, 130), (90, 80, 110)], 8), 1024, 1.9),
    "stripes": (_weave([(232, 224, 206), (60, 90, 110), (200, 110, 80)], 32), 256, 0.5),
    "cardboard_a": (_carton, 512, 0.5),
    "cardboard_b": (_carton, 512, 0.45),
    "books_a": (_books, 512, 0.5),
    "books_b": (_books, 1024, 1.0),
    "books_c": (_books, 1024, 1.0),
    "books_d": (_books, 1024, 1.0),
    "speaker": (_plain((58, 58, 62), 22, 64), 256, 0.3),
    "screen": (_screen, 512, 0.7),
    "globe": (_paper((70, 120, 170), [(120, 150, 80), (190, 170, 110)], "shard"), 256, 0.4),
    "leaves": (_leaves, 512, 0.5),
    "shade": (_plain((240, 214, 160), 10), 256, 0.3),
    "wicker": (_weave([(176, 134, 86), (140, 100, 60), (204, 168, 116)], 64), 256, 0.4),
    "rug_a": (_rug([(150, 48, 44), (214, 176, 120), (48, 62, 92), (230, 220, 200)]), 1024, 2.0),
    "rug_b": (_rug([(62, 92, 84), (220, 206, 170), (176, 110, 70), (36, 48, 52)]), 1024, 1.6),
    "rug_c": (_rug([(110, 80, 130), (228, 214, 222), (70, 100, 140), (200, 150, 110)]), 1024, 1.7),
    "window_a": (_window, 512, 1.0),
    "window_b": (_window, 512, 1.0),
    "lamp": (_lamp, 256, 0.5),
    "marker": (_marker, 512, 0.36),
    **{f"poster_{i}": (_poster, 512, 0.8) for i in range(10)},
}  # fmt: skip
