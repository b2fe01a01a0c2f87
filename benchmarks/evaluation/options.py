"""How a session is played: the scene's settings, the engine, and what is told to the map beside pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.session import Played
from mapping.metric.markers import Config as MarkerConfig
from mapping.scene_map import SceneMap
from mapping.scene_map import StreamOptions as Joining
from server.scene import Config as SceneConfig

Cue = Callable[[SceneMap, Played], None]
"""Called by the map's writer after each mapped keyframe (`played.mapped[-1]`): may tell the map something."""


def no_cue(scene_map: SceneMap, played: Played) -> None:
    """Nobody says anything."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything but the phones."""

    scene: SceneConfig = field(default_factory=SceneConfig)
    engine: str = "classical"
    engine_options: dict[str, Any] = field(default_factory=dict)
    with_map: bool = True
    """False = the tracker alone: keyframes get no depth and nothing is fused."""
    cue: Cue = no_cue
    joining: Callable[[Phone], Joining] = lambda phone: Joining(world=str(phone.name) if phone.posed else None)

    def looking_for(self, marker: MarkerConfig) -> Options:
        """The same with other printed markers."""
        inner = self.scene.map.map.model_copy(update={"marker": marker})
        writer = self.scene.map.model_copy(update={"map": inner})
        return replace(self, scene=self.scene.model_copy(update={"map": writer}))
