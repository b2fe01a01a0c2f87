"""Questions about a map and their answers: the JSON of `/v1/scenes/{scene}/path`, `.../nearest` and their like.

What is asked in vain is no error: a question that can be understood is answered with 200, and `found: false` with a
`reason` says that there is nothing to be found. Errors are for questions that make no sense: no such scene (404),
coordinates of another epoch (409), an unknown agent or a point that is none (422).

`tiles` names what an answer rests on as the map's socket does: once a `delta` of such a key comes with a higher `ver`
(or a `remove`), or an `xform`, the answer may be out of date.

`settled: false` says that the map is being rebuilt, after a correction of all of it or a restart: the answer rests in
part on ground of before, which may lie elsewhere by now. It is the best there is; ask again in a second.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_COORDINATE_M = 1e6
MAX_WITHIN_M = 8.0
DEFAULT_WITHIN_M = 1.0
MAX_WALK_M = 100.0
MAX_QUESTIONS = 64
"""In one request."""

Coordinate = Annotated[float, Field(ge=-MAX_COORDINATE_M, le=MAX_COORDINATE_M, allow_inf_nan=False)]
Place = tuple[Coordinate, Coordinate, Coordinate]
AgentName = Annotated[str, Field(min_length=1, max_length=64)]
Within = Annotated[float, Field(gt=0, le=MAX_WITHIN_M, allow_inf_nan=False)]

Reason = Literal[
    "start_off_mesh", "goal_off_mesh", "unreachable", "too_far", "occluded", "unseen", "outside_view", "no_camera",
    "out_of_time",
]  # fmt: skip
"""`start_off_mesh`, `goal_off_mesh`: no walkable ground within `within_m`. `unreachable`: it lies on another island.
`too_far`: the search was cut short, so there may be more. `occluded`: a surface lies between. `unseen`: no camera has
looked there yet. `outside_view`: not in the picture. `no_camera`: it has no pose now. `out_of_time`: the map was busy;
ask again."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class _Walk(_Value):
    agent: AgentName | None = None
    """A profile that `GET /v1/scenes/{scene}` lists; the first one if left out."""
    within_m: Within = DEFAULT_WITHIN_M
    """How far from a given point walkable ground is looked for (up and down at least 2 m)."""


class _Way(_Walk):
    start: Place = Field(alias="from")
    goal: Place = Field(alias="to")


class PathQuestion(_Way):
    """The shortest way over walkable ground."""

    kind: Literal["path"] = "path"


class ReachableQuestion(_Way):
    """Is there any way?"""

    kind: Literal["reachable"] = "reachable"


class ReachQuestion(_Walk):
    """Where can one get from here?"""

    kind: Literal["reach"] = "reach"
    start: Place = Field(alias="from")
    walk_m: Annotated[float, Field(gt=0, le=MAX_WALK_M, allow_inf_nan=False)]
    """How far one walks at most."""


class RaycastQuestion(_Way):
    """How far can one walk straight ahead?"""

    kind: Literal["raycast"] = "raycast"


class NearestQuestion(_Walk):
    """Where can one stand that is nearest to a point?"""

    kind: Literal["nearest"] = "nearest"
    point: Place
    may_be_island: bool = Field(default=True, alias="islands")
    """False passes over table tops and other small ground that no way leads to."""


class VisibleQuestion(_Value):
    """Can a point be seen from another, or by a camera?"""

    kind: Literal["visible"] = "visible"
    point: Place
    eye: Place | None = Field(default=None, alias="from")
    camera: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """A stream: the point must be in its picture, too. Give this or `from`."""

    @model_validator(mode="after")
    def _has_one_eye(self) -> Self:
        if (self.eye is None) == (self.camera is None):
            raise ValueError("say where to look from: `from` or `camera`")
        return self


Question = Annotated[
    PathQuestion | ReachableQuestion | ReachQuestion | RaycastQuestion | NearestQuestion | VisibleQuestion,
    Field(discriminator="kind"),
]


class TileVersion(_Value):
    """A tile as the map's socket names it; `ver` 0: it changed while the answer was found."""

    layer: Literal["nav", "mesh"]
    key: tuple[int | str, ...]
    ver: int


class _Answer(_Value):
    found: bool
    """There is something to go by; `reason` says why not."""
    reason: Reason | None = None
    epoch: int = 0
    """The coordinates' epoch."""
    tile_size_m: float = 0.0
    """Tile [x, z] covers x * tile_size_m to (x + 1) * tile_size_m, and likewise along z."""
    tiles: tuple[TileVersion, ...] = ()
    is_settled: bool = Field(default=True, serialization_alias="settled")
    """False while the map is being rebuilt: see above."""


class PathAnswer(_Answer):
    """A way as a string pulled tight: walk straight from point to point."""

    kind: Literal["path"] = "path"
    agent: str = ""
    points_m: tuple[Place, ...] = Field(default=(), serialization_alias="points")
    length_m: float = 0.0
    is_partial: bool = Field(default=False, serialization_alias="partial")
    """The goal cannot be reached, and `reason` says why: this leads to the nearest place that can be."""


class ReachableAnswer(_Answer):
    kind: Literal["reachable"] = "reachable"
    agent: str = ""
    is_reachable: bool = Field(default=False, serialization_alias="reachable")


class ReachedPolygon(NamedTuple):
    """A polygon that one can get to."""

    tile: int
    """Its place in the answer's `tiles`."""
    polygon: int
    """Row of that tile's `polys`."""
    walk_m: float
    """About how far it is to the edge over which one enters it."""


class ReachAnswer(_Answer):
    """Nearest first; the polygon one stands on is the first."""

    kind: Literal["reach"] = "reach"
    agent: str = ""
    polygons: tuple[ReachedPolygon, ...] = ()
    is_partial: bool = Field(default=False, serialization_alias="partial")
    """There is more within reach than one search explores (`reason` is `too_far`)."""


class RaycastAnswer(_Answer):
    kind: Literal["raycast"] = "raycast"
    agent: str = ""
    end_m: Place | None = Field(default=None, serialization_alias="end")
    """Where the walk stops: at the goal, or at the edge of walkable ground."""
    is_blocked: bool = Field(default=False, serialization_alias="blocked")
    length_m: float = 0.0


class NearestAnswer(_Answer):
    kind: Literal["nearest"] = "nearest"
    agent: str = ""
    point_m: Place | None = Field(default=None, serialization_alias="point")
    distance_m: float | None = None


class VisibleAnswer(_Answer):
    kind: Literal["visible"] = "visible"
    state: Literal["visible", "occluded", "unknown"] = "unknown"
    """`unknown`: what lies between was not seen yet, or there is nowhere to look from (`found` is false then)."""
    hit_m: Place | None = Field(default=None, serialization_alias="hit")
    """The first surface on the way, if it is `occluded`."""


Answer = Annotated[
    PathAnswer | ReachableAnswer | ReachAnswer | RaycastAnswer | NearestAnswer | VisibleAnswer,
    Field(discriminator="kind"),
]


class Batch(_Value):
    """Several questions at once."""

    questions: tuple[Question, ...] = Field(min_length=1, max_length=MAX_QUESTIONS)
    epoch: int | None = None
    """The epoch of the coordinates; 409 if the map has moved on. Left out: the present one."""


class BatchAnswer(_Value):
    """One answer for each question, in order."""

    epoch: int
    answers: tuple[Answer, ...]
