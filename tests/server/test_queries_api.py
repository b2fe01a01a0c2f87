"""The routes that ask a map: how they read questions, what they refuse, and what a caller may ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.api.guard import MOST_COST
from server.api.queries import SIGHT_COST
from server.api.queries_contract import MAX_QUESTIONS, PathQuestion, ReachQuestion, VisibleQuestion
from server.auth import Grant, Role
from tests.server.fakes import served
from tests.server.test_rest import FAR, assert_problem

MAIN = "/v1/scenes/main"


async def test_each_kind_of_question_has_its_route(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        way = {"from": "0,0,0", "to": "1,0,2.5", "agent": "human", "within_m": 0.5}
        path = (await server.http.get(f"{MAIN}/path", params=way)).json()
        assert (path["found"], path["points"], path["partial"]) == (True, [[0, 0, 0], [1, 0, 2.5]], False)
        assert server.scenes.asked[-1] == (
            PathQuestion(start=(0, 0, 0), goal=(1, 0, 2.5), agent="human", within_m=0.5),
        )
        assert (await server.http.get(f"{MAIN}/raycast", params=way)).json()["blocked"] is True
        assert (await server.http.get(f"{MAIN}/reachable", params=way)).json()["reachable"] is False
        nearest = (await server.http.get(f"{MAIN}/nearest", params={"point": "0,20,0"})).json()
        assert (nearest["found"], nearest["point"], nearest["reason"]) == (False, None, "goal_off_mesh")
        far = {"from": "0,0,0", "walk_m": 5, "within_m": 0.5}
        reach = (await server.http.get(f"{MAIN}/reach", params=far)).json()
        assert (reach["polygons"], reach["partial"], reach["settled"]) == ([[0, 3, 0.0], [0, 1, 1.5]], False, True)
        assert server.scenes.asked[-1] == (ReachQuestion(start=(0, 0, 0), walk_m=5, within_m=0.5),)
        seen = await server.http.get(f"{MAIN}/visible", params={"point": "0,1,0", "camera": "phone-1"})
        assert seen.json()["state"] == "visible"
        assert server.scenes.asked[-1] == (VisibleQuestion(point=(0, 1, 0), camera="phone-1"),)


async def test_a_batch_is_answered_in_order(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        questions = [
            {"kind": "visible", "point": [0, 1, 0], "from": [1, 1, 1]},
            {"kind": "path", "from": [0, 0, 0], "to": [1, 0, 1]},
            {"kind": "nearest", "point": [0, 0, 0], "within_m": 3},
        ]
        answer = (await server.http.post(f"{MAIN}/queries", json={"questions": questions, "epoch": 4})).json()
        assert [one["kind"] for one in answer["answers"]] == ["visible", "path", "nearest"]
        assert answer["epoch"] == 4


@pytest.mark.parametrize("bad", ["", "1,2", "nan,0,0", "inf,0,0", "1e99,0,0", "a,b,c", "1,2,3,4", "," * 10_000])
async def test_points_that_are_none_are_refused(tmp_path: Path, bad: str) -> None:
    async with served(tmp_path) as server:
        assert_problem(await server.http.get(f"{MAIN}/path", params={"from": bad, "to": "0,0,0"}), 422)
        assert_problem(await server.http.get(f"{MAIN}/path", params={"from": "0,0,0", "to": bad}), 422)
        assert server.scenes.asked == []


async def test_questions_that_make_no_sense_are_refused_with_what_to_do(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        assert_problem(await server.http.get(f"{MAIN}/path"), 422)
        neither = assert_problem(await server.http.get(f"{MAIN}/visible", params={"point": "0,0,0"}), 422)
        assert "camera" in neither["detail"]
        both = {"point": "0,0,0", "from": "1,1,1", "camera": "phone-1"}
        assert_problem(await server.http.get(f"{MAIN}/visible", params=both), 422)
        far = {"point": "0,0,0", "within_m": 1e6}
        assert_problem(await server.http.get(f"{MAIN}/nearest", params=far), 422)
        assert_problem(await server.http.get(f"{MAIN}/reach", params={"from": "0,0,0"}), 422)
        assert_problem(await server.http.get(f"{MAIN}/reach", params={"from": "0,0,0", "walk_m": 1e4}), 422)
        one = {"kind": "nearest", "point": [0, 0, 0]}
        for bad in ([], [one] * (MAX_QUESTIONS + 1), [{"kind": "magic"}], [one | {"point": [0, 0]}], [one | {"x": 1}]):
            assert_problem(await server.http.post(f"{MAIN}/queries", json={"questions": bad}), 422)
        assert_problem(await server.http.post(f"{MAIN}/queries", content=b'{"questions": [{"kind"'), 422)
        assert_problem(await server.http.get("/v1/scenes/none/nearest", params={"point": "0,0,0"}), 404)
        assert server.scenes.asked == []


async def test_a_token_may_ask_about_its_own_scene_and_layers(tmp_path: Path) -> None:
    async with served(tmp_path) as server:

        def headers(grant: Grant) -> dict[str, str]:
            return {"Authorization": f"Bearer {server.identity.tokens.issue(grant, 60, FAR)}"}

        nearest, seen = f"{MAIN}/nearest", f"{MAIN}/visible"
        point, line = {"point": "0,0,0"}, {"point": "0,0,0", "from": "1,1,1"}
        walker = headers(Grant("main", Role.SUBSCRIBE, frozenset({"nav"})))
        assert (await server.http.get(nearest, params=point, headers=walker)).status_code == 200
        assert "mesh" in assert_problem(await server.http.get(seen, params=line, headers=walker), 403)["detail"]
        other = headers(Grant("other", Role.ADMIN))
        assert_problem(await server.http.get(nearest, params=point, headers=other), 403)
        assert_problem(await server.http.post(f"{MAIN}/queries", json={"questions": [line]}, headers=other), 422)


async def test_every_question_of_a_batch_counts_against_the_rate(tmp_path: Path) -> None:
    async with served(tmp_path, rate={"queries_per_s": 0.001}) as server:
        one = {"kind": "nearest", "point": [0, 0, 0]}
        seen = {"kind": "visible", "point": [0, 0, 0], "from": [1, 1, 1]}
        many = {"questions": [one] * 3 + [seen] * (MAX_QUESTIONS - 3)}
        assert (await server.http.post(f"{MAIN}/queries", json=many)).status_code == 200
        refused = await server.http.post(f"{MAIN}/queries", json=many)
        assert_problem(refused, 429)
        assert int(refused.headers["retry-after"]) > 0
        for _ in range(MOST_COST - 3 - SIGHT_COST * (MAX_QUESTIONS - 3)):
            assert (await server.http.get(f"{MAIN}/nearest", params={"point": "0,0,0"})).status_code == 200
        assert_problem(await server.http.get(f"{MAIN}/nearest", params={"point": "0,0,0"}), 429)


async def test_openapi_describes_the_questions_with_examples(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        document = (await server.http.get("/openapi.json")).json()
        paths = {"/path", "/reach", "/nearest", "/raycast", "/visible", "/reachable", "/queries"}
        assert {f"/v1/scenes/{{scene}}{path}" for path in paths} <= set(document["paths"])
        way = document["paths"]["/v1/scenes/{scene}/path"]["get"]
        assert way["responses"]["200"]["content"]["application/json"]["example"]["points"]
        batch = document["paths"]["/v1/scenes/{scene}/queries"]["post"]
        (example,) = batch["requestBody"]["content"]["application/json"]["examples"].values()
        answer = await server.http.post(f"{MAIN}/queries", json=example["value"])
        assert answer.status_code == 200
        assert {"from", "to", "agent", "within_m", "epoch", "scene"} == {p["name"] for p in way["parameters"]}
