"""What of one photo is the thing: told from the picture's border, which shows what it stands before.

A plain background (paper, a wall, with the light falling off) is a smooth surface in CIELAB: the thing is what leaves
it, without its soft shadow. Any other background is a distribution of colours: those more frequent within than at the
border start GrabCut (Rother et al. 2004) as the thing's. Where the background shows through the thing is a hole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mapping.objects.mesh import F32, F64, U8

Mask = NDArray[np.bool_]
CUT_BY_BORDER, NOTHING_STANDS_OUT = "cut_by_border", "nothing_stands_out"
BACKGROUND_ALIKE, BACKGROUND_CLUTTERED = "background_alike", "background_cluttered"
_WORK_PX = 512
_RING = 0.04
"""How wide the border is, of each side."""
_ONE_COLOUR_LAB = 2.0
"""Between the darkest and the brightest pixels, and so on, but for 0.2 %: noise and dust make no picture."""
_PLAIN_SHARE, _PLAIN_NOISE_LAB = 0.7, 4.0
"""So much of the border of a plain background is smooth, but for such noise."""
_LEAST_LAB, _SIGMAS = 5.0, 3.5
"""What differs less than both from a plain background is background."""
_SHADES, _SHADE_LAB, _SOFT_LAB_PER_PX = (0.85, 0.7, 0.55), 6.0, 2.0
"""A shadow leaves so much of the light, keeps the hue, and has no edge."""
_HOLE_LAB = 3.0
_RATIO = 2.0
"""So much more frequent within than at the border: a colour of the thing."""
_CELL, _CELLS = (16, 8, 8), (16, 32, 32)
_NUM_BINS = 16 * 32 * 32
_ROUNDS = 3
_MIDDLE = 0.35
"""Photos of things have them about the middle: so far it reaches, of each side."""
_SAME = 0.8
_MIN_SHARE, _MAX_SHARE = 0.005, 0.95
_TOUCHING = 0.02
"""Of the picture's outermost pixels."""
_ALIKE = 0.2
"""So many pixels, of the thing's, are on the wrong side by their colour."""
_MANY_COLOURS = 25.0
"""Of equal shares, that would be as varied: floors and cloths have up to 10, rooms 30 to 100."""
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


class OneColour(ValueError):
    """Nothing can be told from a picture that shows nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """The thing's mask, and why it should not be trusted."""

    mask: Mask  # (h, w)
    doubts: tuple[str, ...]
    """`cut_by_border`: the thing goes on beyond the picture; `nothing_stands_out`: the mask is the whole picture;
    `background_alike`: thing and background share colours; `background_cluttered`: other things are about. Empty: none.
    """


def foreground(rgb: U8) -> Foreground:
    """What stands out from the border of a picture (h, w, 3); all of it, with a doubt, when nothing does.

    The mask is drawn in by a pixel of the working size, where thing and background mix.

    Raises:
        OneColour: there is nothing to be seen.
    """
    height, width = rgb.shape[:2]
    factor = min(1.0, _WORK_PX / max(height, width))
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    small = cv2.GaussianBlur(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), (3, 3), 0)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    if np.ptp(np.percentile(lab, (0.2, 99.8), axis=(0, 1)), axis=0).max() < _ONE_COLOUR_LAB:
        raise OneColour("the picture is all of one colour")
    ring = _ring(lab.shape[:2])
    plain = _before_plain(lab, ring)
    found, doubts = plain or _before_anything(small, ring)
    if plain and _is_cut(found):
        # What it stands on goes on beyond the picture, too.
        other, unsure = _before_anything(small, ring)
        found, doubts = plain if unsure or _is_cut(other) else (other, unsure)
    if not _MIN_SHARE < found.mean() < _MAX_SHARE:
        return Foreground(np.ones((height, width), np.bool_), (NOTHING_STANDS_OUT,))
    doubts = (CUT_BY_BORDER, *doubts) if _is_cut(found) else doubts
    inner = cv2.erode(found.astype(np.float32), _CROSS)
    soft = cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR)
    return Foreground(np.asarray(soft > 0.5), doubts)


def _ring(shape: tuple[int, ...]) -> Mask:
    ring = np.ones(shape, np.bool_)
    rows, columns = (max(1, round(_RING * n)) for n in shape)
    ring[rows:-rows, columns:-columns] = False
    return ring


def _is_cut(found: Mask) -> bool:
    return bool(np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]]).mean() > _TOUCHING)


def _before_plain(lab: F32, ring: Mask) -> tuple[Mask, tuple[str, ...]] | None:
    """The thing before a plain background, with doubts; None before any other background."""
    background, noise, share = _smooth(lab, ring)
    if share < _PLAIN_SHARE or noise > _PLAIN_NOISE_LAB:
        return None
    distance = np.linalg.norm(lab - background, axis=2)
    least = max(_LEAST_LAB, _SIGMAS * noise)
    near = distance < least
    bare, shaded = (
        _seen_past(behind, near & ring, distance, noise) for behind in (near, near | _shadow(lab, background))
    )
    if 2 * shaded.sum() <= bare.sum():  # a grey thing before grey is not all shadow
        return bare, (BACKGROUND_ALIKE,)
    is_alike = shaded.any() and np.median(distance[shaded]) < 2 * least
    return shaded, (BACKGROUND_ALIKE,) if is_alike else ()


def _seen_past(behind: Mask, sure: Mask, distance: F32, noise: float) -> Mask:
    """Without the parts of the background that reach the border, and without holes.

    What is enclosed is a hole only where it is the background to a hair: a white label is not quite the paper.
    """
    _, parts = cv2.connectedComponents(behind.astype(np.uint8), connectivity=4)
    count = int(parts.max()) + 1
    is_behind = np.bincount(parts[sure], minlength=count) > 0
    is_behind |= ndimage.median(distance, parts, np.arange(count)) < max(_HOLE_LAB, noise)
    is_behind[0] = False
    return np.asarray(cv2.morphologyEx((~is_behind[parts]).astype(np.uint8), cv2.MORPH_OPEN, _CROSS) > 0)


def _shadow(lab: F32, background: F32) -> Mask:
    """Where it is darker than the background, of its hue, and without an edge."""
    light = cv2.GaussianBlur(lab[..., 0], (0, 0), 1.5)
    slope = np.hypot(cv2.Sobel(light, -1, 1, 0, scale=1 / 8), cv2.Sobel(light, -1, 0, 1, scale=1 / 8))
    hue = np.hypot(*np.moveaxis((lab - background)[..., 1:], 2, 0))
    return np.asarray((hue < _SHADE_LAB) & (slope < _SOFT_LAB_PER_PX) & (light > _SHADES[-1] * background[..., 0]))


def _smooth(lab: F32, ring: Mask) -> tuple[F32, float, float]:
    """A surface of second order through most of the border: (h, w, 3), what is left beside it (rms), of which share."""
    rows, columns = np.indices(ring.shape, np.float32)
    y, x = 2 * rows / ring.shape[0] - 1, 2 * columns / ring.shape[1] - 1
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=2)
    known, colours = terms[ring], lab[ring]
    kept = np.linalg.norm(colours - np.median(colours, axis=0), axis=1) < 30
    for _ in range(5):
        surface = np.linalg.lstsq(known[kept], colours[kept], rcond=None)[0]
        off = np.linalg.norm(colours - known @ surface, axis=1)
        kept = off < max(3 * float(np.median(off)), 2.0)
    return (terms @ surface).astype(np.float32), float(np.sqrt((off[kept] ** 2).mean())), float(kept.mean())


def _before_anything(small: U8, ring: Mask) -> tuple[Mask, tuple[str, ...]]:
    """The thing before a background of any colours, with doubts: it should be the same without a look at the middle."""
    rows, columns = np.indices(ring.shape)
    height, width = ring.shape
    middle = np.exp(-(((rows / height - 0.5) / _MIDDLE) ** 2) - ((columns / width - 0.5) / _MIDDLE) ** 2)
    found, own = _by_colours(small, ring, np.where(ring, 0, middle))
    shares = np.bincount(_bins(small[ring])) / ring.sum()
    if np.exp(-(shares * np.log(np.maximum(shares, 1e-9))).sum()) > _MANY_COLOURS:
        return found, (BACKGROUND_CLUTTERED,)
    if (found & ~own).sum() + (own & ~found).sum() > _ALIKE * found.sum():
        return found, (BACKGROUND_ALIKE,)
    other, _ = _by_colours(small, ring, np.where(ring, 0, 1))
    is_same = (found & other).sum() > _SAME * (found | other).sum()
    return found, () if is_same else (BACKGROUND_ALIKE,)


def _by_colours(small: U8, ring: Mask, weights: F64) -> tuple[Mask, Mask]:
    """What GrabCut makes of the pixels that have the thing's colours, and those."""
    within = np.bincount(_bins(small).ravel(), weights.ravel(), _NUM_BINS)
    lit = np.bincount(_bins(small[ring]), minlength=_NUM_BINS)
    # Shadows are the background's colours, too.
    dark = [np.bincount(_bins((small[ring] * shade).astype(np.uint8)), minlength=_NUM_BINS) for shade in _SHADES]
    at = _bins(small)
    bare = (_spread(within) / _spread(lit) > _RATIO)[at]
    shaded = bare & (_spread(within) / _spread(np.max(dark, axis=0)) > _RATIO)[at]
    own = shaded if 2 * shaded.sum() > bare.sum() else bare
    seeds = cv2.medianBlur(own.astype(np.uint8), 5) > 0
    if not seeds.any() or seeds.all():
        return np.zeros(ring.shape, np.bool_), own
    labels = np.where(seeds, cv2.GC_PR_FGD, np.where(ring, cv2.GC_BGD, cv2.GC_PR_BGD)).astype(np.uint8)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(small[..., ::-1]), labels, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)), own


def _bins(rgb: U8) -> NDArray[np.int64]:
    """Of pixels (..., 3), numbers of their colours (...): cells of CIELAB."""
    lab = cv2.cvtColor(rgb.reshape(-1, 1, 3), cv2.COLOR_RGB2LAB).reshape(rgb.shape) // np.array(_CELL, np.uint8)
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(lab.astype(np.int64), -1, 0)), _CELLS), np.int64)


def _spread(counts: NDArray[Any]) -> F32:
    """How frequent each colour is; a little of it is of its neighbours, and none is impossible."""
    shares = (counts / counts.sum()).reshape(_CELLS)
    return np.asarray(ndimage.gaussian_filter(shares, 0.7).ravel() + 1e-5, np.float32)
