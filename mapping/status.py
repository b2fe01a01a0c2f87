"""What a person should know about a map by now."""

from __future__ import annotations

from dataclasses import dataclass

from streams.frame import StreamId


@dataclass(frozen=True, slots=True)
class Status:
    """How far the map can be trusted, in plain values."""

    epoch: int
    scale_source: str
    """`posed`, `marker`, `distance`, `camera_height`, or `none`: then lengths are not metres."""
    scale_sigma: float
    """Relative; inf when the source is `none`."""
    scale_contradicted_by: tuple[str, ...]
    """Sources of cues that were left out because they cannot be right if this scale is."""
    gravity_source: str
    """`posed`, `motion`, `lines`, `planes`, or `cameras` (a guess from how phones are held)."""
    gravity_sigma_deg: float
    aligned: tuple[tuple[StreamId, int], ...]
    """(stream, component) that lie in the world."""
    unaligned: tuple[tuple[StreamId, int], ...]
    """(stream, component) that do not yet, and of which nothing is fused."""
    num_keyframes: int
    num_pending: int
    """Keyframes that the next calls of `fuse` will bring in."""
    is_rebuilding: bool
    """A new epoch has begun and the volume does not hold all of the map yet."""
    num_blocks: int
    is_full: bool
    """The volume has no room for new blocks."""
