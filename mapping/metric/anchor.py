"""How the first component becomes the world, and when a better idea of up or scale is worth moving it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mapping.metric.gravity import Gravity
from mapping.metric.scale import Scale
from mapping.transforms import F64, WORLD_UP, Sim3, rotation_between

MIN_TURN_DEG = 1.0
MIN_STRETCH = 0.01
_FIRST_LOOKS = (3, 6, 12, 24)
_LOOK_EVERY = 48


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """The state of knowledge under which the world stands."""

    gravity: Gravity  # in the component's frame
    scale: Scale
    world_from_component: Sim3


def first(gravity: Gravity, scale: Scale, component_from_camera: F64) -> Anchor:
    """Stand a component upright: its origin becomes the world's, its first camera looks along -Z."""
    up = gravity.up
    forward = component_from_camera[:3, 2]
    level = forward - (forward @ up) * up
    if np.linalg.norm(level) < 1e-3:  # looks straight up or down: the top of the image leads
        level = -component_from_camera[:3, 1] - (-component_from_camera[:3, 1] @ up) * up
    back = -level / np.linalg.norm(level)
    rotation = np.stack([np.cross(up, back), up, back])
    return Anchor(gravity, scale, Sim3(scale.metres_per_unit, rotation, np.zeros(3)))


def given(gravity: Gravity, scale: Scale) -> Anchor:
    """Take a posed source's world as it is."""
    return Anchor(gravity, scale, Sim3.identity())


def handed_on(now: Anchor, world_from_heir: Sim3) -> Anchor:
    """The same world under the same claims, said of another component that lies in it."""
    up = world_from_heir.rotation.T @ now.world_from_component.rotation @ now.gravity.up
    stretch = world_from_heir.scale / now.world_from_component.scale
    size = replace(now.scale, metres_per_unit=now.scale.metres_per_unit * stretch)
    return Anchor(replace(now.gravity, up=up), size, world_from_heir)


def better(now: Anchor, gravity: Gravity, scale: Scale) -> tuple[Anchor, Sim3, Literal["gravity", "scale"]] | None:
    """The anchor to move to, `new_from_old` of the world and why; None where it is not worth an epoch.

    It must differ by more than 1 degree or 1 %; see `_is_worth` for the rest.
    """
    turned_deg = float(np.degrees(np.arccos(np.clip(now.gravity.up @ gravity.up, -1.0, 1.0))))
    turns = _is_worth(turned_deg, MIN_TURN_DEG, gravity.sigma_deg, now.gravity.sigma_deg)
    ratio = scale.metres_per_unit / now.scale.metres_per_unit
    stretches = scale.source != "none" and _is_worth(
        abs(float(np.log(ratio))), float(np.log1p(MIN_STRETCH)), scale.sigma, _scale_sigma_by_now(now, scale)
    )
    if not turns and not stretches:
        return None
    up_in_old_world = now.world_from_component.rotation @ gravity.up
    rotation = rotation_between(up_in_old_world, WORLD_UP) if turns else np.eye(3)
    new_from_old = Sim3(ratio if stretches else 1.0, rotation, np.zeros(3))
    moved = Anchor(
        gravity if turns else now.gravity,
        scale if stretches else now.scale,
        new_from_old @ now.world_from_component,
    )
    return moved, new_from_old, "scale" if stretches else "gravity"


def _scale_sigma_by_now(now: Anchor, scale: Scale) -> float:
    """What the present scale may still claim: no more than the new one, once somebody contradicts what it rests on."""
    return max(now.scale.sigma, scale.sigma) if scale.contradicted_by else now.scale.sigma


def _is_worth(change: float, least: float, sigma: float, sigma_now: float) -> bool:
    """A clearly better estimate counts from half of its own error on, an equally good one only beyond its error: it
    may be no nearer to the truth, and a world that sways is worse than one that leans. A worse one never counts."""
    if sigma > sigma_now:
        return False
    return change > max(least, (0.5 if sigma < 0.75 * sigma_now else 1.0) * sigma)


def reworded(now: Anchor, gravity: Gravity, scale: Scale) -> Anchor:
    """The same world under estimates that agree with it: only the claims change, to less error or to new doubt."""
    is_doubt = scale.source != "none" and scale.contradicted_by != now.scale.contradicted_by
    is_news = scale.sigma < now.scale.sigma or is_doubt
    return replace(
        now,
        gravity=replace(gravity, up=now.gravity.up) if gravity.sigma_deg < now.gravity.sigma_deg else now.gravity,
        scale=replace(scale, metres_per_unit=now.scale.metres_per_unit) if is_news else now.scale,
    )


def is_time_to_look(num_placed: int) -> bool:
    """Whether the anchor is worth reconsidering after so many keyframes: often at first, then now and then."""
    return num_placed in _FIRST_LOOKS or (num_placed > 0 and num_placed % _LOOK_EVERY == 0)
