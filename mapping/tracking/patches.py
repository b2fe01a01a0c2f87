"""A landmark's looks: small patches kept from where it was first seen, laid over later images with an affine warp.

Unlike frame-to-frame flow this does not drift, survives a change of brightness (gain and offset are removed), and
finds a landmark again long after it was out of sight. Inverse-compositional alignment: Baker & Matthews 2004.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.transforms import F64

SIZE = 24  # stored patch, pixels a side, at full and at half size
_HALF = 4  # the template is (2 * 4 + 1) pixels a side
_TEMPLATE = (2 * _HALF + 1) ** 2


def cut(gray: NDArray[np.uint8], half: NDArray[np.uint8], pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Patches (n, 2, SIZE, SIZE) around OpenCV pixels (n, 2), at full and at half size; edges are replicated.

    The patch's centre (index SIZE / 2) lies on the ROUNDED pixel at each level; `fraction` gives the rest.
    """
    out = np.empty((len(pixels), 2, SIZE, SIZE), np.uint8)
    _cut(gray, half, pixels.astype(np.float64), out)
    return out


@kernel
def _cut(gray: NDArray[np.uint8], half: NDArray[np.uint8], pixels: F64, out: NDArray[np.uint8]) -> None:
    for i in range(len(pixels)):
        for level in range(2):
            image = gray if level == 0 else half
            height, width = image.shape
            u0 = int(np.rint(pixels[i, 0] / (1 + level))) - SIZE // 2
            v0 = int(np.rint(pixels[i, 1] / (1 + level))) - SIZE // 2
            if u0 >= 0 and v0 >= 0 and u0 + SIZE <= width and v0 + SIZE <= height:
                out[i, level] = image[v0 : v0 + SIZE, u0 : u0 + SIZE]
                continue
            for r in range(SIZE):
                v = min(max(v0 + r, 0), height - 1)
                for c in range(SIZE):
                    out[i, level, r, c] = image[v, min(max(u0 + c, 0), width - 1)]


@kernel
def _sample(image: NDArray[np.uint8], u: float, v: float) -> float:
    iu, iv = int(u), int(v)
    fu, fv = u - iu, v - iv
    top: float = image[iv, iu] * (1 - fu) + image[iv, iu + 1] * fu
    bottom: float = image[iv + 1, iu] * (1 - fu) + image[iv + 1, iu + 1] * fu
    return top * (1 - fv) + bottom * fv


@kernel
def align(
    patches: NDArray[np.uint8],
    origins: F64,
    patch_from_image: F64,
    gray: NDArray[np.uint8],
    half: NDArray[np.uint8],
    seeds: F64,
    coarse: bool,
    out: F64,
) -> F64:
    """Move each seed (n, 2) to where the image looks like the landmark's patch; positions go to `out` (n, 2).

    Args:
        patches: (n, 2, SIZE, SIZE) from `cut`.
        origins: (n, 2) OpenCV pixels the patches were cut around.
        patch_from_image: (n, 2, 2) affine warp of pixel offsets.
        coarse: search at half size first (reaches about 6 px), else only at full size (about 2 px).

    Returns:
        (n,) normalised correlation at the end, -1 where the alignment left the image or found nothing to hold on to.
    """
    scores = np.empty(len(seeds))
    template, gu, gv = np.empty(_TEMPLATE), np.empty(_TEMPLATE), np.empty(_TEMPLATE)
    for i in range(len(seeds)):
        u, v = seeds[i, 0], seeds[i, 1]
        score = -1.0
        for level in range(1 if coarse else 0, -1, -1):
            scale = 1.0 / (1 + level)
            image = half if level == 1 else gray
            a = patch_from_image[i]
            ou = origins[i, 0] * scale - np.rint(origins[i, 0] * scale) + SIZE // 2
            ov = origins[i, 1] * scale - np.rint(origins[i, 1] * scale) + SIZE // 2
            ok = _template(patches[i, level], a, ou, ov, template)
            score = -1.0
            if not ok:
                break
            norm = _normalise(template)
            if norm < 2.0:  # gray levels: flat
                break
            u, v, score = _align_one(template, gu, gv, image, u * scale, v * scale)
            if score < (0.6 if level == 1 else -0.5):
                score = -1.0
                break
            u, v = u / scale, v / scale
        out[i, 0], out[i, 1] = u, v
        scores[i] = score
    return scores


@kernel
def _template(patch: NDArray[np.uint8], a: F64, ou: float, ov: float, template: F64) -> bool:
    k = 0
    for dv in range(-_HALF, _HALF + 1):
        for du in range(-_HALF, _HALF + 1):
            pu = ou + a[0, 0] * du + a[0, 1] * dv
            pv = ov + a[1, 0] * du + a[1, 1] * dv
            if pu < 0 or pv < 0 or pu >= SIZE - 1 or pv >= SIZE - 1:
                return False
            template[k] = _sample(patch, pu, pv)
            k += 1
    return True


@kernel
def _normalise(values: F64) -> float:
    """Remove the mean and divide by the standard deviation, in place; returns that deviation."""
    mean = values.mean()
    total = 0.0
    for k in range(len(values)):
        values[k] -= mean
        total += values[k] * values[k]
    deviation: float = np.sqrt(total / len(values))
    if deviation > 1e-9:
        for k in range(len(values)):
            values[k] /= deviation
    return deviation


@kernel
def _align_one(
    template: F64, gu: F64, gv: F64, image: NDArray[np.uint8], u: float, v: float
) -> tuple[float, float, float]:
    """Translation of a normalised template over the image; returns u, v and the correlation (-1 = failed)."""
    height, width = image.shape
    side = 2 * _HALF + 1
    huu, huv, hvv = 1e-9, 0.0, 1e-9
    for r in range(side):
        for c in range(side):
            k = r * side + c
            gu[k] = 0.5 * (template[k + 1] - template[k - 1]) if 0 < c < side - 1 else 0.0
            gv[k] = 0.5 * (template[k + side] - template[k - side]) if 0 < r < side - 1 else 0.0
            huu += gu[k] * gu[k]
            huv += gu[k] * gv[k]
            hvv += gv[k] * gv[k]
    det = huu * hvv - huv * huv
    trace = huu + hvv
    if det < 0.01 * trace * trace * 0.25:  # an edge: slides along itself
        return u, v, -1.0
    start_u, start_v = u, v
    score = -1.0
    window = np.empty(len(template))
    for _ in range(12):
        if not (u >= _HALF and v >= _HALF and u < width - _HALF - 1 and v < height - _HALF - 1):
            return u, v, -1.0
        iu, iv = int(u), int(v)
        fu, fv = u - iu, v - iv
        w00, w01, w10, w11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
        k = 0
        for r in range(-_HALF, _HALF + 1):
            for c in range(-_HALF, _HALF + 1):
                y, x = iv + r, iu + c
                window[k] = (
                    w00 * image[y, x] + w01 * image[y, x + 1] + w10 * image[y + 1, x] + w11 * image[y + 1, x + 1]
                )
                k += 1
        if _normalise(window) < 1.5:
            return u, v, -1.0
        bu, bv, score = 0.0, 0.0, 0.0
        for k in range(len(template)):
            d = window[k] - template[k]
            bu += gu[k] * d
            bv += gv[k] * d
            score += window[k] * template[k]
        score /= len(template)
        du, dv = (hvv * bu - huv * bv) / det, (huu * bv - huv * bu) / det
        u, v = u - du, v - dv
        if abs(u - start_u) > 5.0 or abs(v - start_v) > 5.0:
            return u, v, -1.0
        if du * du + dv * dv < 1e-4:
            break
    return u, v, score


def warm_up() -> None:
    """Compile the kernels."""
    gray, half = np.zeros((64, 64), np.uint8), np.zeros((32, 32), np.uint8)
    pixels = np.full((1, 2), 30.0)
    patches = cut(gray, half, pixels.astype(np.float32))
    align(patches, pixels, np.eye(2)[None].copy(), gray, half, pixels, True, np.empty((1, 2)))
