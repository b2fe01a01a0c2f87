"""The network's own frame and unit brought to those of the priors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mapping.alignment import fit_cameras
from mapping.transforms import F64, Sim3


def window_from_network(
    network: Sequence[F64 | None], priors: Sequence[F64 | None], landmark_scale: float | None
) -> Sim3:
    """Where the network's frame lies in the window's: identity where no view has a prior.

    The unit is what landmarks say; without them, the baseline that both know.

    Args:
        network, priors: a pose (4, 4) a view, or None.

    Raises:
        ValueError: there are priors, but nothing tells the unit, or no view has both.
    """
    if all(prior is None for prior in priors):
        return Sim3.identity()
    pairs = [(a, b) for a, b in zip(network, priors, strict=True) if a is not None and b is not None]
    if not pairs:
        raise ValueError("the network posed none of the views that have a prior")
    theirs, ours = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    fit = fit_cameras(theirs, ours)
    if landmark_scale is None and fit is None:
        raise ValueError("neither landmarks nor a baseline tell the unit of the network's depth")
    scale = landmark_scale if landmark_scale is not None else fit.b_from_a.scale if fit is not None else 1.0
    rotation = fit.b_from_a.rotation if fit is not None else ours[-1, :3, :3] @ theirs[-1, :3, :3].T
    shift = (ours[:, :3, 3] - scale * theirs[:, :3, 3] @ rotation.T).mean(axis=0)
    return Sim3(scale, rotation, shift)
