"""The live NavMesh in the engines people use, each run for real: its paths against the server's own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import httpx
import numpy as np
import pytest

from tests.clients.live_floor import Floor, live_floor, pairs_on, tiles_of

ENGINES = Path(__file__).parents[2] / "clients" / "engines"


def lack(what: str) -> NoReturn:
    """What set-up installs may be missing on a developer's machine, never on CI."""
    reason = f"{what} is not here: scripts/setup.sh test"
    pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def program(name: str) -> str:
    return shutil.which(name) or lack(name)


async def report_of(process: asyncio.subprocess.Process, floor: Floor) -> dict[str, Any]:
    """What an engine says of the floor as it is now; its other words are shown when it ends early."""
    assert process.stdout is not None
    now = {",".join(map(str, entry.key)): entry.ver for entry in floor.channel.entries()}
    said: list[str] = []
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            report: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if report.get("versions") == now:
                return report
            said.append(line[:500])
    raise AssertionError("".join(said))


async def run(*command: str, stdin: str = "") -> str:
    """What a program prints; its complaints fail the test."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, complaints = await asyncio.wait_for(process.communicate(stdin.encode()), 120)
    assert process.returncode == 0, complaints.decode()
    return out.decode()


def length_m(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def assert_equals_ours(floor: Floor, pairs: list[Any], report: dict[str, Any]) -> None:
    """Recast's corridors, lengths and turns are ours to a millimetre; three.js has the same ground."""
    walkable = [tile for tile in floor.tiles if len(tile.verts)]
    assert report["tiles"] == report["three"]["meshes"] == len(walkable)
    for (start, goal), theirs in zip(pairs, report["paths"], strict=True):
        ours = floor.path(start, goal)
        assert theirs["reached"] != ours.is_partial
        if theirs["reached"]:
            np.testing.assert_allclose(np.reshape(theirs["points"], (-1, 3)), ours.points_m, atol=1e-3)
    area_m2 = report["three"]["areaM2"]
    assert sorted(area_m2) == sorted({str(area) for tile in walkable for area in tile.areas.tolist()})
    assert sum(area_m2.values()) == pytest.approx(floor.area_m2, rel=1e-3)


async def test_javascript_engines_follow_the_server(tmp_path: Path) -> None:
    package = ENGINES / "web"
    if not (package / "dist" / "recast.js").exists() or not (package / "node_modules").exists():
        lack("clients/engines/web/dist")
    async with live_floor(tmp_path) as floor:
        pairs = pairs_on(floor.query, 40)
        command = [program("node"), str(package / "test" / "follow.mjs"), floor.url, "main", json.dumps(pairs)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdout=pipe, stderr=asyncio.subprocess.STDOUT, limit=1 << 22
        )
        try:
            first = await report_of(process, floor)
            assert_equals_ours(floor, pairs, first)
            assert all(path["reached"] for path in first["paths"])
            heights = [start[1] for start, _ in pairs]
            np.testing.assert_allclose(first["three"]["hits"], heights, atol=0.04)

            floor.publish(tiles_of(door_z_m=7.6))
            second = await report_of(process, floor)
            assert_equals_ours(floor, pairs, second)
            assert second["paths"] != first["paths"], "the door has moved"
        finally:
            process.terminate()
            await process.wait()


async def test_cpp_detour_loads_the_exported_tile_set(tmp_path: Path) -> None:
    built = tmp_path / "find_paths"
    include = [f"-I{root}/include/recastnavigation" for root in ("/usr", "/usr/local")]
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", *include]
    source = ENGINES / "cpp" / "find_paths.cpp"
    await run(program("g++"), *flags, str(source), "-lDetour", "-o", str(built))
    async with live_floor(tmp_path / "server") as floor:
        pairs = pairs_on(floor.query, 40)
        async with httpx.AsyncClient(base_url=floor.url) as http:
            tile_set = (await http.get("/v1/scenes/main/navmesh.bin")).content
    (tmp_path / "nav.bin").write_bytes(tile_set)
    lines = [" ".join(map(repr, (*start, *goal))) for start, goal in pairs]
    answers = (await run(str(built), str(tmp_path / "nav.bin"), stdin="\n".join(lines))).splitlines()
    for (start, goal), answer in zip(pairs, answers, strict=True):
        theirs = np.array(answer.split(), float).reshape(-1, 3)
        np.testing.assert_allclose(theirs, floor.path(start, goal).points_m, atol=1e-5)
    (tmp_path / "cut.bin").write_bytes(tile_set[:-1])
    with pytest.raises(AssertionError, match="cut short"):
        await run(str(built), str(tmp_path / "cut.bin"))


async def test_godot_follows_the_server(tmp_path: Path) -> None:
    """Godot searches by its own measure: most ways are ours to a thousandth, none is a tenth longer."""
    godot = program("godot3-server")
    async with live_floor(tmp_path) as floor:
        pairs = pairs_on(floor.query, 40)
        url = floor.url.replace("http:", "ws:") + "/v1/map"
        command = [godot, "--path", str(ENGINES / "godot"), "-s", "test/follow.gd", url, "main", json.dumps(pairs)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdout=pipe, stderr=asyncio.subprocess.STDOUT, limit=1 << 22
        )
        try:
            for tiles in ((), tiles_of(door_z_m=7.6)):
                floor.publish(tiles)
                report = await report_of(process, floor)
                assert report["polygons"] == len(floor.polygons)
                assert report["area_m2"] == pytest.approx(floor.area_m2, rel=1e-3)
                ratios = []
                for (start, goal), theirs in zip(pairs, report["paths"], strict=True):
                    ours = floor.path(start, goal)
                    if not ours.is_partial:
                        assert theirs, "Godot finds a way wherever we do"
                        np.testing.assert_allclose([theirs[0], theirs[-1]], [start, goal], atol=0.1)
                        beside = [
                            p for p in theirs if floor.query.nearest(tuple(p), "human", (0.03, 0.3, 0.03)) is None
                        ]
                        assert not beside, "Godot keeps to our floor"
                        ratios.append(length_m(np.array(theirs)) / ours.length_m)
                assert len(ratios) >= 30
                assert np.median(np.abs(np.array(ratios) - 1)) < 1e-3
                assert max(ratios) < 1.1
        finally:
            process.terminate()
            await process.wait()
