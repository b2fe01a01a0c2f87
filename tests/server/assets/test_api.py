"""REST by a real client over a real port: assets, blobs, slots, and callers who mean no good."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mapping.transforms import Sim3
from server.auth import Grant, Role
from tests.server.assets.live import Live, live
from tests.server.assets.things import thing
from tests.server.test_rest import assert_problem

FAR = 2_000_000_000
GLB = thing("chair")


async def test_assets_are_published_listed_and_resolved(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        made = await server.publish(
            "chair", GLB, about={"type": "prop", "tags": ["wood"]}, file={"triangles": 12}
        )  # it has one
        assert (made.status_code, made.headers["location"]) == (201, "/v1/assets/chair/versions/1")
        await server.publish("guard", thing("guard"), about={"type": "character"})
        listed = (await server.http.get("/assets/list")).json()["assets"]
        line = {"asset_id": "chair", "format": "glb", "asset_type": "prop", "loaded": False, "usage_count": 0}
        assert listed[0] == line
        only = (await server.http.get("/assets/list?asset_type=character")).json()["assets"]
        assert [one["asset_id"] for one in only] == ["guard"]
        assert_problem(await server.http.get("/assets/list?asset_type=spaceship"), 422)

        page = (await server.http.get("/v1/assets?limit=1")).json()
        rest = (await server.http.get(f"/v1/assets?after={page[0]['asset']}")).json()
        assert [one["asset"] for one in (*page, *rest)] == ["chair", "guard"]
        best = (await server.http.get("/v1/assets/chair/resolve?format=glb&max_triangles=100&ext=A,B")).json()
        assert (best["version"], best["file"]["triangles"]) == (1, 1)
        assert (await server.http.get(best["url"])).content == GLB
        assert_problem(await server.http.get("/v1/assets/chair/resolve?max_bytes=5"), 406)
        unnamed = await server.http.post("/v1/assets", json={"name": "Rote Bank"})
        assert unnamed.json()["asset"].startswith("rote_bank-")
        assert_problem(await server.http.get(f"/v1/assets/{unnamed.json()['asset']}/resolve"), 404)


async def test_versions_are_safe_to_repeat_and_the_deleted_are_gone(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        await server.publish("chair", GLB)
        body = (await server.http.get("/v1/assets/chair/versions/1")).json()
        new = {"files": body["files"], "provenance": {"provider": "prims"}}
        key = {"Idempotency-Key": "job-7"}
        for _ in range(3):
            again = await server.http.post("/v1/assets/chair/versions", json=new, headers=key)
            assert (again.status_code, again.json()["version"]) == (201, 2)
        other = await server.http.post("/v1/assets/chair/versions", json={"files": body["files"]}, headers=key)
        assert_problem(other, 409)
        await server.publish("stool", thing("stool"))
        gone = await server.http.delete("/v1/assets/chair?reason=ugly&replacement=stool")
        assert gone.json()["replacement"] == "stool"
        problem = assert_problem(await server.http.get("/v1/assets/chair"), 410)
        assert (problem["reason"], problem["replacement"]) == ("ugly", "stool")
        assert_problem(await server.http.delete("/v1/assets/nothing"), 404)


async def test_blobs_are_verified_ranged_and_cached(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        sha256 = hashlib.sha256(GLB).hexdigest()
        url = f"/v1/blobs/sha256/{sha256}"
        assert_problem(await server.http.put(url, content=GLB + b"!"), 422)
        assert_problem(await server.http.get(url), 404)
        assert (await server.http.put(url, content=GLB)).status_code == 201
        assert (await server.http.put(url, content=GLB)).status_code == 200
        whole = await server.http.get(url)
        assert (whole.content, whole.headers["etag"]) == (GLB, f'"{sha256}"')
        assert whole.headers["content-type"] == "model/gltf-binary"
        assert "immutable" in whole.headers["cache-control"]
        head = await server.http.head(url)
        assert (head.content, head.headers["content-length"]) == (b"", str(len(GLB)))
        part = await server.http.get(url, headers={"Range": "bytes=2-5", "If-Range": f'"{sha256}"'})
        assert (part.status_code, part.content) == (206, GLB[2:6])
        assert part.headers["content-range"] == f"bytes 2-5/{len(GLB)}"
        other = await server.http.get(url, headers={"Range": "bytes=2-5", "If-Range": '"older"'})
        assert (other.status_code, other.content) == (200, GLB)
        assert (await server.http.get(url, headers={"Range": "bytes=-4"})).content == GLB[-4:]
        assert (await server.http.get(url, headers={"If-None-Match": f'"{sha256}"'})).status_code == 304
        behind = await server.http.get(url, headers={"Range": "bytes=9999-"})
        assert_problem(behind, 416)
        assert behind.headers["content-range"] == f"bytes */{len(GLB)}"
        for bad in ("bytes=5-2", "bytes=x", "lines=1-2", "bytes=-", "bytes=" + "0-1," * 50 + "0-1"):
            assert_problem(await server.http.get(url, headers={"Range": bad}), 400)
        for bad in ("0" * 63, "..%2F..%2Fsecret", "A" * 64):
            assert (await server.http.get(f"/v1/blobs/sha256/{bad}")).status_code in (404, 422)
        page = b"<script>alert(1)</script>"
        upload = f"/v1/blobs/sha256/{hashlib.sha256(page).hexdigest()}"
        await server.http.put(upload, content=page)
        assert (await server.http.get(upload)).headers["content-type"] == "application/octet-stream"


async def test_uploads_are_bounded_and_leave_nothing_when_broken_off(tmp_path: Path) -> None:
    config = {"assets": {"max_blob_bytes": 100_000}}
    async with live(tmp_path, **config) as server:
        url = f"/v1/blobs/sha256/{'0' * 64}"

        async def endless() -> Any:
            for _ in range(1000):
                yield bytes(1000)

        assert (await server.http.put(url, content=bytes(100_001))).status_code == 413
        assert (await server.http.put(url, content=endless())).status_code == 413
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"PUT {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf".encode())
        await writer.drain()
        writer.close()
        await reader.read()
        assert (await server.http.post("/v1/assets", content=bytes(70_000))).status_code == 413
        assert (await server.http.get("/healthz")).is_success
        blobs = tmp_path / "assets" / "blobs"
        for _ in range(100):
            if not [path for path in blobs.rglob("*") if path.is_file()]:
                return
            await server.http.get("/healthz")
        pytest.fail("something is left of what was broken off")


async def test_slots_swap_by_revision_and_roll_back(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        await server.publish("old", thing("old"))
        await server.publish("new", thing("new"))
        slot = "/v1/slots/proxy_chair"
        assert_problem(await server.http.get(slot), 404)
        made = await server.http.put(slot, json={"asset": "old", "revision": 0})
        assert (made.json()["rev"], made.json()["current"]) == (1, {"asset": "old", "version": 1})
        assert made.json()["files"][0]["size"] == len(thing("old"))
        same = await server.http.put(slot, json={"asset": "old", "revision": 0})
        assert (same.status_code, same.json()["rev"]) == (200, 1), "the answer was lost, the request is repeated"
        stale = assert_problem(await server.http.put(slot, json={"asset": "new", "revision": 0}), 409)
        assert stale["revision"] == 1
        swapped = await server.http.put(slot, json={"asset": "new"}, headers={"If-Match": made.headers["etag"]})
        assert swapped.json()["current"] == {"asset": "new", "version": 1}
        assert_problem(await server.http.put(slot, json={"asset": "old"}, headers={"If-Match": "W/x"}), 412)
        back = await server.http.post(f"{slot}/rollback", json={"revision": 2})
        assert (back.json()["rev"], back.json()["current"]["asset"]) == (3, "old")
        assert_problem(await server.http.post(f"{slot}/rollback"), 409)
        swaps = (await server.http.post("/v1/assets/hot-swap", json={"old": "old", "new": "new"})).json()
        assert [one["slot"] for one in swaps] == ["proxy_chair"]
        assert len((await server.http.get("/v1/slots")).json()) == 1
        assert (await server.http.delete(slot)).status_code == 204
        assert_problem(await server.http.get(slot), 404)


async def test_programs_without_a_socket_poll_and_hold(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        await server.publish("old", thing("old"))
        await server.publish("new", thing("new"))
        slot = "/v1/slots/place"
        made = await server.http.put(slot, json={"asset": "old", "watch_s": 600})
        known = {"If-None-Match": made.headers["etag"]}
        assert (await server.http.get(slot, headers=known)).status_code == 304
        assert (await server.http.get(f"{slot}?wait=0.05", headers=known)).status_code == 304
        polling = asyncio.create_task(server.http.get(f"{slot}?wait=30", headers=known))
        while not polling.done():
            await server.http.put(slot, json={"asset": "new", "watch_s": 600})
            await asyncio.wait([polling], timeout=0.05)
        assert polling.result().json()["current"]["asset"] == "new"
        held = {"held": [{"slot": "place", "asset": "new", "version": 1}]}
        assert (await server.http.put("/v1/leases/game", json=held)).json()["ttl_s"] == 30
        assert (await server.http.get("/v1/assets/new")).json()["usage_count"] == 1
        await server.http.put("/v1/leases/game", json={"held": []})
        assert (await server.http.get("/v1/assets/new")).json()["loaded"] is False


async def test_assets_move_with_their_map(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        stands = {"scene": "main", "epoch": 0, "position_m": [1, 0, 0]}
        await server.publish("chair", GLB, placement=stands)
        channel = server.scenes.bus.find("main")
        assert channel is not None
        channel.move(Sim3(2.0, np.eye(3), np.array([0.0, 0.0, 5.0])), 1, "loop")
        moved = (await server.http.get("/v1/assets/chair")).json()["placement"]
        assert (moved["epoch"], moved["position_m"], moved["scale"]) == (1, [2.0, 0.0, 5.0], 2.0)
        late = await server.http.put("/v1/assets/chair/placement", json=stands)
        assert late.json() == moved, "measured before the correction, carried along"
        assert_problem(await server.http.put("/v1/assets/chair/placement", json=stands | {"epoch": 7}), 409)


async def test_scenes_keep_their_assets_to_themselves(tmp_path: Path) -> None:
    async with live(tmp_path) as server:

        async def ask(method: str, url: str, grant: Grant | None, body: Any = None) -> httpx.Response:
            headers = {"X-Forwarded-For": "203.0.113.9"}
            if grant is not None:
                headers["Authorization"] = f"Bearer {server.identity.tokens.issue(grant, 60, FAR)}"
            return await server.http.request(method, url, headers=headers, json=body)

        await server.publish("ours", thing("ours"), about={"scene": "main"})
        await server.publish("everybodys", thing("all"))
        await server.http.put("/v1/slots/here", json={"asset": "ours", "scene": "main"})
        looks, makes = Grant("main", Role.SUBSCRIBE), Grant("main", Role.PUBLISH)
        stranger = Grant("other", Role.ADMIN)
        assert (await ask("GET", "/v1/assets", None)).status_code == 401
        assert len((await ask("GET", "/v1/assets", looks)).json()) == 2
        assert [one["asset"] for one in (await ask("GET", "/v1/assets", stranger)).json()] == ["everybodys"]
        for url in ("/v1/assets/ours", "/v1/assets/ours/versions/1", "/v1/assets/ours/resolve", "/v1/slots/here"):
            assert (await ask("GET", url, looks)).status_code == 200
            assert (await ask("GET", url, stranger)).status_code == 404
        assert (await ask("GET", "/v1/slots", stranger)).json() == []
        assert (await ask("PUT", "/v1/assets/ours", looks, {"name": "x", "scene": "main"})).status_code == 403
        assert (await ask("PUT", "/v1/assets/ours", makes, {"name": "x", "scene": "main"})).status_code == 200
        assert (await ask("PUT", "/v1/assets/mine", makes, {"name": "x"})).status_code == 403, "it would be everybody's"
        assert (await ask("PUT", "/v1/slots/mine", makes, {"asset": "everybodys"})).status_code == 403
        assert (await ask("PUT", "/v1/slots/here", stranger, {"asset": "everybodys"})).status_code == 403
        there = {"asset": "ours", "scene": "other"}
        assert (await ask("PUT", "/v1/slots/there", stranger, there)).status_code == 404
        assert (await ask("DELETE", "/v1/assets/everybodys", stranger)).status_code == 403
        swap = {"old": "everybodys", "new": "ours"}
        assert (await ask("POST", "/v1/assets/hot-swap", stranger, swap)).status_code == 403
        refused = assert_problem(await ask("POST", "/v1/assets/discover", stranger), 403)
        assert "--all-scenes" in refused["detail"]


HOSTILE: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/assets/..%2fx", {"name": "x"}),
    ("PUT", "/v1/assets/" + "x" * 65, {"name": "x"}),
    ("PUT", "/v1/assets/x", {"name": ""}),
    ("PUT", "/v1/assets/x", {"name": "x" * 129}),
    ("PUT", "/v1/assets/x", {"name": "x", "tags": ["t"] * 33}),
    ("PUT", "/v1/assets/x", {"name": "x", "more": 1}),
    ("PUT", "/v1/assets/x", []),
    ("POST", "/v1/assets/chair/versions", {"files": []}),
    ("POST", "/v1/assets/chair/versions", {"files": [{"role": "lod9"}]}),
    ("POST", "/v1/assets/chair/versions", {"provenance": {"deep": "x" * 20_000}}),
    ("PUT", "/v1/slots/x", {"asset": "chair", "revision": -1}),
    ("PUT", "/v1/slots/x", {"asset": "chair", "policy": "perhaps"}),
    ("PUT", "/v1/slots/x", {"asset": "chair", "deadline_s": 1e9}),
    ("PUT", "/v1/slots/x", {"asset": "nothing"}),
    ("PUT", "/v1/slots/x", {"asset": "chair", "version": 9}),
    ("PUT", "/v1/slots/x", {"asset": "chair", "version": 10**30}),
    ("GET", "/v1/assets/chair/versions/99999999999999999999999", None),
    ("GET", "/v1/assets/chair/resolve?max_bytes=-1", None),
    ("GET", "/v1/slots/x?wait=1e9", None),
    ("PUT", "/v1/leases/x", {"held": [{"slot": "s", "asset": "a", "version": 1}] * 257}),
    ("PUT", "/v1/assets/chair/placement", {"scene": "main", "epoch": 0, "position_m": [1, 2, 1e99]}),
    ("PUT", "/v1/assets/chair/placement", {"scene": "main", "epoch": 0, "position_m": [0, 0, 0], "quat_wxyz": [0] * 4}),
    ("POST", "/v1/assets/hot-swap", {"old": "chair", "new": "chair"}),
]


async def test_the_hostile_get_a_problem_and_nothing_else(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        await server.publish("chair", GLB)
        before = (await server.http.get("/v1/assets")).json(), (await server.http.get("/v1/slots")).json()
        for method, url, body in HOSTILE:
            answer = await server.http.request(method, url, json=body)
            assert 400 <= answer.status_code < 500, (method, url, body, answer.text)
            assert answer.headers["content-type"] == "application/problem+json", (method, url)
        for text in (b"{", b"[" * 50_000, b'{"name": NaN}', b"\xff"):
            assert 400 <= (await _raw(server, text)).status_code < 500
        assert ((await server.http.get("/v1/assets")).json(), (await server.http.get("/v1/slots")).json()) == before


async def _raw(server: Live, text: bytes) -> httpx.Response:
    return await server.http.post("/v1/assets", content=text, headers={"Content-Type": "application/json"})
