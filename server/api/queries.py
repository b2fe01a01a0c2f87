"""Queries over the API: ways, rays and sight lines on the live map, one by one or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Depends, Query, Request
from pydantic import BaseModel, ValidationError

from server.api.contract import Scenes, Unprocessable
from server.api.guard import Guard
from server.api.queries_contract import (
    DEFAULT_WITHIN_M,
    MAX_WALK_M,
    MAX_WITHIN_M,
    Answer,
    Batch,
    BatchAnswer,
    NearestAnswer,
    NearestQuestion,
    PathAnswer,
    PathQuestion,
    Question,
    RaycastAnswer,
    RaycastQuestion,
    ReachableAnswer,
    ReachableQuestion,
    ReachAnswer,
    ReachQuestion,
    VisibleAnswer,
    VisibleQuestion,
)
from server.api.rest import PROBLEM, SceneName
from server.auth import Denied, Role
from server.protocol import Layer
from streams.frame import SceneId

Q = TypeVar("Q", bound=BaseModel)

Text = Annotated[str, Query(max_length=200)]
From = Annotated[str, Query(alias="from", max_length=200, description="x,y,z in world metres", examples=["0.5,0,1.2"])]
To = Annotated[str, Query(alias="to", max_length=200, description="x,y,z in world metres", examples=["4,0,-2.5"])]
PointText = Annotated[str, Query(max_length=200, description="x,y,z in world metres", examples=["4,1.2,-2.5"])]
AgentName = Annotated[str | None, Query(max_length=64, description="a profile of the scene; its first one if left out")]
Walk = Annotated[float, Query(gt=0, le=MAX_WALK_M, description="how far one walks at most, m")]
Within = Annotated[float, Query(gt=0, le=MAX_WITHIN_M, description="how far from a point ground is looked for, m")]
IslandsToo = Annotated[
    bool, Query(description="whether it may be a table top or other small ground (under 4 m²) that leads nowhere")
]
Epoch = Annotated[int | None, Query(description="the coordinates' epoch; 409 if the map has moved on")]


@dataclass(frozen=True, slots=True)
class Asked:
    """What every question about walking may say: who walks, how exact its points are, and of which epoch."""

    agent: str | None
    within_m: float
    epoch: int | None


def _only_known(request: Request) -> None:
    """Refuse a parameter that no question has: a typo would be answered for somebody else."""
    if unknown := request.query_params.keys() - PARAMETERS:
        raise Unprocessable(f"there is no parameter {min(unknown)[:64]!r}; there are {', '.join(sorted(PARAMETERS))}")


PARAMETERS = frozenset({"from", "to", "point", "agent", "within_m", "walk_m", "islands", "camera", "epoch"})


def _asked(agent: AgentName = None, within_m: Within = DEFAULT_WITHIN_M, epoch: Epoch = None) -> Asked:
    return Asked(agent, within_m, epoch)


Walker = Annotated[Asked, Depends(_asked)]


def router(scenes: Scenes, guard: Guard) -> APIRouter:
    """Routes that ask a map; each question counts against the caller's rate of queries."""
    api = APIRouter(
        prefix="/v1/scenes/{scene}", tags=["queries"], responses=PROBLEM, dependencies=[Depends(_only_known)]
    )

    async def ask(request: Request, scene: str, questions: Sequence[Question], epoch: int | None) -> BatchAnswer:
        grant = guard.require(request, Role.SUBSCRIBE, scene)
        for layer in {_layer(question) for question in questions} - grant.layers:
            raise Denied(403, f"this rests on the layer {layer!r}, which the token does not grant")
        guard.charge(request, grant, sum(map(_cost, questions)))
        return await scenes.ask(SceneId(scene), questions, epoch)

    async def ask_one(request: Request, scene: str, question: Question, epoch: int | None) -> Answer:
        return (await ask(request, scene, [question], epoch)).answers[0]

    @api.get("/path", response_model=PathAnswer, responses=_example(PATH_EXAMPLE))
    async def find_path(request: Request, scene: SceneName, start: From, goal: To, walker: Walker) -> Answer:
        """The shortest way over walkable ground.

        Where the goal cannot be reached: the way to the nearest place within `within_m` of it that can (`partial`), or
        `found: false`. What was not found may be after a change of any tile; `tiles` are those of a way that was.
        """
        question = _read(PathQuestion, start=start, goal=goal, agent=walker.agent, within_m=walker.within_m)
        return await ask_one(request, scene, question, walker.epoch)

    @api.get("/reachable", response_model=ReachableAnswer)
    async def find_reachable(request: Request, scene: SceneName, start: From, goal: To, walker: Walker) -> Answer:
        """Whether there is any way; cheaper than the way itself."""
        question = _read(ReachableQuestion, start=start, goal=goal, agent=walker.agent, within_m=walker.within_m)
        return await ask_one(request, scene, question, walker.epoch)

    @api.get("/reach", response_model=ReachAnswer)
    async def find_reach(request: Request, scene: SceneName, start: From, walk_m: Walk, walker: Walker) -> Answer:
        """Every polygon of the NavMesh that a walk of that length leads to."""
        question = _read(ReachQuestion, start=start, walk_m=walk_m, agent=walker.agent, within_m=walker.within_m)
        return await ask_one(request, scene, question, walker.epoch)

    @api.get("/raycast", response_model=RaycastAnswer)
    async def cast_ray(request: Request, scene: SceneName, start: From, goal: To, walker: Walker) -> Answer:
        """How far one can walk straight ahead before walkable ground ends."""
        question = _read(RaycastQuestion, start=start, goal=goal, agent=walker.agent, within_m=walker.within_m)
        return await ask_one(request, scene, question, walker.epoch)

    @api.get("/nearest", response_model=NearestAnswer)
    async def find_nearest(
        request: Request, scene: SceneName, point: PointText, walker: Walker, islands: IslandsToo = True
    ) -> Answer:
        """Where one can stand that is nearest to a point."""
        question = _read(
            NearestQuestion, point=point, agent=walker.agent, within_m=walker.within_m, may_be_island=islands
        )
        return await ask_one(request, scene, question, walker.epoch)

    @api.get("/visible", response_model=VisibleAnswer)
    async def see(
        request: Request,
        scene: SceneName,
        point: PointText,
        eye: Annotated[str | None, Query(alias="from", max_length=200, description="x,y,z to look from")] = None,
        camera: Annotated[str | None, Query(max_length=256, description="a stream to look through instead")] = None,
        epoch: Epoch = None,
    ) -> Answer:
        """Whether a point can be seen from another or by a camera: virtual things that hide behind real ones."""
        question = _read(VisibleQuestion, point=point, eye=eye, camera=camera)
        return await ask_one(request, scene, question, epoch)

    @api.post("/queries")
    async def ask_many(
        request: Request, scene: SceneName, batch: Annotated[Batch, Body(openapi_examples=BATCH_EXAMPLE)]
    ) -> BatchAnswer:
        """Up to 64 questions on one state of the map; answers come in order."""
        return await ask(request, scene, batch.questions, batch.epoch)

    return api


SIGHT_COST = 4
"""A line of sight costs as much as so many walks, and the map pauses for it."""
REACH_COST = 4
"""A search in every direction."""


def _cost(question: Question) -> int:
    match question:
        case VisibleQuestion():
            return SIGHT_COST
        case ReachQuestion():
            return REACH_COST
    return 1


def _layer(question: Question) -> Layer:
    return "mesh" if isinstance(question, VisibleQuestion) else "nav"


def _read(kind: type[Q], **fields: Any) -> Q:
    """A question out of a query string.

    Raises:
        Unprocessable: a point is not three finite numbers, or the fields do not go together.
    """
    for name in ("start", "goal", "point", "eye"):
        if (text := fields.get(name)) is not None:
            fields[name] = _numbers(NAMES[name], text)
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(NAMES.get(str(part), str(part)) for part in first["loc"])
        raise Unprocessable(f"{where}: {first['msg']}" if where else str(first["msg"])) from None


NAMES = {"start": "from", "goal": "to", "eye": "from", "point": "point"}


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise Unprocessable(f"{name} must be x,y,z in metres, such as 1.5,0,-2")
    return numbers


def _example(value: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": value}}}}


PATH_EXAMPLE: dict[str, Any] = {
    "found": True,
    "reason": None,
    "epoch": 2,
    "tile_size_m": 3.2,
    "tiles": [
        {"layer": "nav", "key": [0, 0, "human"], "ver": 7},
        {"layer": "nav", "key": [1, 0, "human"], "ver": 3},
    ],
    "kind": "path",
    "agent": "human",
    "points": [[0.5, 0.02, 1.2], [3.3, 0.03, 1.4], [4.0, 0.02, 0.5]],
    "length_m": 3.95,
    "partial": False,
}
BATCH_EXAMPLE: dict[str, Any] = {
    "two": {
        "summary": "A way, and whether its end is in the picture of a phone",
        "value": {
            "epoch": 2,
            "questions": [
                {"kind": "path", "from": [0.5, 0, 1.2], "to": [4, 0, 0.5], "agent": "human"},
                {"kind": "visible", "point": [4, 1.0, 0.5], "camera": "phone-3Jm9wq"},
            ],
        },
    }
}
