"""One question about a map, answered: from the JSON of the API to the NavMesh and back. Called by worker threads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from navmesh.query import Query
from navmesh.recast import Point
from navmesh.tiles import TileKey
from server.api.queries_contract import (
    Answer,
    NearestAnswer,
    NearestQuestion,
    PathAnswer,
    PathQuestion,
    RaycastAnswer,
    RaycastQuestion,
    ReachableAnswer,
    ReachableQuestion,
    ReachAnswer,
    ReachedPolygon,
    ReachQuestion,
    Reason,
)
from server.bus.channel import EntryKey

MIN_SEARCH_HEIGHT_M = 2.0
"""Points come from clicks and hands: at most a storey up or down."""

Walk = PathQuestion | ReachableQuestion | ReachQuestion | RaycastQuestion | NearestQuestion


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, and the tiles it rests on, by the names they are published under."""

    answer: Answer
    tiles: tuple[EntryKey, ...] = ()


def answer(question: Walk, query: Query, tile_size_m: float) -> Found:
    """Answer from the NavMesh of the question's agent, or of the first one."""
    agent = question.agent or query.agents[0]
    match question:
        case PathQuestion():
            return _path(question, query, agent)
        case ReachableQuestion():
            return _reachable(question, query, agent, tile_size_m)
        case ReachQuestion():
            return _reach(question, query, agent)
        case RaycastQuestion():
            return _raycast(question, query, agent)
        case NearestQuestion():
            return _nearest(question, query, agent, tile_size_m)


def unanswered(question: Walk) -> Found:
    """What is said when there is no time left for it."""
    kinds = {
        PathQuestion: PathAnswer,
        ReachableQuestion: ReachableAnswer,
        ReachQuestion: ReachAnswer,
        RaycastQuestion: RaycastAnswer,
        NearestQuestion: NearestAnswer,
    }
    return Found(kinds[type(question)](found=False, reason="out_of_time", agent=question.agent or ""))


def _path(question: PathQuestion, query: Query, agent: str) -> Found:
    search = _search(question)
    path = query.path(question.start, question.goal, agent, search)
    tiles = _nav(path.revisions, agent)
    if len(path.points_m) and not path.is_partial:
        reason: Reason | None = None
    else:
        reason = _why_not(query, question.start, question.goal, agent, search)
    points = tuple((float(x), float(y), float(z)) for x, y, z in path.points_m)
    found = PathAnswer(
        found=len(points) > 0,
        reason=reason,
        agent=agent,
        points_m=points,
        length_m=path.length_m if points else 0.0,
        is_partial=path.is_partial and len(points) > 0,
    )
    return Found(found, tiles)


def _why_not(query: Query, start: Point, goal: Point, agent: str, search: Point) -> Reason:
    if query.nearest(start, agent, search) is None:
        return "start_off_mesh"
    if query.nearest(goal, agent, search) is None:
        return "goal_off_mesh"
    return "too_far" if query.reachable(start, goal, agent, search) else "unreachable"


def _reachable(question: ReachableQuestion, query: Query, agent: str, tile_size_m: float) -> Found:
    search = _search(question)
    ends = question.start, question.goal
    is_reachable = query.reachable(*ends, agent, search)
    reason = None if is_reachable else _why_not(query, *ends, agent, search)
    stands = reason in (None, "unreachable", "too_far")
    found = ReachableAnswer(found=stands, reason=reason, agent=agent, is_reachable=is_reachable)
    return Found(found, _nav({tile_of(end, tile_size_m) for end in ends}, agent))


def _reach(question: ReachQuestion, query: Query, agent: str) -> Found:
    reach = query.reach(question.start, question.walk_m, agent, _search(question))
    if reach is None:
        return Found(ReachAnswer(found=False, reason="start_off_mesh", agent=agent))
    place = {tile: index for index, tile in enumerate(reach.revisions)}
    rows = zip(reach.tiles.tolist(), reach.polygons.tolist(), reach.walk_m.tolist(), strict=True)
    polygons = tuple(ReachedPolygon(place[TileKey(*tile)], polygon, round(walk_m, 3)) for tile, polygon, walk_m in rows)
    reason: Reason | None = "too_far" if reach.is_cut else None
    found = ReachAnswer(found=True, reason=reason, agent=agent, polygons=polygons, is_partial=reach.is_cut)
    return Found(found, _nav(reach.revisions, agent))


def _raycast(question: RaycastQuestion, query: Query, agent: str) -> Found:
    search = _search(question)
    ray = query.raycast(question.start, question.goal, agent, search)
    if ray is None:
        return Found(RaycastAnswer(found=False, reason="start_off_mesh", agent=agent))
    length_m = float(np.linalg.norm(np.subtract(ray.end_m, ray.start_m)))
    found = RaycastAnswer(found=True, agent=agent, end_m=ray.end_m, is_blocked=ray.is_blocked, length_m=length_m)
    return Found(found, _nav(ray.revisions, agent))


def _nearest(question: NearestQuestion, query: Query, agent: str, tile_size_m: float) -> Found:
    point = query.nearest(question.point, agent, _search(question), islands=question.may_be_island)
    if point is None:
        return Found(NearestAnswer(found=False, reason="goal_off_mesh", agent=agent))
    distance_m = float(np.linalg.norm(np.subtract(point, question.point)))
    found = NearestAnswer(found=True, agent=agent, point_m=point, distance_m=distance_m)
    return Found(found, _nav([tile_of(point, tile_size_m)], agent))


def tile_of(point: Point, tile_size_m: float) -> TileKey:
    """The tile that a world point lies in."""
    return TileKey(int(np.floor(point[0] / tile_size_m)), int(np.floor(point[2] / tile_size_m)))


def _search(question: Walk) -> Point:
    within_m = question.within_m
    return (within_m, max(within_m, MIN_SEARCH_HEIGHT_M), within_m)


def _nav(tiles: Iterable[TileKey], agent: str) -> tuple[EntryKey, ...]:
    return tuple(("nav", (tile.x, tile.z, agent)) for tile in tiles)
