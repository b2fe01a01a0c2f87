"""SOG (PlayCanvas, version 2): Gaussians as a zip of lossless WebP pictures, a pixel each; the smallest of the files.

Places in 16 bits of a logarithm, turns by their three smallest components, sizes and colours by codebooks of 256, what
depends on the direction of view by a palette. Frame as the PLYs have it: +Y down.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mapping.objects.mesh import F32, F64, U8, MeshError
from mapping.objects.splats.cloud import COEFFICIENTS, MAX_SPLATS, Splats, unit, upside_down

_CODES, _PALETTE, _PALETTE_COLUMNS = 256, 1024, 64
_ROUNDS = 8
_LARGEST = 252  # the alpha of a turn, plus which of wxyz is left out
_ROOT_TWO = np.sqrt(2.0)
_MEMBER_BYTES = 256 << 20
Meta = dict[str, Any]


def encode(splats: Splats) -> bytes:
    """The bundle; near ones stand together, so that pictures pack well."""
    out = upside_down(splats)
    order = _along_curve(out.centres_m)
    files: dict[str, bytes] = {}
    side = int(np.ceil(np.sqrt(len(out))))

    def add(name: str, pixels: NDArray[np.integer]) -> list[str]:
        picture = np.zeros((side * side, pixels.shape[1]), np.uint8)
        picture[: len(pixels)] = pixels
        files[f"{name}.webp"] = _webp(picture.reshape(side, side, -1))
        return [f"{name}.webp"]

    places = _compressed(out.centres_m[order].astype(np.float64))
    low, high = places.min(0), places.max(0)
    steps = np.round((places - low) / np.maximum(high - low, 1e-12) * 65535).astype(np.int64)
    sizes, size_codes = _codebook(np.log(np.maximum(out.sizes_m[order], 1e-9)))
    colours, colour_codes = _codebook(out.sh[order, 0])
    opacity = np.round(255 * out.opacities[order].clip(0, 1)).astype(np.int64)
    meta: Meta = {
        "version": 2,
        "asset": {"generator": "Commonground"},
        "count": len(out),
        "antialias": False,
        "means": {
            "mins": low.tolist(), "maxs": high.tolist(),
            "files": add("means_l", steps & 255) + add("means_u", steps >> 8),
        },
        "scales": {"codebook": sizes, "files": add("scales", size_codes)},
        "quats": {"files": add("quats", _packed_turns(out.quats_wxyz[order]))},
        "sh0": {"codebook": colours, "files": add("sh0", np.column_stack([colour_codes, opacity]))},
    }  # fmt: skip
    if out.sh.shape[1] > 1:
        palette, labels = _palette(out.sh[order, 1:].reshape(len(out), -1))
        values, codes = _codebook(palette)
        rest = out.sh.shape[1] - 1
        rows = -(-len(palette) // _PALETTE_COLUMNS)
        drawn = np.zeros((rows * _PALETTE_COLUMNS, rest, 3), np.uint8)
        drawn[: len(palette)] = codes.reshape(-1, rest, 3)
        files["shN_centroids.webp"] = _webp(drawn.reshape(rows, -1, 3))
        names = ["shN_centroids.webp", *add("shN_labels", np.column_stack([labels & 255, labels >> 8, 0 * labels]))]
        bands = COEFFICIENTS.index(rest + 1)
        meta["shN"] = {"count": len(palette), "bands": bands, "codebook": values, "files": names}
    return _zipped({"meta.json": json.dumps(meta).encode(), **files})


def decode(data: bytes) -> Splats:
    """Read a bundle that nobody vouches for.

    Raises:
        MeshError: it is no SOG of version 2, is broken or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            meta = json.loads(_member(archive, "meta.json"))
            count = int(meta["count"])
            if meta["version"] != 2 or not 0 < count <= MAX_SPLATS:
                raise MeshError(f"SOG of version {str(meta['version'])[:8]} with {count} splats: not read here")
            return upside_down(_read(archive, meta, count))
    except MeshError:
        raise
    except Exception as error:  # whatever zip, JSON and pictures of a broken file trip over
        raise MeshError(f"not a SOG file: {type(error).__name__}: {error}") from error


def _read(archive: zipfile.ZipFile, meta: Meta, count: int) -> Splats:
    def pixels(part: str, number: int = 0) -> NDArray[np.int64]:
        found = _picture(archive, meta[part]["files"][number]).reshape(-1, 4)
        if len(found) < count:
            raise MeshError(f"{part} has {len(found)} pixels for {count} splats")
        return found[:count].astype(np.int64)

    low, high = (np.array(meta["means"][name], np.float64) for name in ("mins", "maxs"))
    steps = pixels("means")[:, :3] | pixels("means", 1)[:, :3] << 8
    sizes = np.array(meta["scales"]["codebook"], np.float64)[pixels("scales")[:, :3]]
    colours = pixels("sh0")
    sh = np.array(meta["sh0"]["codebook"], np.float64)[colours[:, :3]][:, None]
    if rest := meta.get("shN"):
        width = COEFFICIENTS[rest["bands"]] - 1
        palette = _picture(archive, rest["files"][0])[..., :3].reshape(-1, width, 3)
        labels = pixels("shN", 1)
        chosen = palette[labels[:, 0] | labels[:, 1] << 8]
        sh = np.concatenate([sh, np.array(rest["codebook"], np.float64)[chosen]], axis=1)
    return Splats(
        _expanded(low + (high - low) * steps / 65535).astype(np.float32),
        np.exp(sizes.clip(-20, 20)).astype(np.float32),
        _unpacked_turns(pixels("quats")),
        (colours[:, 3] / 255).astype(np.float32),
        sh.astype(np.float32),
    )


def _compressed(places_m: F64) -> F64:
    return np.asarray(np.sign(places_m) * np.log1p(np.abs(places_m)))


def _expanded(logs: F64) -> F64:
    return np.asarray(np.sign(logs) * np.expm1(np.abs(logs).clip(0, 20)))


def _along_curve(places_m: F32) -> NDArray[np.int64]:
    """An order in which neighbours follow each other (Morton 1966)."""
    low, high = places_m.min(0), places_m.max(0)
    cells = ((places_m - low) / np.maximum(high - low, 1e-12) * 1023).astype(np.int64)
    key = np.zeros(len(cells), np.int64)
    for bit in range(10):
        for axis in range(3):
            key |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return np.argsort(key, kind="stable")


def _codebook(values: NDArray[np.floating]) -> tuple[list[float], NDArray[np.int64]]:
    """256 numbers, rising, and for each value which is nearest (Lloyd 1957, from quantiles)."""
    flat = values.ravel().astype(np.float64)
    codes = np.quantile(flat, (np.arange(_CODES) + 0.5) / _CODES)
    for _ in range(_ROUNDS):
        nearest = np.searchsorted((codes[1:] + codes[:-1]) / 2, flat)
        total, number = np.bincount(nearest, flat, _CODES), np.bincount(nearest, minlength=_CODES)
        codes = np.sort(np.where(number > 0, total / np.maximum(number, 1), codes))
    nearest = np.searchsorted((codes[1:] + codes[:-1]) / 2, flat)
    return codes.tolist(), nearest.reshape(values.shape)


def _palette(vectors: F32) -> tuple[F32, NDArray[np.int64]]:
    """At most 1,024 vectors that stand for all of them, and which for each (Lloyd, from evenly spaced ones)."""
    centres = vectors[np.linspace(0, len(vectors) - 1, min(_PALETTE, len(vectors))).astype(int)]
    for _ in range(_ROUNDS):
        labels = _nearest(vectors, centres)
        number = np.bincount(labels, minlength=len(centres))
        total = np.zeros_like(centres, np.float64)
        np.add.at(total, labels, vectors)
        centres = np.where(number[:, None] > 0, total / np.maximum(number, 1)[:, None], centres).astype(np.float32)
    return centres, _nearest(vectors, centres)


def _nearest(vectors: F32, centres: F32) -> NDArray[np.int64]:
    """Which centre is nearest to each vector; in pieces, since all distances at once are many."""
    square = (centres.astype(np.float64) ** 2).sum(axis=1) / 2
    pieces = [vectors[i : i + 4096] for i in range(0, len(vectors), 4096)]
    return np.concatenate([(square - piece @ centres.T).argmin(axis=1) for piece in pieces])


def _packed_turns(quats_wxyz: F32) -> NDArray[np.int64]:
    """(n, 4) bytes: the three smaller components of wxyz, and which one is left out."""
    largest = np.abs(quats_wxyz).argmax(axis=1)
    sign = np.where(quats_wxyz[np.arange(len(largest)), largest] < 0, -1.0, 1.0)
    others = np.arange(4)[None] != largest[:, None]
    three = (quats_wxyz * sign[:, None])[others].reshape(-1, 3)
    steps = np.round((three * _ROOT_TWO + 1) / 2 * 255).clip(0, 255).astype(np.int64)
    return np.column_stack([steps, _LARGEST + largest])


def _unpacked_turns(pixels: NDArray[np.int64]) -> F32:
    largest = (pixels[:, 3] - _LARGEST).clip(0, 3)
    three = (pixels[:, :3] / 255 * 2 - 1) / _ROOT_TWO
    wxyz = np.zeros((len(pixels), 4))
    wxyz[np.arange(4)[None] != largest[:, None]] = three.ravel()
    wxyz[np.arange(len(pixels)), largest] = np.sqrt(np.maximum(0, 1 - (three**2).sum(axis=1)))
    return unit(wxyz.astype(np.float32))


def _webp(pixels: U8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True, exact=True, quality=80, method=4)
    return out.getvalue()


def _picture(archive: zipfile.ZipFile, name: str) -> U8:
    """(h, w, 4)"""
    with Image.open(io.BytesIO(_member(archive, name))) as picture:
        if picture.width * picture.height > 2 * MAX_SPLATS:
            raise MeshError(f"a picture of {picture.width} x {picture.height} pixels")
        return np.asarray(picture.convert("RGBA"), np.uint8)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MEMBER_BYTES:
        raise MeshError(f"{name[:64]} is too large")
    return archive.read(name)


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return out.getvalue()
