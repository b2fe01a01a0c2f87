"""Pictures: posters, windows, book spines and fronts, made to be stretched once over one side of something."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic.patterns import Rgb, Rng, flat, grain, noise, wood

_INKS = (
    ((240, 226, 198), (214, 88, 60), (38, 70, 83), (42, 157, 143), (233, 196, 106), (90, 60, 50)),
    ((29, 53, 87), (69, 123, 157), (168, 218, 220), (230, 57, 70), (241, 250, 238), (244, 162, 97)),
    ((250, 237, 205), (204, 213, 174), (130, 150, 100), (212, 163, 115), (98, 68, 50), (188, 71, 73)),
    ((43, 45, 66), (141, 153, 174), (237, 242, 244), (239, 99, 81), (250, 200, 90), (60, 110, 113)),
    ((255, 243, 224), (52, 78, 65), (163, 177, 138), (88, 129, 87), (218, 140, 90), (120, 40, 50)),
)
"""Palettes of the posters."""
_CLOTH = (
    (122, 46, 42), (46, 74, 98), (58, 92, 70), (196, 168, 112), (86, 60, 96), (214, 204, 182), (168, 94, 52),
    (70, 70, 74), (134, 150, 160), (180, 60, 60), (40, 56, 62), (208, 180, 70), (150, 120, 92), (96, 128, 140),
)  # fmt: skip
"""Colours of book spines."""


def marker_sheet(dictionary: str, marker_id: int, side: int = 512) -> NDArray[np.uint8]:
    """(side, side, 3) white sheet; the marker's black square takes the middle two thirds."""
    constant = "DICT_" + dictionary.removeprefix("aruco_").upper()
    aruco = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, constant))
    pixels = 64 * (aruco.markerSize + 2)  # a border of one black cell around the data
    bits = cv2.aruco.generateImageMarker(aruco, marker_id, pixels)
    sheet = cv2.copyMakeBorder(bits, *(pixels // 4,) * 4, cv2.BORDER_CONSTANT, value=255)
    image = cv2.resize(16 + sheet // 255 * 219, (side, side), interpolation=cv2.INTER_AREA)
    return np.repeat(image[:, :, None], 3, axis=2)


def scribble(rng: Rng, image: Rgb, x: int, y: int, size: int, letters: int, ink: tuple[int, int, int]) -> None:
    """Something like `letters` letters of `size` pixels, from (x, y) to the right."""
    for letter in range(letters):
        strokes = rng.integers(0, size, (4, 2)) + np.array([x + letter * size * 5 // 4, y - size])
        cv2.polylines(image, [strokes.astype(np.int32)], False, ink, max(1, size // 8), cv2.LINE_AA)


def books(rng: Rng, side: int) -> Rgb:
    """Four shelves of spines of every width, height and colour."""
    image = wood((150, 105, 62), (105, 70, 40))(rng, side)
    shelves, thickness = 4, side // 40
    pitch = side // shelves
    for shelf in range(shelves):
        y0, y1 = shelf * pitch + thickness, (shelf + 1) * pitch
        image[y0:y1] *= 0.35
        x = 4
        while x < side - 12:
            width = int(rng.integers(side // 60, side // 22))
            top = y0 + int(rng.integers(pitch // 12, pitch // 3))
            colour = np.array(_CLOTH[int(rng.integers(len(_CLOTH)))]) * rng.uniform(0.75, 1.15)
            end = min(x + width, side)
            image[top:y1, x:end] = colour
            for _ in range(int(rng.integers(1, 4))):
                band = int(rng.integers(top + 4, y1 - 4))
                image[band : band + int(rng.integers(3, 14)), x + 2 : end - 2] = rng.uniform(40, 240, 3)
            image[top:y1, end - 1 : end] *= 0.5
            x = end + (int(rng.integers(4, 20)) if rng.random() < 0.08 else 0)
    return grain(rng, side, image, 7)


def poster(rng: Rng, side: int) -> Rgb:
    """An abstract print with a frame."""
    palette = np.array(_INKS[int(rng.integers(len(_INKS)))], np.float32)[rng.permutation(6)]
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
        scribble(rng, image, side // 12, y, side // 60, 22, (20, 20, 20))
    frame = side // 28
    image = grain(rng, side, image, 8)
    for edge in (np.s_[:frame], np.s_[-frame:], np.s_[:, :frame], np.s_[:, -frame:]):
        image[edge] = (38, 34, 32)
    return image


def window(rng: Rng, side: int) -> Rgb:
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
    image = grain(rng, side, image, 6)
    bar = side // 22
    cross = np.s_[(side - bar) // 2 : (side + bar) // 2]
    for edge in (np.s_[:bar], np.s_[-bar:], np.s_[:, :bar], np.s_[:, -bar:], cross, (np.s_[:], cross)):
        image[edge] = (238, 236, 230)
    return image


def rug(colours: list[tuple[int, int, int]]) -> Callable[[Rng, int], Rgb]:
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
        return grain(rng, side, image, 14)

    return make


def drawers(rng: Rng, side: int) -> Rgb:
    """Six fronts with knobs."""
    image = wood((160, 112, 70), (112, 74, 44))(rng, side)
    for r in range(3):
        for c in range(2):
            y0, x0, y1, x1 = r * side // 3 + 8, c * side // 2 + 8, (r + 1) * side // 3 - 8, (c + 1) * side // 2 - 8
            image[y0:y1, x0:x1] *= rng.uniform(0.85, 1.15)
            cv2.rectangle(image, (x0, y0), (x1, y1), (62, 40, 24), 4)
            cv2.circle(image, ((x0 + x1) // 2, (y0 + y1) // 2), side // 44, (214, 182, 90), -1, cv2.LINE_AA)
    return image


def carton(rng: Rng, side: int) -> Rgb:
    """Cardboard with tape, a label and printing."""
    image = grain(rng, side, flat(side, (184, 142, 92)), 14)
    image[:, side // 2 - side // 16 : side // 2 + side // 16] = image[:, :1] * 0.5 + np.array([110, 96, 60])
    for _ in range(3):
        x, y = (int(v) for v in rng.integers(20, side - side // 3, 2))
        cv2.rectangle(image, (x, y), (x + side // 4, y + side // 6), (236, 236, 230), -1)
        for line in range(4):
            cv2.line(image, (x + 6, y + 10 + line * 14), (x + int(rng.integers(40, side // 4 - 6)), y + 10 + line * 14),
                     (30, 30, 30), 4)  # fmt: skip
    for _ in range(8):
        x, y = (int(v) for v in rng.integers(0, side - 40, 2))
        scribble(rng, image, x, y + 30, 24, 2, (84, 52, 30))
    return image


def leaves(rng: Rng, side: int) -> Rgb:
    image = flat(side, (24, 48, 20))
    for _ in range(400):
        at = tuple(int(v) for v in rng.integers(0, side, 2))
        green = (float(rng.uniform(30, 110)), float(rng.uniform(100, 200)), float(rng.uniform(30, 80)))
        cv2.ellipse(image, at, (side // 14, side // 40), float(rng.uniform(0, 360)), 0, 360, green, -1, cv2.LINE_AA)
    return grain(rng, side, image, 8)


def screen(rng: Rng, side: int) -> Rgb:
    image = flat(side, (22, 26, 36))
    for line in range(24):
        x = side // 16
        for _ in range(int(rng.integers(1, 7))):
            width = int(rng.integers(side // 30, side // 6))
            y = side // 14 + line * side // 28
            cv2.rectangle(image, (x, y), (x + width, y + side // 60), rng.uniform(90, 240, 3).tolist(), -1)
            x += width + side // 50
    image = grain(rng, side, image, 4)
    for edge in (np.s_[: side // 30], np.s_[-side // 30 :], np.s_[:, : side // 40], np.s_[:, -side // 40 :]):
        image[edge] = (14, 14, 15)
    return image


def fridge(rng: Rng, side: int) -> Rgb:
    """Metal with notes and magnets on it."""
    image = grain(rng, side, flat(side, (196, 200, 204)) + 14 * noise(rng, side, 128, 2, stretch=32)[:, :, None], 5)
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


def lamp(rng: Rng, side: int) -> Rgb:
    image = flat(side, (236, 232, 224))
    cv2.circle(image, (side // 2, side // 2), int(side * 0.46), (255, 246, 220), -1, cv2.LINE_AA)
    cv2.circle(image, (side // 2, side // 2), int(side * 0.46), (150, 130, 90), side // 40, cv2.LINE_AA)
    return image
