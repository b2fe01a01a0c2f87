"""What is said about assets: frozen values, checked where they come in; also the JSON of the REST interface.

Positions and lengths in metres of the map (right-handed, +Y up), quaternions wxyz, times Unix ns; what goes out as JSON
to browsers has times in Unix ms, since those fit a double.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

AssetType = Literal["prop", "character", "environment"]
Role = Literal[
    "lod0", "lod1", "lod2", "collision", "preview", "thumbnail", "turntable", "texture", "splat", "source", "other"
]
MAX_JSON_BYTES = 16 << 10
MAX_COUNT = 2**53
"""Whole numbers beyond are not the same in every language."""
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""Of assets, slots and scenes: also a part of URLs."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Format = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,15}$")]
Extension = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,64}$")]
Tag = Annotated[str, Field(min_length=1, max_length=64)]
Coordinate = Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)]
Point = tuple[Coordinate, Coordinate, Coordinate]


def is_name(text: str) -> bool:
    """Whether an asset or slot can be called so."""
    return re.fullmatch(NAME_PATTERN[1:-1], text) is not None


def _small(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no plain JSON: {error}") from error
    if len(text) > MAX_JSON_BYTES:
        raise ValueError(f"it has {len(text)} bytes as JSON; at most {MAX_JSON_BYTES} are kept")
    return value


Facts = Annotated[dict[str, Any], AfterValidator(_small)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Placement(_Value):
    """Where something stands in a map: `map = scale * R(quat_wxyz) * asset + position_m`, in coordinates of `epoch`."""

    scene: Name
    epoch: int = Field(ge=0, le=MAX_COUNT)
    position_m: Point
    quat_wxyz: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] = (1.0, 0.0, 0.0, 0.0)
    scale: float = Field(default=1.0, gt=0, le=1e6, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_rotation(self) -> Placement:
        if abs(sum(v * v for v in self.quat_wxyz) - 1) > 1e-3:
            raise ValueError("quat_wxyz must have length 1")
        return self


class AssetFile(_Value):
    """One file of a version; the bytes are the blob `sha256`."""

    role: Role
    format: Format
    """`glb`, `ply`, `png`, ..."""
    encoding: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,16}$")] = "identity"
    sha256: Sha256
    size: int = Field(ge=0, le=MAX_COUNT)
    """Bytes."""
    mime: Annotated[str, Field(pattern=r"^[a-z0-9.+-]{1,64}/[A-Za-z0-9.+-]{1,64}$")] = "application/octet-stream"
    extensions: tuple[Extension, ...] = Field(default=(), max_length=16)
    """What a reader has to know, as `EXT_meshopt_compression`."""
    triangles: int | None = Field(default=None, ge=0, le=MAX_COUNT)


class NewVersion(_Value):
    """What is published: files whose blobs are here already, and what is known about them."""

    files: tuple[AssetFile, ...] = Field(min_length=1, max_length=32)
    bbox_m: tuple[Point, Point] | None = None
    """Lowest and highest corner, in the asset's own frame."""
    pivot_m: Point = (0.0, 0.0, 0.0)
    placement: Placement | None = None
    scale_confidence: float | None = Field(default=None, ge=0, le=1)
    quality: Facts = {}
    provenance: Facts = {}
    """Job, provider, revision, licence, seed, input hashes."""

    @model_validator(mode="after")
    def _is_ordered(self) -> NewVersion:
        if self.bbox_m is not None and any(low > high for low, high in zip(*self.bbox_m, strict=True)):
            raise ValueError("bbox_m must be the lowest corner, then the highest")
        return self


class Version(NewVersion):
    """One immutable version of an asset."""

    asset: Name
    version: int
    created_ns: int


class NewAsset(_Value):
    """An asset to be made, or what is to be changed about one."""

    name: str = Field(min_length=1, max_length=128)
    type: AssetType = "prop"
    tags: tuple[Tag, ...] = Field(default=(), max_length=32)
    scene: Name | None = None
    """Who may see it: those let into this scene; None = everybody who may see anything."""


class Tombstone(_Value):
    """Why an asset is gone."""

    reason: str = Field(default="deleted", max_length=256)
    replacement: Name | None = None
    at_ns: int = 0


class Asset(NewAsset):
    """An asset as it stands."""

    asset: Name
    created_ns: int
    latest: int = 0
    """0: nothing was published yet."""
    alias_of: Name | None = None
    """It was swapped for this one; who asks for it is given that."""
    tombstone: Tombstone | None = None
    placement: Placement | None = None
    usage_count: int = 0
    """Leases: clients that hold a version of it, once per slot."""
    loaded: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """One version of one asset."""

    asset: str
    version: int
