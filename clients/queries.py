"""Questions about a live map: ways, rays and lines of sight, alone or up to 64 at once.

    async with connect("https://localhost:8443", ca="ca.pem") as client:
        ask = client.queries("main")
        path = await ask.path((0.5, 0, 1.2), (4, 0, -2.5))
        print(path.length_m if path.found else path.reason)

What is asked in vain is no error: `found` is False then and `reason` says why. An answer names the tiles it rests on as
updates do: once a `Put` of such a key has a higher `version`, or the epoch is another, ask again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlencode

import msgspec

from clients.http import Http, HttpError
from server.protocol import Layer

Point = tuple[float, float, float]
MAX_QUESTIONS = 64


class TileVersion(msgspec.Struct, frozen=True):
    """`[x, z, agent]` of a nav tile, `[x, z]` of a mesh tile; version 0: it changed while the answer was found."""

    layer: Layer
    key: tuple[int | str, ...]
    version: int = msgspec.field(name="ver")


class _Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Unknown fields are ignored: a newer server may add some."""

    found: bool
    reason: str | None
    """`start_off_mesh`, `goal_off_mesh`, `unreachable`, `occluded`, `unseen`, ... or None."""
    epoch: int
    """Of the coordinates."""
    tile_size_m: float
    tiles: tuple[TileVersion, ...]
    is_settled: bool = msgspec.field(default=True, name="settled")
    """False while the map is being rebuilt after a correction: ask again in a second."""


class Path(_Answer, frozen=True, tag="path"):
    """Walk straight from one point to the next."""

    agent: str
    points_m: tuple[Point, ...] = msgspec.field(name="points")
    length_m: float
    is_partial: bool = msgspec.field(name="partial")
    """It ends short of the goal, as near as one can get."""


class Reachable(_Answer, frozen=True, tag="reachable"):
    agent: str
    is_reachable: bool = msgspec.field(name="reachable")


class ReachedPolygon(msgspec.Struct, frozen=True, array_like=True):
    """`polygon` is a row of the `polys` of the tile at place `tile` of the answer's `tiles`."""

    tile: int
    polygon: int
    walk_m: float
    """About how far it is to the edge over which one enters it."""


class Reach(_Answer, frozen=True, tag="reach"):
    """Where one can get; nearest first, the polygon one stands on is the first."""

    agent: str
    polygons: tuple[ReachedPolygon, ...]
    is_partial: bool = msgspec.field(name="partial")
    """There is more within reach than one search explores."""


class Ray(_Answer, frozen=True, tag="raycast"):
    """How far one can walk straight ahead."""

    agent: str
    end_m: Point | None = msgspec.field(name="end")
    is_blocked: bool = msgspec.field(name="blocked")
    length_m: float


class Nearest(_Answer, frozen=True, tag="nearest"):
    """Where one can stand."""

    agent: str
    point_m: Point | None = msgspec.field(name="point")
    distance_m: float | None


class Visible(_Answer, frozen=True, tag="visible"):
    state: Literal["visible", "occluded", "unknown"]
    hit_m: Point | None = msgspec.field(name="hit")
    """The first surface on the way."""


class Agent(msgspec.Struct, frozen=True):
    """Who can walk on a map."""

    name: str
    radius_m: float
    height_m: float
    max_climb_m: float
    max_slope_deg: float


class _Scene(msgspec.Struct, frozen=True):
    agents: tuple[Agent, ...]


Answer = Path | Reachable | Reach | Ray | Nearest | Visible


class _Batch(msgspec.Struct, frozen=True):
    answers: tuple[Answer, ...]


T = TypeVar("T")


class Walk(TypedDict, total=False):
    """What every question about walking may say besides its points."""

    agent: str | None
    """One of `agents()`; the first if left out."""
    within_m: float
    """How far from a point walkable ground is looked for; 1 if left out."""
    epoch: int | None
    """That of your coordinates: the server refuses (409) once the map has moved on."""


class Queries:
    """Asks one scene; see `Walk` for what may be said besides.

    Every method raises HttpError when the server refuses the question or cannot be reached.
    """

    def __init__(self, http: Http, scene: str) -> None:
        self._http, self._url = http, f"v1/scenes/{quote(scene, safe='')}"

    async def agents(self) -> tuple[Agent, ...]:
        """The profiles that the scene has a NavMesh for."""
        return (await self._fetch("", _Scene)).agents

    async def path(self, start_m: Point, goal_m: Point, **walk: Unpack[Walk]) -> Path:
        """The shortest way over walkable ground, or to the nearest place that can be reached."""
        return await self._get("path", Path, {"from": _text(start_m), "to": _text(goal_m), **walk})

    async def reachable(self, start_m: Point, goal_m: Point, **walk: Unpack[Walk]) -> Reachable:
        """Whether there is any way."""
        return await self._get("reachable", Reachable, {"from": _text(start_m), "to": _text(goal_m), **walk})

    async def reach(self, start_m: Point, walk_m: float, **walk: Unpack[Walk]) -> Reach:
        """Every polygon of the NavMesh that a walk of at most `walk_m` leads to."""
        return await self._get("reach", Reach, {"from": _text(start_m), "walk_m": walk_m, **walk})

    async def raycast(self, start_m: Point, goal_m: Point, **walk: Unpack[Walk]) -> Ray:
        """How far one can walk straight ahead."""
        return await self._get("raycast", Ray, {"from": _text(start_m), "to": _text(goal_m), **walk})

    async def nearest(self, point_m: Point, *, islands: bool = True, **walk: Unpack[Walk]) -> Nearest:
        """Where one can stand that is nearest to a point; `islands` False passes over table tops and their like."""
        only = {} if islands else {"islands": "false"}
        return await self._get("nearest", Nearest, {"point": _text(point_m), **only, **walk})

    async def visible(
        self, point_m: Point, *, eye_m: Point | None = None, camera: str | None = None, epoch: int | None = None
    ) -> Visible:
        """Whether a point can be seen from a place, or by a stream's camera: give one of them."""
        eye = None if eye_m is None else _text(eye_m)
        fields = {"point": _text(point_m), "from": eye, "camera": camera, "epoch": epoch}
        return await self._get("visible", Visible, fields)

    async def ask(self, questions: Sequence[dict[str, Any]], *, epoch: int | None = None) -> tuple[Answer, ...]:
        """Several questions on one state of the map, in the words of the HTTP interface; answers come in order.

        `{"kind": "path", "from": (0, 0, 0), "to": (1, 0, 2), "agent": "human"}`
        """
        body = {"questions": list(questions)} | ({} if epoch is None else {"epoch": epoch})
        return (await self._fetch("/queries", _Batch, msgspec.json.encode(body))).answers

    async def _get(self, kind: str, answer: type[T], fields: dict[str, Any]) -> T:
        known = {name: value for name, value in fields.items() if value is not None}
        return await self._fetch(f"/{kind}?{urlencode(known)}", answer)

    async def _fetch(self, path: str, answer: type[T], body: bytes | None = None) -> T:
        got = await self._http.request("GET" if body is None else "POST", self._url + path, body)
        try:
            return msgspec.json.decode(got.body, type=answer)
        except msgspec.DecodeError as error:
            raise HttpError(f"{self._url} answered what this SDK cannot read: {error}", got.status) from error


def _text(point_m: Point) -> str:
    return ",".join(repr(float(value)) for value in point_m)
