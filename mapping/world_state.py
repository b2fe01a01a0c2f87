"""What is known about a world as a whole: its epoch, its claims and the ways into it; stored beside the voxels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mapping.metric.markers import Config as MarkerConfig
from mapping.transforms import F64, Sim3


@dataclass(frozen=True, slots=True, eq=False)
class WorldState:
    """The frame that all aligned components share, and the ways into it."""

    epoch: int = 0
    scale_source: str = "none"
    scale_sigma: float = float("inf")
    scale_contradicted_by: tuple[str, ...] = ()
    """Sources of cues that cannot be right if this scale is."""
    gravity_source: str = "cameras"
    gravity_sigma_deg: float = 180.0
    world_from_start: F64 | None = None
    """(4, 4) of the first phone's first camera: where those who start together start."""
    markers: dict[int, Sim3] = field(default_factory=dict)
    """world_from_marker of every marker whose place is known; its scale is 1 in a metric world."""
    declared: MarkerConfig | None = None
    """What somebody said the printed markers are; None = as the settings say."""
    named_worlds: dict[str, Sim3] = field(default_factory=dict)
    """world_from_named of every world that posed streams speak of."""

    def moved(self, new_from_old: Sim3) -> WorldState:
        """The same knowledge in the next epoch's world."""
        start = self.world_from_start
        return replace(
            self,
            epoch=self.epoch + 1,
            world_from_start=None if start is None else new_from_old.apply_pose(start),
            markers={marker: new_from_old @ place for marker, place in self.markers.items()},
            named_worlds={name: new_from_old @ place for name, place in self.named_worlds.items()},
        )
