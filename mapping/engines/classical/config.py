"""What can be set about the classical engine."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Sizes and thresholds of the plane-sweep engine; the defaults suit phones walking through rooms on two cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    long_side_px: int = Field(default=160, ge=32, le=1024)
    """Working size; twice as much costs four times the time for a few per cent of pixels."""
    hypotheses: int = Field(default=64, ge=8, le=256)
    max_sources: int = Field(default=4, ge=1, le=16)
    revisit_after: int = Field(default=2, ge=0, le=16)
    """A view gets depth twice: at once, from the views before it, and when this many more have come, from both sides.
    0 = only at once."""
    enough_seen: float = Field(default=0.9, ge=0, le=1)
    """A view of which two earlier views saw at least this share is not looked at again."""
    patch_radius_px: int = Field(default=2, ge=1, le=8)
    near: float = Field(default=0.4, gt=0)
    """Nearest depth in window units where a view has no landmarks to tell."""
    far: float = Field(default=8.0, gt=0)
    """Farthest, likewise."""
    smooth_small: float = Field(default=0.2, ge=0)
    """Price of one hypothesis step between neighbours, in units of ZNCC."""
    smooth_jump: float = Field(default=1.5, ge=0)
    """Price of a larger one."""
    min_score: float = Field(default=0.45, gt=-1, lt=0.95)
    """Poorer matches stay unknown."""
    min_margin: float = Field(default=0.02, gt=0)
    """A winner this little cheaper (relatively) than a rival elsewhere stays unknown."""
    max_speckle: float = Field(default=0.004, ge=0, lt=1)
    """Islands up to this share of the image stay unknown."""
    tolerance: float = Field(default=0.06, gt=0)
    """Relative difference in depth at which two views still agree."""
    threads: int = Field(default=2, ge=1, le=64)
    remembered: int = Field(default=48, ge=0)
    """Depth maps of earlier keyframes kept for checking; without them a window checks itself at twice the cost."""
