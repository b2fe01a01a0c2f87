"""How long a unit of a tracker's component is in metres, from stated cues; a camera alone cannot know.

Each cue is a factor with a relative error. Cues that agree are averaged by inverse variance; those that cannot all be
right are put to the vote, and the result says who lost and claims less. Without any cue the scale is honestly `none`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ScaleSource = Literal["posed", "marker", "distance", "camera_height", "none"]

NOMINAL_DISTANCE = 2.5
"""Without any cue, the median landmark is put at this distance: rooms come out at about their size."""
DEPTH_SIGMA = 0.06
"""By what share all depth of a map may be too long or too short against its walk: of lengths on its surface, what no
number of views or clicks averages out. Measured where the truth is known: 4 and 7 % in two rooms."""
_TAPE_SIGMA = 0.005
_CAMERA_HEIGHT_SIGMA_M = 0.12
_FLOOR_BIN_SHARE = 0.25
_CONFLICT_SIGMAS = 3.0
_VOTES: dict[ScaleSource, float] = {"posed": 4.0, "distance": 2.0, "marker": 1.5, "camera_height": 1.0, "none": 0.0}
"""How much a source's word counts against others': blunders, which its error says nothing about. A marker is printed at
another size more often than a tape is misread."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Metres per unit, with the relative standard error; the error is inf where the source is `none`."""

    metres_per_unit: float
    sigma: float
    source: ScaleSource
    contradicted_by: tuple[ScaleSource, ...] = ()
    """Sources that were left out because they cannot be right if this one is."""

    def through(self, units_per_other_unit: float, sigma: float) -> Scale:
        """What somebody else's cue means here, where one of his units is so many of ours, give or take."""
        return replace(
            self, metres_per_unit=self.metres_per_unit / units_per_other_unit, sigma=float(np.hypot(self.sigma, sigma))
        )


POSED = Scale(1.0, 0.01, "posed")


def fuse(cues: Sequence[Scale]) -> Scale | None:
    """Average the cues that agree, in the log domain by inverse variance; named after the one that weighs most.

    Where some contradict others by more than 3 sigma, those that together have more votes are believed. The losers may
    still be right: the result's error grows by what is between them and their chance, and it names them. All markers
    count as one cue, since all were printed alike.
    """
    markers = [cue for cue in cues if cue.source == "marker"]
    voters = [cue for cue in cues if cue.source != "marker"] + ([_average(markers)] if markers else [])
    if not voters:
        return None
    parties = [[other for other in voters if _agree(cue, other)] for cue in voters]
    votes = [sum(_VOTES[cue.source] for cue in party) for party in parties]
    winner = max(range(len(voters)), key=lambda n: (votes[n], -voters[n].sigma))
    believed = parties[winner]
    losers = [cue for cue in voters if cue not in believed]
    mean = _average(believed)
    if not losers:
        return mean
    doubt = sum(_VOTES[cue.source] * np.log(cue.metres_per_unit / mean.metres_per_unit) ** 2 for cue in losers)
    variance = mean.sigma**2 + doubt / (votes[winner] + sum(_VOTES[cue.source] for cue in losers))
    sources = tuple(dict.fromkeys(cue.source for cue in losers))
    return replace(mean, sigma=float(np.sqrt(variance)), contradicted_by=sources)


def _agree(a: Scale, b: Scale) -> bool:
    apart = abs(float(np.log(a.metres_per_unit / b.metres_per_unit)))
    return apart <= _CONFLICT_SIGMAS * float(np.hypot(a.sigma, b.sigma))


def _average(cues: Sequence[Scale]) -> Scale:
    """Distances were all taken from the same map's depth: together they know no more than it does, or the best one."""
    weights = np.array([cue.sigma**-2 for cue in cues])
    typed = np.array([cue.source == "distance" for cue in cues])
    if typed.any():
        weights[typed] *= min(1.0, max(DEPTH_SIGMA**-2, weights[typed].max()) / weights[typed].sum())
    logs = np.log([cue.metres_per_unit for cue in cues])
    best = cues[int(np.argmax(weights))]
    return Scale(float(np.exp(weights @ logs / weights.sum())), float(weights.sum() ** -0.5), best.source)


def nominal(distances: NDArray[np.floating]) -> Scale:
    """A scale that claims nothing: puts the median of these distances (in units) at 2.5."""
    known = distances[np.isfinite(distances) & (distances > 0)]
    median = float(np.median(known)) if len(known) else NOMINAL_DISTANCE
    return Scale(NOMINAL_DISTANCE / median, float("inf"), "none")


def from_distance(length: float, length_sigma: float, distance_m: float) -> Scale:
    """Somebody measured what is so many units long in the map, give or take what its two ends may be off.

    Raises:
        ValueError: the ends are one point as far as anybody can tell, or the distance is not positive.
    """
    if not (distance_m > 0 and np.isfinite(distance_m)):
        raise ValueError(f"a distance must be positive, got {distance_m}")
    if not length > 2 * length_sigma:
        raise ValueError("the two points are too close together to measure between; pick points farther apart")
    sigma = float(np.linalg.norm([_TAPE_SIGMA, DEPTH_SIGMA, length_sigma / length]))
    return Scale(distance_m / length, sigma, "distance")


def from_camera_height(
    level_heights: NDArray[np.floating], camera_heights: NDArray[np.floating], camera_height_m: float
) -> Scale | None:
    """A phone carried at a known height above the floor; None where no floor is seen.

    The floor is the lowest height that gathers a good share of the level surface: below it there is only noise, above
    it tables.

    Args:
        level_heights: heights, in units along up, of points on upward-facing surfaces.
        camera_heights: heights of the cameras, in the same units.
        camera_height_m: what the carrier says.
    """
    eye = float(np.median(camera_heights))
    below = level_heights[level_heights < eye]
    if len(below) < 100:
        return None
    step = max(float(eye - np.quantile(below, 0.02)) / 40.0, 1e-9)
    counts, edges = np.histogram(below, bins=np.arange(below.min(), eye + step, step))
    smooth = np.convolve(counts, np.ones(3), mode="same")
    peak = int(np.argmax(smooth >= _FLOOR_BIN_SHARE * smooth.max()))
    while peak + 1 < len(smooth) and smooth[peak + 1] > smooth[peak]:
        peak += 1
    is_near = np.abs(below - 0.5 * (edges[peak] + edges[peak + 1])) < 1.5 * step
    height = eye - float(np.median(below[is_near]))
    if not height > 0:
        return None
    swing = float(np.std(camera_heights)) / height
    sigma = np.hypot(_CAMERA_HEIGHT_SIGMA_M / camera_height_m, max(0.02, swing / np.sqrt(len(camera_heights))))
    return Scale(camera_height_m / height, float(sigma), "camera_height")
