"""REST, pages and system routes by a real client over a real port."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from server.auth import Grant, Role
from server.config import Settings
from tests.server.fakes import Served, served

FAR = 2_000_000_000


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    return problem  # type: ignore[no-any-return]


async def test_scenes_are_made_listed_and_deleted(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        made = await server.http.post("/v1/scenes", json={"scene": "flat"})
        assert (made.status_code, made.headers["location"]) == (201, "/v1/scenes/flat")
        assert [s["scene"] for s in (await server.http.get("/v1/scenes")).json()] == ["main", "flat"]
        assert_problem(await server.http.post("/v1/scenes", json={"scene": "flat"}), 409)
        assert (await server.http.delete("/v1/scenes/flat")).status_code == 204
        assert_problem(await server.http.get("/v1/scenes/flat"), 404)
        for bad in ({"scene": "../x"}, {"scene": ""}, {}, {"scene": "a", "more": 1}):
            assert_problem(await server.http.post("/v1/scenes", json=bad), 422)
        assert_problem(await server.http.post("/v1/scenes", content=b"{"), 422)


async def test_cues_are_typed(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        cues = "/v1/scenes/main/cues"
        good = [
            {"kind": "distance", "a_m": [0, 0, 0], "b_m": [1, 0, 0], "distance_m": 2.0},
            {"kind": "camera_height", "stream": "s", "height_m": 1.5},
            {"kind": "marker", "size_m": 0.16},
        ]
        for cue in good:
            assert (await server.http.post(cues, json=cue)).status_code == 202
        assert [cue.kind for cue in server.scenes.cues] == ["distance", "camera_height", "marker"]
        for bad in ({"kind": "magic"}, {"kind": "marker", "size_m": -1}, {"kind": "marker", "size_m": 1e9}, [], 7):
            assert_problem(await server.http.post(cues, json=bad), 422)
        unknown = {"kind": "marker", "dictionary": "qr", "size_m": 0.16}
        problem = assert_problem(await server.http.post(cues, json=unknown), 422)
        assert problem["errors"][0]["where"].endswith("dictionary")
        assert "no marker dictionary 'qr'" in problem["detail"]
        assert "validation error" not in problem["detail"]


async def test_exports_come_as_files_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    async with served(tmp_path) as server:
        for suffix, media_type in (("ply", "application/octet-stream"), ("glb", "model/gltf-binary")):
            answer = await server.http.get(f"/v1/scenes/main/export.{suffix}")
            assert answer.content == f"solid .{suffix}".encode()
            assert answer.headers["content-type"] == media_type
        assert_problem(await server.http.get("/v1/scenes/empty/export.glb"), 404)
        assert (await server.http.get("/v1/scenes/main/export.exe")).status_code == 422
    assert list(scratch.iterdir()) == []


async def test_roles_open_what_they_should_and_no_more(tmp_path: Path) -> None:
    """From elsewhere (a forwarded request), so that being on this machine counts for nothing."""
    async with served(tmp_path) as server:

        async def ask(method: str, url: str, grant: Grant | None) -> int:
            headers = {"X-Forwarded-For": "203.0.113.9"}
            if grant is not None:
                headers["Authorization"] = f"Bearer {server.identity.tokens.issue(grant, 60, FAR)}"
            return (await server.http.request(method, url, headers=headers, json={})).status_code

        subscriber, publisher = Grant("main", Role.SUBSCRIBE), Grant("main", Role.PUBLISH)
        stranger, admin = Grant("other", Role.ADMIN), Grant("*", Role.ADMIN)
        for method, url, needs in (
            ("GET", "/v1/scenes/main", subscriber),
            ("POST", "/v1/scenes/main/streams", publisher),
            ("GET", "/v1/devices", admin),
            ("GET", "/metrics", admin),
            ("GET", "/v1/join?scene=main", admin),
            ("POST", "/v1/scenes/main/navmesh/reread", admin),
            ("DELETE", "/v1/scenes/main", admin),
        ):
            assert await ask(method, url, None) == 401, url
            assert await ask(method, url, stranger) == 403, url
            for grant in (subscriber, publisher, admin):
                assert (await ask(method, url, grant) < 300) == (grant.role >= needs.role), (url, grant)
        assert (await server.http.get("/healthz", headers={"X-Forwarded-For": "203.0.113.9"})).status_code == 200


async def test_bad_tokens_are_401_with_the_scheme(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        good = server.identity.tokens.issue(Grant("*", Role.ADMIN), 60, FAR)
        old = server.identity.tokens.issue(Grant("*", Role.ADMIN), 60, 1)
        for header in ("Bearer", "Basic abc", "abc", f"Bearer {old}", f"Bearer {good[:-4]}AAAA", "Bearer é.x.y"):
            answer = await server.http.get("/v1/scenes", headers={"Authorization": header.encode("latin-1")})
            assert_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_rebound_name_is_not_this_machine(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        assert_problem(await server.http.get("/v1/scenes", headers={"Host": "evil.example"}), 401)
        assert_problem(await server.http.post("/v1/scenes", headers={"Origin": "https://evil.example"}), 403)


async def test_bodies_are_capped_with_and_without_a_stated_length(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        big = b"x" * (70 << 10)
        assert_problem(await server.http.post("/v1/scenes", content=big), 413)

        async def chunks() -> Any:
            for _ in range(70):
                yield b"x" * 1024

        assert_problem(await server.http.post("/v1/scenes", content=chunks()), 413)
        sdp = {"Content-Type": "application/sdp"}
        assert_problem(await server.http.post("/v1/scenes/main/whip", content=chunks(), headers=sdp), 413)


async def test_asking_too_often_is_429(tmp_path: Path) -> None:
    async with served(tmp_path, rate={"per_s": 0.001, "burst": 3}) as server:
        codes = [(await server.http.post("/v1/scenes", json={"scene": f"s{i}"})).status_code for i in range(4)]
        assert codes == [201, 201, 201, 429]
        refused = await server.http.post("/v1/scenes", json={"scene": "s9"})
        assert_problem(refused, 429)
        assert int(refused.headers["retry-after"]) > 0
        assert (await server.http.get("/v1/scenes")).status_code == 200


async def open_posed(server: Served) -> str:
    answer = await server.http.post("/v1/scenes/main/streams", json={"world": "w"})
    assert answer.status_code == 201
    return str(answer.json()["frames"])


def picture() -> bytes:
    image = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


META = {
    "world_from_camera": {"t": [0, 1, 0], "q_wxyz": [1, 0, 0, 0]},
    "intrinsics": {"fx": 60, "fy": 60, "cx": 32, "cy": 24, "width": 64, "height": 48},
}


async def test_posed_frames_arrive_in_order_with_their_depth(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        frames = await open_posed(server)
        depth = cv2.imencode(".png", np.full((48, 64), 1500, np.uint16))[1].tobytes()
        for _ in range(3):
            files = {"image": picture(), "depth": depth, "meta": json.dumps(META).encode()}
            assert (await server.http.post(frames, files=files)).status_code == 202
        ((stream, got),) = server.scenes.posed.items()
        assert [frame.seq for frame in got] == [0, 1, 2]
        assert got[0].stream == stream
        assert got[0].depth is not None
        assert float(got[0].depth.z_m.mean()) == pytest.approx(1.5)
        assert server.scenes.options[0].world == "w"
        as_field = await server.http.post(frames, files={"image": picture()}, data={"meta": json.dumps(META)})
        assert as_field.status_code == 202
        erased = await server.http.delete(frames.removesuffix("/frames"))
        assert erased.status_code == 204
        assert server.scenes.deleted == [stream]


async def test_bad_posed_frames_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        frames, meta, good = await open_posed(server), json.dumps(META).encode(), picture()
        for files in (
            {"image": b"", "meta": meta},
            {"image": good[: len(good) // 2], "meta": b"{}"},
            {"image": b"\x89PNG\r\n\x1a\n" + b"\xff" * 40, "meta": meta},
            {"image": good, "meta": b"[" * 5000},
            {"image": good, "meta": meta, "depth": good},
            {"meta": meta},
            {"image": good},
            {"a": b"1", "b": b"2", "c": b"3", "d": b"4"},
        ):
            answer = await server.http.post(frames, files=files)
            assert_problem(answer, answer.status_code)
            assert 400 <= answer.status_code < 500
        assert_problem(await server.http.post(frames, content=b"x"), 415)
        broken = {"Content-Type": "multipart/form-data"}
        assert_problem(await server.http.post(frames, content=b"x", headers=broken), 400)
        cut = {"Content-Type": "multipart/form-data; boundary=b"}
        assert 400 <= (await server.http.post(frames, content=b"--b\r\nContent-", headers=cut)).status_code < 500
        assert_problem(await server.http.post("/v1/streams/nope/frames", files={"image": good, "meta": meta}), 404)
        assert sum(map(len, server.scenes.posed.values())) == 0


async def test_the_name_on_the_map_does_not_give_a_stream_away(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await open_posed(server)
        (stream,) = server.scenes.posed
        token = server.identity.tokens.issue(Grant("main", Role.PUBLISH), 60, FAR)
        headers = {"Authorization": f"Bearer {token}"}
        assert_problem(await server.http.delete(f"/v1/streams/{stream}", headers=headers), 403)
        assert_problem(await server.http.post(f"/v1/streams/{stream}/frames", headers=headers), 404)
        assert (await server.http.delete(f"/v1/streams/{stream}")).status_code == 204  # the admin of this machine may


async def test_readiness_metrics_and_join(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        assert (await server.http.get("/readyz")).status_code == 200
        server.scenes.is_ready = False
        assert (await server.http.get("/readyz")).status_code == 503
        metrics = await server.http.get("/metrics")
        assert "commonground_event_loop_lag_seconds_bucket" in metrics.text
        join = (await server.http.get("/v1/join", params={"scene": "main"})).json()
        link, token = join["url"].split("#token=")
        assert "?" not in link
        assert server.identity.tokens.read(token) == Grant(
            "main", Role.PUBLISH, token_id=server.identity.tokens.read(token).token_id
        )
        assert join["svg"].startswith("<svg")
        assert_problem(await server.http.get("/v1/join", params={"scene": "none"}), 404)
        assert_problem(await server.http.get("/ca"), 404)


async def test_metrics_count_what_is_there_when_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as server:

        async def told() -> set[str]:
            lines = (await server.http.get("/metrics")).text.splitlines()
            return {line.removeprefix("commonground_") for line in lines if line.startswith("commonground_")}

        await server.http.post("/v1/scenes", json={"scene": "flat"})
        opened = await server.http.post("/v1/scenes/main/streams")
        there = {
            "scenes 2.0",
            'streams{kind="posed"} 1.0',
            'nav_tiles{scene="flat"} 0.0',
            'waiting_windows{device="cpu"} 0.0',
        }
        assert there <= await told()
        await server.http.delete("/v1/scenes/flat")
        await server.http.delete(opened.json()["frames"].removesuffix("/frames"))
        assert "scenes 1.0" in (left := await told())
        assert not [line for line in left if "flat" in line or line.startswith("streams{")]


async def test_pages_are_served_strictly(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    (pages / "assets").mkdir(parents=True)
    (pages / "index.html").write_text("<h1>viewer</h1>")
    (pages / "phone.html").write_text("<h1>phone</h1>")
    (pages / "assets" / "a-1.js").write_text("1")
    (tmp_path / "secret.txt").write_text("no")
    http = {"host": "127.0.0.1", "port": 0, "pages": str(pages)}
    async with served(tmp_path, http=http) as server:
        assert "viewer" in (await server.http.get("/")).text
        assert "phone" in (await server.http.get("/phone")).text
        asset = await server.http.get("/assets/a-1.js")
        assert "immutable" in asset.headers["cache-control"]
        policy = asset.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert asset.headers["x-content-type-options"] == "nosniff"
        for path in ("/nope", "/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/assets", "/%00"):
            answer = await server.http.get(path)
            assert_problem(answer, 404)
        assert (await server.http.post("/phone")).status_code == 405
        for nowhere in ("/v1/scenes//whip", "/v1/scenes/a%2Fb/whip", "/v1/scenes/../whip", "/v1/nothing"):
            assert_problem(await server.http.post(nowhere, content=b"v=0"), 404)


async def test_unbuilt_pages_say_what_to_do(tmp_path: Path) -> None:
    async with served(tmp_path, http={"host": "127.0.0.1", "port": 0, "pages": str(tmp_path)}) as server:
        answer = await server.http.get("/")
        assert answer.status_code == 503
        assert "make setup" in answer.text


async def test_phones_are_told_what_is_kept_as_it_is_configured(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        answer = await server.http.get("/v1/privacy", headers={"X-Forwarded-For": "9.9.9.9"})
        assert answer.json() == {"keeps_pictures": False, "kept_s": 86_400}
    keeping = {"each": {"map": {"store": {"retain_pixels": True, "keyframe_ttl_s": None}}}}
    async with served(tmp_path, scenes=keeping) as server:
        assert (await server.http.get("/v1/privacy")).json() == {"keeps_pictures": True, "kept_s": None}


async def test_openapi_describes_every_route(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        document = (await server.http.get("/openapi.json")).json()
        assert {
            "/v1/scenes",
            "/v1/scenes/{scene}",
            "/v1/scenes/{scene}/cues",
            "/v1/scenes/{scene}/export.{suffix}",
            "/v1/scenes/{scene}/navmesh.{suffix}",
            "/v1/scenes/{scene}/streams",
            "/v1/scenes/{scene}/whip",
            "/v1/streams",
            "/v1/streams/{stream}",
            "/v1/streams/{name}/frames",
            "/v1/whip/{session}",
            "/v1/devices",
        } <= set(document["paths"])


async def test_a_crash_inside_is_a_problem_without_details(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path) as server:

        def fail() -> None:
            raise RuntimeError("the password is hunter2")

        monkeypatch.setattr(server.scenes, "devices", fail)
        answer = await server.http.get("/v1/devices")
        assert "hunter2" not in answer.text
        assert_problem(answer, 500)


def test_settings_of_this_test_are_settings() -> None:
    assert Settings().http.port == 8443
