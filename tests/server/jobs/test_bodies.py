"""Bodies of jobs: those that come slowly keep nobody waiting, and end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from server.api import border, jobs_bodies
from tests.server.jobs.live import Live, live
from tests.server.test_rest import assert_problem

JSON = {"content-type": "application/json"}
BODY = json.dumps({"provider": "rehearsal", "params": {"blocks": 1, "block_ms": 1.0}}).encode()


async def begun(server: Live, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request of which one byte of the body has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}"
    writer.write(f"{head}\r\n\r\n{{".encode())
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("length", [1000, jobs_bodies.SMALL_BYTES + 1])
async def test_small_jobs_go_past_bodies_that_come_slowly(tmp_path: Path, length: int) -> None:
    async with live(tmp_path) as server:
        slow = [await begun(server, length) for _ in range(3 * jobs_bodies.MAX_READING)]
        answers = await asyncio.gather(*(server.http.post("/v1/jobs", content=BODY, headers=JSON) for _ in range(12)))
        assert [answer.status_code for answer in answers] == [202] * 12
        for _, writer in slow:
            writer.close()


async def test_a_large_job_waits_for_its_turn_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_bodies, "TURN_S", 0.05)
    large = BODY[:-1] + b" " * jobs_bodies.SMALL_BYTES + b"}"
    async with live(tmp_path) as server:
        slow = [await begun(server, len(large)) for _ in range(jobs_bodies.MAX_READING)]
        refused = await server.http.post("/v1/jobs", content=large, headers=JSON)
        assert_problem(refused, 503)
        assert refused.headers["retry-after"]
        for _, writer in slow:
            writer.write(large[1:])
        answers = [await reader.readline() for reader, _ in slow]
        assert all(b" 202 " in answer for answer in answers), answers
        assert (await server.http.post("/v1/jobs", content=large, headers=JSON)).status_code == 202
        for _, writer in slow:
            writer.close()


async def test_a_body_that_trickles_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border, "BODY_PATIENCE_S", 0.2)
    async with live(tmp_path) as server:
        reader, writer = await begun(server, 1000)
        answer = asyncio.create_task(reader.readline())
        while not answer.done():  # never a pause as long as the patience
            writer.write(b" ")
            await asyncio.wait([answer], timeout=0.02)
        assert b" 408 " in answer.result()
        writer.close()


@pytest.mark.parametrize("nothing", [{}, {"task": "text-to-3d-asset"}, {"text": "  "}])
async def test_a_job_that_says_nothing_is_refused(tmp_path: Path, nothing: dict[str, str]) -> None:
    async with live(tmp_path) as server:
        refused = await server.http.post("/v1/jobs", json=nothing)
        assert_problem(refused, 422)
        assert "say what is to be made" in refused.json()["detail"]
