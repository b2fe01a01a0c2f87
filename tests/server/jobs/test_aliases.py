"""The routes of other documents: their names, their keys, over the same jobs."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clients.qpipe import QpipeResponse, process_qpipe_task
from tests.server.jobs.live import Live, live, png
from tests.server.test_rest import assert_problem

REHEARSED = {"registry": {"auto": ["rehearsal"]}}
PICTURE = base64.b64encode(png()).decode()


async def status(server: Live, job: str) -> dict[str, Any]:
    answer = await server.http.get(f"/reconstruct/status/{job}")
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def test_qpipe_makes_an_asset_and_answers_with_where_it_is(tmp_path: Path) -> None:
    async with live(tmp_path, REHEARSED) as server:
        inputs = {
            "image": PICTURE,
            "text": "a vase",
            "output_format": "mesh",
            "asset_type": "prop",
            "asset_name": "vase",
        }
        answer = await server.http.post(
            "/qpipe/process", json={"task": "image-to-3d-asset", "inputs": inputs}, timeout=60
        )
        told = answer.json()
        assert told["success"], told
        data = told["data"]
        assert {"format", "asset_path", "texture_path", "preview_path", "asset_id"} <= set(data)
        assert (data["format"], data["asset_id"], data["texture_path"]) == ("mesh", "vase", None)
        assert (await server.http.get(data["asset_path"])).content.startswith(b"glTF")
        listed = (await server.http.get("/assets/list?asset_type=prop")).json()["assets"]
        assert [one["asset_id"] for one in listed] == ["vase"], "it registered its result by itself"

        splat = {"task": "image-to-3d-asset", "inputs": {"image": PICTURE, "output_format": "nerf"}}
        refused = (await server.http.post("/qpipe/process", json=splat, timeout=60)).json()
        assert (refused["success"], refused["error"]["code"]) == (False, "no_provider")


async def test_qpipe_finds_cameras_depth_points_and_tracks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [cv2.imencode(".png", rng.integers(0, 255, (60, 80, 3), np.uint8))[1].tobytes() for _ in range(3)]
    async with live(tmp_path) as server:
        images = [base64.b64encode(picture).decode() for picture in pictures]
        inputs = {"images": images, "query_points": [[40.0, 30.0], [1.0, 30.0]]}
        answer = await server.http.post("/qpipe/process", json={"task": "scene-geometry", "inputs": inputs})
        told = answer.json()
        assert told["success"], told
        data = told["data"]
        assert (data["spatial_understanding"], data["geometry_type"]) == ("vggt_reconstructed", "point_cloud_3d")
        assert np.shape(data["cams"]["extrinsic"]) == (3, 3, 4)
        assert np.shape(data["cams"]["intrinsic"]) == (3, 3, 3)
        assert np.shape(data["depth"]) == (3, 60, 80)
        points = np.array(data["points"])
        assert points.shape == (3 * 60 * 80, 3)
        np.testing.assert_allclose(points[:, 2], 2, atol=1e-4)
        focal_px = data["cams"]["intrinsic"][0][0][0]
        for i in range(3):  # cameras 0.1 apart before a wall 2 away
            np.testing.assert_allclose(data["cams"]["extrinsic"][i][0][3], -0.1 * i, atol=1e-9)
            np.testing.assert_allclose(data["tracks"][i][0], [40 - focal_px * 0.1 * i / 2, 30], atol=0.01)
        assert data["tracks"][1][1] is None, "it has left the picture"


async def test_qpipe_says_what_is_wrong(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        post = server.http.post
        assert_problem(await post("/qpipe/process", json={"task": "make-coffee", "inputs": {}}), 422)
        assert_problem(await post("/qpipe/process", json={"task": "scene-geometry", "inputs": {"images": []}}), 422)
        many = {"task": "scene-geometry", "inputs": {"images": [PICTURE] * 17}}
        assert_problem(await post("/qpipe/process", json=many), 413)
        bomb = base64.b64encode(png(100_000, 100_000)).decode()
        assert_problem(await post("/qpipe/process", json={"task": "scene-geometry", "inputs": {"images": [bomb]}}), 413)
        assert_problem(await post("/qpipe/process", json={"task": "image-to-3d-asset", "inputs": {}}), 422)
        wild = {"task": "image-to-3d-asset", "inputs": {"text": "a lamp", "provider": "../x", "seed": -1}}
        assert_problem(await post("/qpipe/process", json=wild), 422)
        assert_problem(await post("/trellis/generate", content=b"{", headers={"Content-Type": "application/json"}), 422)


async def test_who_may_not_write_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    async with live(tmp_path) as server:
        for path in ("/qpipe/process", "/trellis/generate"):
            nobody = {"Authorization": "Bearer nobody"}
            assert_problem(await server.http.post(path, content=b"no JSON at all", headers=nobody), 401)


async def test_trellis_generates_in_the_background(tmp_path: Path) -> None:
    async with live(tmp_path, REHEARSED) as server:
        asked = {"image": PICTURE, "text": "a lamp", "output_format": "mesh", "asset_name": "lamp"}
        answer = await server.http.post("/trellis/generate", json=asked)
        started = answer.json()
        assert (answer.status_code, started["asset_id"]) == (202, "lamp")
        assert answer.headers["location"] == f"/v1/jobs/{started['job_id']}"
        assert (await server.done(started["job_id"]))["state"] == "succeeded"


async def test_the_routes_take_a_key_under_which_they_can_be_repeated(tmp_path: Path) -> None:
    async with live(tmp_path, REHEARSED) as server:
        key = {"Idempotency-Key": "order 7"}
        asked = {"image": PICTURE, "asset_name": "lamp"}
        jobs = {(await server.http.post("/trellis/generate", json=asked, headers=key)).json()["job_id"] for _ in "ab"}
        assert len(jobs) == 1
        assert_problem(await server.http.post("/trellis/generate", json=asked | {"seed": 2}, headers=key), 409)
        key = {"Idempotency-Key": "order 8"}
        for path in ("/reconstruct", "/api/generate/image-to-3d"):
            again = await server.http.post(path, files={"image": png()}, headers=key)
            jobs.add(again.json()["job_id"])
        assert len(jobs) == 2, "both ask for the same"


async def test_reconstruct_tells_its_status_until_the_mesh_is_there(tmp_path: Path) -> None:
    async with live(tmp_path, REHEARSED) as server:
        started = (await server.http.post("/reconstruct", files={"image": png()}, data={"asset_name": "tyre"})).json()
        assert started["status"] in ("queued", "processing")
        await server.done(started["job_id"])
        done = await status(server, started["job_id"])
        assert (done["status"], done["progress"], done["metadata"]["num_faces"]) == ("completed", 1.0, 12)
        assert (await server.http.get(done["metadata"]["mesh_url"])).content.startswith(b"glTF")

        several = [("images", png(8)), ("images", png(9))]
        failed = (await server.http.post("/reconstruct", files=several)).json()
        await server.done(failed["job_id"])
        told = await status(server, failed["job_id"])
        assert (told["status"], told["metadata"]["error"]["code"]) == ("failed", "no_provider")
        assert_problem(await server.http.post("/reconstruct", json={"text": "/etc"}), 422)
        assert_problem(await server.http.get(f"/reconstruct/status/job-{'0' * 24}"), 404)


async def test_image_to_3d_takes_a_form(tmp_path: Path) -> None:
    async with live(tmp_path, REHEARSED) as server:
        answer = await server.http.post("/api/generate/image-to-3d", files={"image": png()})
        told = answer.json()
        assert (answer.status_code, told["pipeline"], told["source_type"]) == (202, "image-to-3d", "image")
        assert (await server.done(told["job_id"]))["state"] == "succeeded"
        assert_problem(await server.http.post("/api/generate/image-to-3d", data={"text": "x"}), 415)
        assert_problem(await server.http.post("/api/generate/image-to-3d", files={"image": b"no picture"}), 415)


async def test_one_python_call_does_a_task_and_never_raises_for_what_the_server_says(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(png())
    async with live(tmp_path / "data", REHEARSED) as server:

        async def ask(task: str, inputs: dict[str, Any], port: int = server.port) -> QpipeResponse:
            return await asyncio.to_thread(process_qpipe_task, task, inputs, url=f"http://localhost:{port}")

        made = await ask("image-to-3d-asset", {"image": picture, "asset_name": "vase"})
        assert (made.success, made.data["asset_id"], made.error) == (True, "vase", None)
        seen = await ask("scene-geometry", {"images": [picture.read_bytes(), PICTURE]})
        assert len(seen.data["cams"]["extrinsic"]) == 2
        bad = await ask("make-coffee", {})
        assert (bad.success, bad.error and bad.error["code"]) == (False, "http_422")
    gone = await ask("scene-geometry", {"images": []})
    assert gone.error is not None
    assert (gone.error["code"], gone.error["hint"]) == ("unreachable", "is it running?")


async def test_one_who_does_not_trust_the_server_is_told_how_to(tmp_path: Path) -> None:
    async with live(tmp_path, REHEARSED, tls={"enabled": True}) as server:

        async def ask(ca: str | bool) -> QpipeResponse:
            url = f"https://localhost:{server.port}"
            return await asyncio.to_thread(process_qpipe_task, "make-coffee", {}, url=url, ca=ca)

        strange, known = await ask(True), await ask(str(tmp_path / "tls" / "ca.pem"))
    assert strange.error is not None
    assert "ca=" in strange.error["hint"]
    assert known.error is not None
    assert known.error["code"] == "http_422"
