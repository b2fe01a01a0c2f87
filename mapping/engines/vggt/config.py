"""What can be set about the VGGT engine."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Which weights, where they run, and how much of what the network says is believed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = "VGGT-1B"
    """`VGGT-1B` or `VGGT-1B-Commercial`, a hub name (`org/name`), a local file or folder, or `seeded`: meaningless
    weights that need no download, for tests and timing."""
    licence: str = Field(default="", max_length=200)
    """Of weights in local files or of any other hub name, as you state it: it goes into maps made with them. Empty =
    unknown."""
    architecture: Literal["1b", "tiny"] = "1b"
    device: str = "auto"
    """`auto` is the GPU that its worker is for (`workers.devices`), else the first that this process sees, else the
    CPU; anything else is a name that PyTorch knows. A GPU that is named and cannot be used is an error."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 on a GPU and float32, exact to the published network, on the CPU."""
    threads: int = Field(default=0, ge=0, le=256)
    """On the CPU; 0 = as the process is told (`workers.process.threads`)."""
    long_side_px: int = Field(default=518, ge=56, le=1036, multiple_of=14)
    """The whole image is brought to this size; the network was trained at 518."""
    max_views: int = Field(default=32, ge=1, le=1000)
    """Longer windows are refused: memory grows with them."""
    views_at_once: int = Field(default=8, ge=1, le=64)
    """How many images go through the encoder or a dense head together."""
    cached_mib: int | None = Field(default=None, ge=0)
    """Patch tokens of earlier keyframes kept for later windows: 2 MiB each at 518 x 392 in bfloat16. None = 512 on the
    CPU; on a GPU 4096, but no more than an eighth of its memory."""
    replayed: int = Field(default=64, ge=0)
    """On a GPU: so many shapes of windows are recorded as CUDA graphs and replayed; 0 = none."""
    is_fused: bool = True
    """On a GPU: queries and keys are normalised and turned by one kernel, if PyTorch can compile it."""
    warm_views: int = Field(default=17, ge=1)
    """On a GPU: windows of up to so many views are recorded at start, and `together` of the longest; others when they
    come again."""
    warm_sizes: tuple[tuple[int, int], ...] = ((480, 640), (640, 480))
    """Of pictures (height, width) for which they are."""
    thin_above: int | None = Field(default=None, ge=1)
    """In windows of more views than this, views look at fewer tokens of each other: faster, not exact. None = never."""
    thin_every: int = Field(default=4, ge=2, le=16)
    """Then every so manieth patch answers."""
    checks: int = Field(default=3, ge=0)
    """So many views before the newest get depth, too, and are asked whether they see what it claims to see."""
    together: int = Field(default=4, ge=1)
    """On a GPU: windows of one shape, of several phones, that it offers to take at once."""
    intrinsics: Literal["given", "predicted"] = "given"
    """Whether a view's own intrinsics, where it brings some, count more than what the network sees."""
    error_tolerance: float = Field(default=0.05, gt=0)
    """Relative error of depth at which confidence is one half."""
    min_confidence: float = Field(default=0.1, ge=0, le=1)
    """Less sure pixels stay unknown."""
