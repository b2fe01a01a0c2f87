"""Landmarks found by their looks: those that flow has lost, and those it has let drift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.tracking import patches
from mapping.tracking.flow import F32
from mapping.tracking.local_map import I64, LocalMap
from mapping.tracking.tracks import Tracks
from mapping.tracking.view import View
from mapping.transforms import F64

_MIN_CORRELATION = 0.8
_UNRELIABLE = 6  # `misses` from which a landmark is no longer looked for
_SAME_PX = 5.0  # a loose track this close to a found landmark is that landmark
_DRIFT_PX = 2.5  # flow is not corrected by more than this: beyond, the patch has probably slipped


def reobserve(local_map: LocalMap, view: View, pose: F64, tracks: Tracks, *, most: int, turn: int) -> Tracks:
    """Add landmarks that `pose` should see but that are not tracked: `most` at a time, others as `turn` counts on."""
    skip = local_map.misses >= _UNRELIABLE
    skip[tracks.ids] = True
    ids, seeds, warps = local_map.visible(pose, view.lens, skip)
    if len(ids) > most:
        pick = (np.arange(most) * len(ids) // most + turn) % len(ids)
        ids, seeds, warps = ids[pick], seeds[pick], warps[pick]
    if not len(ids):
        return tracks
    found, good = _align(local_map, view, ids, seeds, warps, coarse=True)
    ids, found = ids[good], found[good]
    loose = np.flatnonzero(~local_map.placed[tracks.ids])
    if len(loose) and len(found):
        distance = np.linalg.norm(tracks.pixels[loose, None] - found[None], axis=2).min(axis=1)
        tracks = tracks.without(loose[distance < _SAME_PX])
    return tracks.plus(ids, found)


def reanchor(local_map: LocalMap, view: View, pose: F64, tracks: Tracks) -> Tracks:
    """Lay each placed landmark's own patch over the image: flow has drifted a little in every frame since."""
    skip = np.ones(local_map.capacity, np.bool_)
    skip[tracks.ids] = False
    row_of = np.zeros(local_map.capacity, np.int64)
    row_of[tracks.ids] = np.arange(len(tracks))
    ids, _, warps = local_map.visible(pose, view.lens, skip)
    if not len(ids):
        return tracks
    rows = row_of[ids]
    found, good = _align(local_map, view, ids, tracks.pixels[rows].astype(np.float64), warps, coarse=False)
    good &= np.linalg.norm(found - tracks.pixels[rows], axis=1) < _DRIFT_PX
    pixels = tracks.pixels.copy()
    pixels[rows[good]] = found[good]
    return Tracks(tracks.ids, pixels)


def _align(
    local_map: LocalMap, view: View, ids: I64, seeds: F64, warps: F64, *, coarse: bool
) -> tuple[F32, NDArray[np.bool_]]:
    found = np.empty((len(ids), 2))
    origins = local_map.home_pixels[ids].astype(np.float64)
    image = view.image
    scores = patches.align(local_map.looks[ids], origins, warps, image.gray, image.half, seeds, coarse, found)
    return found.astype(np.float32), scores > _MIN_CORRELATION
