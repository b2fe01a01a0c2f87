"""The live NavMesh in the engines people use, each run for real: its paths against the server's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import httpx
import numpy as np
import pytest

from navmesh.tiles import NavTile, TileKey
from server.bus import encode
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


@contextlib.asynccontextmanager
async def running(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that says things until it is stopped; lines may be long."""
    pipe, both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=both, limit=1 << 22)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


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
        script = str(package / "test" / "follow.mjs")
        async with running(program("node"), script, floor.url, "main", json.dumps(pairs)) as process:
            first = await report_of(process, floor)
            assert_equals_ours(floor, pairs, first)
            assert all(path["reached"] for path in first["paths"])
            heights = [start[1] for start, _ in pairs]
            np.testing.assert_allclose(first["three"]["hits"], heights, atol=0.04)

            floor.publish(tiles_of(door_z_m=7.6))
            second = await report_of(process, floor)
            assert_equals_ours(floor, pairs, second)
            assert second["paths"] != first["paths"], "the door has moved"

            floor.correct()
            third = await report_of(process, floor)
            assert third["tiles"] == 0, "no tile of the old world stays in Detour"
            assert third["three"]["meshes"] == second["three"]["meshes"], "what is shown moves along"
            assert third["three"]["minX"] == pytest.approx(second["three"]["minX"] + 1, abs=1e-4)
            floor.publish_again()
            assert_equals_ours(floor, pairs, await report_of(process, floor))


def assert_survives_damage(program: Path, tile_set: bytes, lines: list[str], damaged: Path) -> None:
    """Detour itself would trust every byte."""
    random = np.random.default_rng(3)
    for _ in range(30):
        content = np.frombuffer(tile_set, np.uint8).copy()
        content[random.integers(12, len(content), 20)] = random.integers(0, 256, 20)
        damaged.write_bytes(content.tobytes())
        ended = subprocess.run([program, damaged], input="\n".join(lines), text=True, capture_output=True, timeout=60)
        assert ended.returncode >= 0, f"died of signal {-ended.returncode}"


async def test_cpp_detour_loads_the_exported_tile_set(tmp_path: Path) -> None:
    built = tmp_path / "find_paths"
    include = [f"-I{root}/include/recastnavigation" for root in ("/usr", "/usr/local")]
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", *include]
    source = ENGINES / "cpp" / "find_paths.cpp"
    native = ENGINES.parents[1] / "navmesh" / "native"
    await run(
        program("g++"), *flags, f"-I{native}", str(source), str(native / "blob.cpp"), "-lDetour", "-o", str(built)
    )
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
    assert_survives_damage(built, tile_set, lines, tmp_path / "damaged.bin")


async def test_godot_follows_the_server(tmp_path: Path) -> None:
    """Godot searches by its own measure: most ways are ours to a thousandth, none is a tenth longer."""
    async with live_floor(tmp_path) as floor:
        pairs = pairs_on(floor.query, 40)
        async with godot_on(floor, pairs) as process:
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
            floor.correct()
            floor.publish_again()
            assert (await report_of(process, floor))["paths"] == report["paths"]


async def test_godot_joins_tiles_whose_corners_do_not_meet(tmp_path: Path) -> None:
    """One long edge against two short ones, a step higher; a third floor, two metres above, is nobody's neighbour."""
    wide = quads(TileKey(0, 0), 0, [(0, 0, 64, 64)], east=[0])
    narrow = quads(TileKey(1, 0), 4, [(0, 4, 64, 20), (0, 30, 64, 50)], west=[0, 1])
    above = quads(TileKey(1, 0), 80, [(0, 52, 64, 60)], west=[0])
    both = replace(
        narrow,
        verts=np.vstack([narrow.verts, above.verts]),
        polys=np.vstack([narrow.polys, np.where(above.polys == 0xFFFF, 0xFFFF, above.polys + len(narrow.verts))]),
        neighbours=np.vstack([narrow.neighbours, above.neighbours]),
        areas=np.concatenate([narrow.areas, above.areas]),
    )
    pairs = [((1.0, 0.0, 1.6), (4.0, 0.1, z)) for z in (0.6, 2.0)] + [((1.0, 0.0, 1.6), (4.0, 2.0, 2.8))]
    async with live_floor(tmp_path, ()) as floor:
        for tile in (wide, both):
            floor.channel.publish(encode.nav(tile), capture_ns=1, infer_ns=2, now_ns=3)
        async with godot_on(floor, pairs) as process:
            first, second, up = (await report_of(process, floor))["paths"]
        assert first[-1] == pytest.approx([4.0, 0.1, 0.6], abs=1e-4)
        assert second[-1] == pytest.approx([4.0, 0.1, 2.0], abs=1e-4)
        assert up == []


@contextlib.asynccontextmanager
async def godot_on(floor: Floor, pairs: list[Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    godot = program("godot3-server")
    async with running(godot, "--version") as process:
        assert process.stdout is not None
        version = (await process.stdout.readline()).decode().strip()
    if not version.startswith("3.2."):
        pytest.skip(f"written for Godot 3.2, this is {version}")
    url = floor.url.replace("http:", "ws:") + "/v1/map"
    script = ["--path", str(ENGINES / "godot"), "-s", "test/follow.gd"]
    async with running(godot, *script, url, "main", json.dumps(pairs)) as process:
        yield process


def quads(
    key: TileKey,
    height: int,
    boxes: list[tuple[int, int, int, int]],
    *,
    west: Sequence[int] = (),
    east: Sequence[int] = (),
) -> NavTile:
    """Rectangles (x0, z0, x1, z1) in cells, a polygon each; those named lead on to the tile in the west or east."""
    verts = [(x, height, z) for x0, z0, x1, z1 in boxes for x, z in ((x0, z0), (x0, z1), (x1, z1), (x1, z0))]
    polys = np.full((len(boxes), 6), 0xFFFF, np.uint16)
    polys[:, :4] = np.arange(4 * len(boxes)).reshape(-1, 4)
    neighbours = np.full((len(boxes), 6), 0xFFFF, np.uint16)
    neighbours[list(west), 0] = 0x8000
    neighbours[list(east), 2] = 0x8002
    areas = np.full(len(boxes), 63, np.uint8)
    origin_m = (3.2 * key.x, 0.0, 3.2 * key.z)
    return NavTile(key, "human", origin_m, 0.05, 0.025, np.array(verts, np.uint16), polys, neighbours, areas)
