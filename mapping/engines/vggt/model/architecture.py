"""The sizes of a VGGT network."""

from __future__ import annotations

from dataclasses import dataclass

PATCH_PX = 14
POSITION_GRID = 37
"""The learned position embedding is a square of this many patches, a 518 px image."""
REGISTERS = 4
SPECIAL_TOKENS = 1 + REGISTERS
"""Before a view's patch tokens stand its camera token and its registers."""
ENCODING = 9
"""Translation (3), quaternion xyzw (4), vertical and horizontal field of view (2)."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """Sizes of the point tracker."""

    width: int
    """Of a feature vector that is followed."""
    levels: int
    radius: int
    """Correlation looks at (2 * radius + 1)^2 places on each of `levels` scales."""
    hidden: int
    depth: int
    heads: int = 8
    iterations: int = 4


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of the whole network; by default those of VGGT-1B."""

    width: int = 1024
    heads: int = 16
    encoder_depth: int = 24
    """Blocks of the patch encoder (DINOv2), which sees one image at a time."""
    depth: int = 24
    """Pairs of a block within each view and a block across all views."""
    feature_layers: tuple[int, int, int, int] = (4, 11, 17, 23)
    """The pairs whose output the heads read; the last one is the last pair."""
    camera_heads: int = 16
    camera_depth: int = 4
    camera_iterations: int = 4
    dense_width: int = 256
    dense_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    tracking: Tracking = Tracking(width=128, levels=7, radius=4, hidden=384, depth=6)

    @property
    def feature_width(self) -> int:
        """A feature is what the block within the view and the block across views say, side by side."""
        return 2 * self.width


VGGT_1B = Architecture()
TINY = Architecture(
    width=384,
    heads=6,
    encoder_depth=12,
    depth=4,
    feature_layers=(0, 1, 2, 3),
    camera_heads=8,
    dense_width=32,
    dense_channels=(32, 64, 96, 96),
    tracking=Tracking(width=32, levels=4, radius=3, hidden=64, depth=3),
)
"""Small enough for tests; nobody trained it."""
