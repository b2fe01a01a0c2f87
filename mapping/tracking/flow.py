"""Where points of one image went in the next: pyramidal Lucas-Kanade both ways, and fresh corners to follow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel

F32 = NDArray[np.float32]

_WINDOW = (15, 15)
_LEVELS = 3  # pyramid levels above the full image
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.03)


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """One tracking image, ready to be followed from and into."""

    gray: NDArray[np.uint8]  # (h, w)
    half: NDArray[np.uint8]  # (h / 2, w / 2)

    @classmethod
    def build(cls, gray: NDArray[np.uint8]) -> Pyramid:
        return cls(gray, np.asarray(cv2.pyrDown(gray), np.uint8))


def follow(
    before: Pyramid, after: Pyramid, pixels: F32, seeds: F32, *, max_return_px: float = 0.8
) -> tuple[F32, NDArray[np.bool_]]:
    """Follow pixels (n, 2) from one image into the other, starting at seeds (n, 2).

    Returns:
        Pixels (n, 2) and whether each is to be trusted: found, inside, and led back to where it came from.
    """
    if not len(pixels):
        return pixels.copy(), np.zeros(0, np.bool_)
    height, width = after.gray.shape
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before.gray,
        after.gray,
        pixels,
        seeds.copy(),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=_CRITERIA,
        flags=flags,
    )
    back, returned, _ = cv2.calcOpticalFlowPyrLK(
        after.gray, before.gray, there, pixels.copy(), winSize=_WINDOW, maxLevel=1, criteria=_CRITERIA, flags=flags
    )
    good = (found.ravel() > 0) & (returned.ravel() > 0)
    good &= np.linalg.norm(back - pixels, axis=1) < max_return_px
    good &= (there[:, 0] > 3) & (there[:, 1] > 3) & (there[:, 0] < width - 4) & (there[:, 1] < height - 4)
    return there, good


def fresh_corners(
    gray: NDArray[np.uint8], taken: F32, wanted: int, *, spacing_px: int = 14, border_px: int = 12
) -> F32:
    """Up to `wanted` corners (n, 2) at least `spacing_px` from each other and from the taken pixels (m, 2).

    FAST proposes, the smaller eigenvalue of the structure tensor ranks (Shi & Tomasi 1994), and no cell of a 4 x 3 grid
    may take more than its share, so that one busy poster does not starve the rest of the room.
    """
    height, width = gray.shape
    proposals: list[cv2.KeyPoint] = []
    for threshold in (12, 5):
        proposals = list(cv2.FastFeatureDetector.create(threshold).detect(gray))
        if len(proposals) > 3 * wanted:
            break
    if wanted <= 0 or not proposals:
        return np.empty((0, 2), np.float32)
    pixels = np.asarray(cv2.KeyPoint.convert(proposals)).astype(np.int64)
    inside = (
        (pixels >= border_px).all(axis=1) & (pixels[:, 0] < width - border_px) & (pixels[:, 1] < height - border_px)
    )
    pixels = pixels[inside]
    strength = _smaller_eigenvalues(gray, pixels)
    order = np.argsort(-strength, kind="stable")
    order = order[strength[order] > max(4.0, 0.002 * float(strength.max(initial=0.0)))]  # squared gray levels per pixel
    chosen = _spread(pixels[order], taken.astype(np.float64), height, width, wanted, spacing_px)
    if not len(chosen):
        return np.empty((0, 2), np.float32)
    corners = pixels[order[chosen]].astype(np.float32).reshape(-1, 1, 2)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)
    return np.asarray(cv2.cornerSubPix(gray, corners, (3, 3), (-1, -1), criteria), np.float32).reshape(-1, 2)


@kernel
def _smaller_eigenvalues(gray: NDArray[np.uint8], pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.empty(len(pixels))
    for i in range(len(pixels)):
        u, v = pixels[i]
        a, b, c = 0.0, 0.0, 0.0
        for y in range(v - 3, v + 4):
            for x in range(u - 3, u + 4):
                gx = 0.5 * (float(gray[y, x + 1]) - float(gray[y, x - 1]))
                gy = 0.5 * (float(gray[y + 1, x]) - float(gray[y - 1, x]))
                a += gx * gx
                b += gx * gy
                c += gy * gy
        out[i] = (0.5 * (a + c) - np.sqrt(0.25 * (a - c) ** 2 + b * b)) / 49.0
    return out


@kernel
def _spread(
    pixels: NDArray[np.int64], taken: NDArray[np.float64], height: int, width: int, wanted: int, spacing: int
) -> NDArray[np.int64]:
    """Indices of the first pixels that keep their distance and their cell's share."""
    free = np.ones((height, width), np.bool_)
    for i in range(len(taken)):
        _block(free, int(taken[i, 0]), int(taken[i, 1]), spacing)
    share = np.zeros(12, np.int64)
    cap = max(4, int(1.6 * wanted / 12))
    out = np.empty(wanted, np.int64)
    n = 0
    for fair in (True, False):  # what poor cells leave over, rich ones may have
        for i in range(len(pixels)):
            u, v = pixels[i]
            cell = u * 4 // width + 4 * (v * 3 // height)
            if not free[v, u] or (fair and share[cell] >= cap):
                continue
            _block(free, u, v, spacing)
            share[cell] += 1
            out[n] = i
            n += 1
            if n == wanted:
                return out
    return out[:n]


@kernel
def _block(free: NDArray[np.bool_], u: int, v: int, spacing: int) -> None:
    for y in range(max(v - spacing, 0), min(v + spacing + 1, free.shape[0])):
        for x in range(max(u - spacing, 0), min(u + spacing + 1, free.shape[1])):
            if (y - v) ** 2 + (x - u) ** 2 <= spacing * spacing:
                free[y, x] = False


def warm_up() -> None:
    """Compile the kernels."""
    gray = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    fresh_corners(gray, np.zeros((1, 2), np.float32), 10)
