"""A stand-in for the server, to work on the pages without a camera: a flat that grows, two phones walking in it.

Speaks the real wire (`server/protocol/`) and answers WHIP offers with poses on the DataChannel, but maps nothing.
Run from the repository's root: `python clients/web/test/mock_server.py --port 8443`, then open http://127.0.0.1:8443/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import segno
import uvicorn
from aiortc import RTCPeerConnection, RTCSessionDescription
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

sys.path.insert(0, str(Path(__file__).parents[3]))

from server import protocol as p

DIST = Path(__file__).parents[1] / "dist"
TILE_M, CELL_M = 3.2, 0.05
ROOM_M = (8.0, 6.4)
BOXES = (  # x0, z0, x1, z1, height, rgb
    (1.0, 0.2, 3.0, 1.1, 0.75, (150, 105, 70)),
    (5.2, 2.0, 7.0, 3.6, 0.45, (96, 120, 150)),
    (0.3, 4.2, 1.0, 6.0, 1.9, (176, 150, 120)),
    (3.8, 4.6, 4.8, 5.6, 0.72, (190, 180, 165)),
)
EMPTY, SCALE_SOURCE = "empty", {"value": "none"}


class World:
    """Tiles of the flat, made once."""

    def __init__(self) -> None:
        self.mesh = {key: self._mesh(key) for key in self._keys()}
        self.nav = {key: self._nav(key) for key in self._keys()}

    def _keys(self) -> list[tuple[int, int]]:
        return [(x, z) for x in range(3) for z in range(2)]

    def _mesh(self, key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        quads = [((0, 0, 0), (0, 0, ROOM_M[1]), (ROOM_M[0], 0, 0), (168, 140, 108))]
        quads += [((0, 0, 0), (ROOM_M[0], 0, 0), (0, 2.5, 0), (214, 208, 198))]
        quads += [((0, 0, ROOM_M[1]), (0, 0, -ROOM_M[1]), (0, 2.5, 0), (200, 205, 210))]
        for x0, z0, x1, z1, h, rgb in BOXES:
            dx, dz = x1 - x0, z1 - z0
            quads += [
                ((x0, h, z0), (0, 0, dz), (dx, 0, 0), rgb),
                ((x0, 0, z1), (dx, 0, 0), (0, h, 0), rgb),
                ((x1, 0, z0), (0, h, 0), (0, 0, dz), rgb),
                ((x0, 0, z0), (0, 0, dz), (0, h, 0), rgb),
                ((x0, 0, z0), (0, h, 0), (dx, 0, 0), rgb),
            ]
        points, faces, colours = [], [], []
        rng = np.random.default_rng(key[0] * 7 + key[1])
        x0, z0 = key[0] * TILE_M, key[1] * TILE_M
        for origin, u, v, rgb in quads:
            nu, nv = (max(1, round(np.linalg.norm(d) / 0.2)) for d in (u, v))
            for i in range(nu):
                for j in range(nv):
                    corners = [
                        np.add(origin, np.multiply(u, a / nu) + np.multiply(v, b / nv))
                        for a, b in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
                    ]
                    centre = np.mean(corners, axis=0)
                    if not (x0 <= centre[0] < x0 + TILE_M and z0 <= centre[2] < z0 + TILE_M):
                        continue
                    n = len(points)
                    points += [c + rng.normal(0, 0.006, 3) for c in corners]
                    faces += [(n, n + 1, n + 2), (n, n + 2, n + 3)]
                    colours += [np.clip(np.add(rgb, rng.normal(0, 9)), 0, 255)] * 4
        return np.array(points), np.array(faces, np.uint16), np.array(colours, np.uint8)

    def _nav(self, key: tuple[int, int]) -> dict[str, np.ndarray]:
        step = 16  # cells a polygon: a coarse stand-in for Recast's output
        verts: list[tuple[int, int, int]] = []
        polys: list[list[int]] = []
        index: dict[tuple[int, int], int] = {}
        x0, z0 = key[0] * TILE_M, key[1] * TILE_M
        for i in range(0, 64, step):
            for j in range(0, 64, step):
                x, z = x0 + (i + step / 2) * CELL_M, z0 + (j + step / 2) * CELL_M
                inside = 0.2 < x < ROOM_M[0] - 0.2 and 0.2 < z < ROOM_M[1] - 0.2
                if not inside or any(b[0] - 0.2 < x < b[2] + 0.2 and b[1] - 0.2 < z < b[3] + 0.2 for b in BOXES):
                    continue
                corners = [(i, j), (i, j + step), (i + step, j + step), (i + step, j)]
                for c in corners:
                    if c not in index:
                        index[c] = len(verts)
                        verts.append((c[0], 0, c[1]))
                polys.append([index[c] for c in corners] + [0xFFFF] * 2)
        sides: dict[tuple[int, int], int] = {}
        neighbours = np.full((len(polys), 6), 0xFFFF, np.uint16)
        for q, poly in enumerate(polys):
            for e in range(4):
                a, b = poly[e], poly[(e + 1) % 4]
                if (b, a) in sides:
                    other, f = divmod(sides[b, a], 6)
                    neighbours[q, e], neighbours[other, f] = other, q
                sides[a, b] = q * 6 + e
        return {
            "verts": np.array(verts or np.empty((0, 3)), np.uint16).reshape(-1, 3),
            "polys": np.array(polys or np.empty((0, 6)), np.uint16).reshape(-1, 6),
            "neighbours": neighbours,
            "areas": np.full(len(polys), 63, np.uint8),
            "blob": np.zeros(0, np.uint8),
        }


def pose_at(phone: int, t: float) -> tuple[list[float], list[float], np.ndarray]:
    """A walk around the room, looking outward and a little down; t, q_wxyz, world_from_camera rotation."""
    a = 0.35 * t + phone * math.pi
    at = np.array([ROOM_M[0] / 2 + 1.9 * math.cos(a), 1.45, ROOM_M[1] / 2 + 1.3 * math.sin(a)])
    forward = np.array([math.cos(a + 0.6), -0.35, math.sin(a + 0.6)])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    w = math.sqrt(max(1e-9, 1 + np.trace(rotation))) / 2
    if w < 1e-2:
        w = 1e-2
    x = (rotation[2, 1] - rotation[1, 2]) / (4 * w)
    y = (rotation[0, 2] - rotation[2, 0]) / (4 * w)
    z = (rotation[1, 0] - rotation[0, 1]) / (4 * w)
    q = np.array([w, x, y, z])
    return at.tolist(), (q / np.linalg.norm(q)).tolist(), rotation


class Feed:
    """One viewer's messages."""

    def __init__(self, socket: WebSocket, world: World, scene: str) -> None:
        self.socket, self.world, self.scene = socket, world, scene
        self.seq, self.ver = 0, 0

    async def delta(self, layer: p.Layer, key: list[Any], body: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.seq += 1
        buffers, payload = p.pack_buffers(arrays)
        now = time.time_ns()
        capture = now - (62_000_000 if layer in ("pose", "thumbnail") else 340_000_000)
        infer = now - (11_000_000 if layer == "pose" else 95_000_000)
        message = p.Delta(
            scene=self.scene, seq=self.seq, epoch=0, layer=layer, key=key, ver=self.seq, capture_ns=capture,
            infer_ns=infer, publish_ns=now - 2_000_000, body=body, buffers=buffers,
        )  # fmt: skip
        await self.socket.send_bytes(p.pack(message, payload))

    async def tile(self, key: tuple[int, int]) -> None:
        points, faces, colours = self.world.mesh[key]
        if len(points):
            origin = points.mean(axis=0)
            body = {"origin_m": origin.tolist(), "step_m": 0.001}
            vertices = np.rint((points - origin) / 0.001).astype(np.int16)
            await self.delta("mesh", list(key), body, {"vertices": vertices, "indices": faces, "rgb": colours})
            await self.delta("occluder", list(key), body, {"vertices": vertices, "indices": faces[::3]})
        nav = self.world.nav[key]
        if len(nav["verts"]):
            origin_m = [key[0] * TILE_M, 0.02, key[1] * TILE_M]
            body = {"agent": "walker", "origin_m": origin_m, "cell_size_m": CELL_M, "cell_height_m": 0.05}
            await self.delta("nav", [*key, "walker"], body, nav)

    async def phones(self, t: float) -> None:
        for phone in (0, 1):
            at, q, _ = pose_at(phone, t)
            body = {
                "stream": f"phone-{phone}", "frame": int(30 * t), "state": "tracked", "t": at, "q_wxyz": q,
                "K": [985.0, 985.0, 640.0, 360.0, 1280, 720], "scale_source": SCALE_SOURCE["value"],
            }  # fmt: skip
            await self.delta("pose", [f"phone-{phone}"], body, {})

    async def thumbnails(self, t: float) -> None:
        for phone in (0, 1):
            picture = np.full((90, 160, 3), (190, 200, 205), np.uint8)
            picture[55:] = (108, 140, 168)
            x = int(40 * t) % 160
            cv2.rectangle(picture, (x, 35), (x + 40, 65), (70, 105, 150), -1)
            cv2.rectangle(picture, (150 - x, 42), (165 - x, 58), (150, 120, 96), -1)
            _, jpeg = cv2.imencode(".jpg", picture)
            body = {"stream": f"phone-{phone}", "width": 160, "height": 90}
            await self.delta("thumbnail", [f"phone-{phone}"], body, {"jpeg": jpeg.reshape(-1)})

    async def points(self, n: int, t: float) -> None:
        at, q, rotation = pose_at(n % 2, t)
        rng = np.random.default_rng(n)
        uv = rng.uniform(-0.6, 0.6, (2500, 2))
        rays = np.column_stack([uv[:, 0], uv[:, 1] * 0.6, np.ones(2500)])
        world = rays @ rotation.T
        depth = np.where(world[:, 1] < 0, -at[1] / np.minimum(world[:, 1], -1e-3), 9.0)
        for axis, size in ((0, ROOM_M[0]), (2, ROOM_M[1])):
            wall = np.where(world[:, axis] > 0, size - at[axis], -at[axis]) / world[:, axis]
            depth = np.minimum(depth, np.where(wall > 0, wall, 9.0))
        xyz = np.rint(rays * depth[:, None] / 0.001).astype(np.int16)
        shade = np.where((depth * world[:, 1] + at[1]) < 0.02, 150, 205)[:, None] + rng.normal(0, 14, (2500, 3))
        body = {"stream": f"phone-{n % 2}", "world_from_camera": {"t": at, "q_wxyz": q}, "step_m": 0.001}
        await self.delta("points", [n], body, {"xyz": xyz, "rgb": np.clip(shade, 0, 255).astype(np.uint8)})

    async def run(self) -> None:
        info = scene_info(self.scene)
        await self.socket.send_bytes(p.pack(p.SnapshotBegin(scene=info, seq=0, entries=0, resumed=False)))
        await self.socket.send_bytes(p.pack(p.SnapshotEnd(scene=self.scene, seq=0)))
        if self.scene == EMPTY:
            return
        started, step = time.monotonic(), 0
        while True:
            t = time.monotonic() - started
            await self.phones(t)
            if step % 6 == 0:
                await self.thumbnails(t)
            if step % 15 == 0:
                await self.points(step // 15 % 40, t)
            if step % 10 == 0:
                keys = list(self.world.mesh)
                await self.tile(keys[step // 10 % len(keys)])
            step += 1
            await asyncio.sleep(1 / 20)


def scene_info(scene: str) -> p.SceneInfo:
    return p.SceneInfo(scene, 0, "mock", SCALE_SOURCE["value"], "motion")


async def serve_map(socket: WebSocket) -> None:
    await socket.accept(subprotocol=p.SUBPROTOCOL)
    feeds: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            received = time.time_ns()
            message = p.unpack_client(await socket.receive_bytes())
            if isinstance(message, p.Hello):
                limits = p.Limits(p.MAX_INBOUND_BYTES, 1 << 20)
                scenes = [scene_info("main"), scene_info(EMPTY)]
                now = time.time_ns()
                welcome = p.Welcome(session="m", server="mock", clock_ns=now, limits=limits, scenes=scenes)
                await socket.send_bytes(p.pack(welcome))
            elif isinstance(message, p.Subscribe):
                feed = Feed(socket, socket.app.state.world, message.scene)
                feeds[message.scene] = asyncio.create_task(feed.run())
            elif isinstance(message, p.Unsubscribe):
                feeds.pop(message.scene).cancel()
            elif isinstance(message, p.Ping):
                await socket.send_bytes(p.pack(p.Pong(t0_ns=message.t0_ns, t1_ns=received, t2_ns=time.time_ns())))
    except WebSocketDisconnect:
        pass
    finally:
        for feed in feeds.values():
            feed.cancel()


async def whip(request: Request) -> Response:
    peer = RTCPeerConnection()
    request.app.state.peers.append(peer)
    started = time.monotonic()

    @peer.on("datachannel")
    def talk(channel: Any) -> None:
        @channel.on("message")
        def hear(text: str) -> None:
            request.app.state.heard.append(text)
            message = json.loads(text)
            if message["t"] != "ping":
                return
            now = time.time() * 1000
            channel.send(json.dumps({"t": "pong", "t0": message["t0"], "t1": now, "t2": time.time() * 1000}))

        async def poses() -> None:
            while channel.readyState == "open":
                t = time.monotonic() - started
                at, q, _ = pose_at(0, t)
                pose = {
                    "t": "pose", "capture_ns": str(time.time_ns() - 74_000_000), "state": "tracked", "points": 420,
                    "world_from_camera": {"t": at, "q_wxyz": q}, "seen_share": min(0.9, t / 40), "scale_source": "none",
                }  # fmt: skip
                channel.send(json.dumps(pose))
                await asyncio.sleep(1 / 30)

        task = asyncio.ensure_future(poses())
        request.app.state.peers.append(task)

    @peer.on("track")
    def drain(track: Any) -> None:
        async def read() -> None:
            while True:
                await track.recv()

        request.app.state.peers.append(asyncio.ensure_future(read()))

    await peer.setRemoteDescription(RTCSessionDescription((await request.body()).decode(), "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return Response(peer.localDescription.sdp, 201, {"Location": "/v1/whip/mock-stream"}, media_type="application/sdp")


async def forget(request: Request) -> Response:
    return Response(status_code=200)


async def heard(request: Request) -> Response:
    return JSONResponse(request.app.state.heard[-400:])


async def join(request: Request) -> Response:
    url = f"https://maps.example:8443/phone#scene={request.query_params['scene']}&token=abc.def.ghi"
    return JSONResponse({"url": url, "svg": segno.make(url).svg_inline(scale=6)})


async def path(request: Request) -> Response:
    a, b = ([float(n) for n in request.query_params[k].split(",")] for k in ("from", "to"))
    middle = [(a[0] + b[0]) / 2 + 0.4, 0.0, (a[2] + b[2]) / 2]
    facts = {"found": True, "reason": None, "epoch": 0, "tile_size_m": TILE_M, "tiles": []}
    way = {"kind": "path", "agent": "walker", "points": [a, middle, b], "length_m": math.dist(a, b), "partial": False}
    return JSONResponse(facts | way)


async def summary(request: Request) -> Response:
    agent = {"name": "walker", "radius_m": 0.25, "height_m": 1.7, "max_climb_m": 0.25, "max_slope_deg": 45.0}
    return JSONResponse({"scene": request.path_params["scene"], "agents": [agent]})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=8443)
    arguments.add_argument("--scale", default="none")
    options = arguments.parse_args()
    SCALE_SOURCE["value"] = options.scale
    routes = [
        WebSocketRoute("/v1/map", serve_map),
        Route("/v1/scenes/{scene}/whip", whip, methods=["POST"]),
        Route("/v1/whip/{session}", forget, methods=["DELETE"]),
        Route("/v1/streams/{stream}", forget, methods=["DELETE"]),
        Route("/v1/join", join),
        Route("/v1/heard", heard),
        Route("/v1/scenes/{scene}/path", path),
        Route("/v1/scenes/{scene}", summary),
        Mount("/", StaticFiles(directory=DIST, html=True)),
    ]
    app = Starlette(routes=routes)
    app.state.world, app.state.peers, app.state.heard = World(), [], []
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", ws_per_message_deflate=False)


if __name__ == "__main__":
    main()
