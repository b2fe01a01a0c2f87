"""Scenes that only remember what was asked of them, and a real server around them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection

from mapping.engines import ViewPrediction, Window, WindowPrediction
from mapping.transforms import rigid
from server import protocol as p
from server.api.contract import (
    Conflict,
    Cue,
    DeviceSummary,
    NotFound,
    PosedOptions,
    Readiness,
    SceneSummary,
    StreamOptions,
    StreamSummary,
)
from server.api.locate_contract import LocateAnswer, Picture
from server.api.queries_contract import (
    Answer,
    BatchAnswer,
    NearestAnswer,
    PathAnswer,
    Question,
    RaycastAnswer,
    ReachableAnswer,
    ReachAnswer,
    ReachedPolygon,
    VisibleAnswer,
)
from server.bus.bus import Bus
from server.bus.bus import Config as BusConfig
from server.config import Settings
from server.generation.keyframes import Keyframes
from server.metrics import Metrics
from server.web import Identity, identify, serving
from streams.frame import Frame, Intrinsics, SceneId, StreamId
from streams.problem import RequestRefused

ANSWER = "v=0\r\n"
ANSWERS: dict[str, Answer] = {
    "path": PathAnswer(found=True, agent="human", points_m=((0, 0, 0), (1, 0, 2.5)), length_m=2.7),
    "nearest": NearestAnswer(found=False, reason="goal_off_mesh", agent="human"),
    "raycast": RaycastAnswer(found=True, agent="human", end_m=(1, 0, 0), is_blocked=True, length_m=1.0),
    "reachable": ReachableAnswer(found=True, reason="unreachable", agent="human"),
    "reach": ReachAnswer(found=True, agent="human", polygons=(ReachedPolygon(0, 3, 0.0), ReachedPolygon(0, 1, 1.5))),
    "visible": VisibleAnswer(found=True, state="visible"),
}


class FakeSession:
    """A WHIP session that takes any candidates but `bad`."""

    answer_sdp = ANSWER

    def __init__(self, session: str) -> None:
        self.id = session
        self.stream = StreamId(f"phone-{session}")
        self.fragments: list[bytes] = []

    def trickle(self, body: bytes) -> None:
        if body == b"bad":
            raise RequestRefused(400, "Malformed ICE fragment", "it is bad")
        self.fragments.append(body)


@dataclass
class FakeScenes:
    """One scene, `main`, to begin with."""

    bus: Bus
    names: list[str] = field(default_factory=lambda: ["main"])
    sessions: dict[str, FakeSession] = field(default_factory=dict)
    posed: dict[StreamId, list[Frame]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    options: list[StreamOptions] = field(default_factory=list)
    asked: list[tuple[Question, ...]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    filmed: list[Keyframes] = field(default_factory=list)
    inferred: list[Window] = field(default_factory=list)
    is_ready: bool = True

    def scenes(self) -> list[SceneSummary]:
        return [self.scene(SceneId(name)) for name in self.names]

    def scene(self, scene: SceneId) -> SceneSummary:
        if scene not in self.names:
            raise NotFound(f"there is no scene {scene!r}")
        return SceneSummary(
            scene=scene,
            epoch=0,
            scale_source="none",
            gravity_source="none",
            num_streams=0,
            num_keyframes=0,
            num_tiles=0,
        )

    async def create(self, scene: SceneId) -> SceneSummary:
        if scene in self.names:
            raise Conflict("it exists")
        self.names.append(scene)
        return self.scene(scene)

    async def delete(self, scene: SceneId) -> None:
        self.scene(scene)
        self.names.remove(scene)

    def streams(self) -> list[StreamSummary]:
        whip = dict.fromkeys((session.stream for session in self.sessions.values()), "whip")
        return [
            StreamSummary(
                stream=stream,
                scene="main",
                kind=kind,  # type: ignore[arg-type]
                state="tracked",
                num_frames=0,
                num_dropped=0,
                num_keyframes=0,
                width=0,
                height=0,
            )
            for stream, kind in {**whip, **dict.fromkeys(self.posed, "posed")}.items()
        ]

    async def delete_stream(self, stream: StreamId) -> bool:
        session = next((s.id for s in self.sessions.values() if s.stream == stream), "")
        self.deleted.append(stream)
        return self.sessions.pop(session, None) is not None or self.posed.pop(stream, None) is not None

    async def accept_whip(self, scene: SceneId, offer_sdp: str, options: StreamOptions) -> FakeSession:
        self.scene(scene)
        if not offer_sdp.startswith("v=0"):
            raise RequestRefused(400, "Malformed SDP offer", "its first line is not v=0")
        self.options.append(options)
        session = FakeSession(f"secret{len(self.sessions)}")
        self.sessions[session.id] = session
        return session

    def whip(self, session: str) -> FakeSession:
        if session not in self.sessions:
            raise NotFound("there is no such session")
        return self.sessions[session]

    async def end_whip(self, session: str) -> None:
        self.whip(session)
        del self.sessions[session]

    async def open_posed(self, scene: SceneId, options: PosedOptions) -> StreamId:
        self.scene(scene)
        self.options.append(options)
        stream = StreamId(f"posed-{len(self.posed)}")
        self.posed[stream] = []
        return stream

    async def end_posed(self, stream: StreamId) -> None:
        self.posed.pop(stream)

    async def offer_posed(self, stream: StreamId, frame: Frame) -> None:
        self.posed[stream].append(frame)

    async def ask(self, scene: SceneId, questions: Sequence[Question], epoch: int | None) -> BatchAnswer:
        self.scene(scene)
        self.asked.append(tuple(questions))
        return BatchAnswer(epoch=epoch or 0, answers=tuple(ANSWERS[question.kind] for question in questions))

    async def locate(self, scene: SceneId, picture: Picture) -> LocateAnswer:
        self.scene(scene)
        self.pictures.append(picture)
        return LocateAnswer(found=False, reason="too_plain", epoch=3, scale_source="none")

    async def export(self, scene: SceneId, path: Path) -> None:
        if scene == "empty":
            raise NotFound("the map is empty")
        path.write_bytes(b"solid " + path.suffix.encode())  # noqa: ASYNC240

    async def reread_navmesh(self, scene: SceneId) -> int:
        self.scene(scene)
        return 7

    async def add_cue(self, scene: SceneId, cue: Cue) -> None:
        self.cues.append(cue)

    async def film(self, scene: SceneId, params: Mapping[str, Any]) -> tuple[Keyframes, dict[str, Any]]:
        if not self.filmed:
            raise NotFound("no keyframe of this scene has both its picture and depth any more")
        return self.filmed[-1], dict(params)

    async def infer(self, window: Window) -> WindowPrediction:
        """Cameras side by side before a wall, 2 away."""
        self.inferred.append(window)
        views = []
        for i, view in enumerate(window.views):
            height, width = view.rgb.shape[:2]
            pose = view.prior_window_from_camera
            pose = rigid(np.eye(3), [0.1 * i, 0, 0]) if pose is None else pose
            depth = np.full((height, width), 2, np.float32) if i == len(window.views) - 1 else None
            views.append(ViewPrediction(view.keyframe, pose, Intrinsics.from_fov(width, height), depth))
        return WindowPrediction(tuple(views))

    def devices(self) -> list[DeviceSummary]:
        return [DeviceSummary(device="cpu", state="ready", engine="toy", num_waiting=0)]

    def readiness(self) -> Readiness:
        return Readiness(is_ready=self.is_ready)


@dataclass
class Served:
    """A server on a real port, and ways to talk to it."""

    scenes: FakeScenes
    identity: Identity
    metrics: Metrics
    port: int
    http: httpx.AsyncClient

    @contextlib.asynccontextmanager
    async def socket(self, **how: object) -> AsyncIterator[ClientConnection]:
        """An opened map socket, before hello."""
        options: dict[str, object] = {"subprotocols": [p.SUBPROTOCOL], "compression": None, "max_size": None} | how
        async with websockets.connect(f"ws://127.0.0.1:{self.port}/v1/map", **options) as socket:  # type: ignore[arg-type]
            yield socket

    @contextlib.asynccontextmanager
    async def client(self, token: str | None = None, **how: object) -> AsyncIterator[ClientConnection]:
        """A map socket that was welcomed."""
        async with self.socket(**how) as socket:
            await socket.send(p.pack(p.Hello(client="test", token=token)))
            message, _ = p.unpack_server(await binary(socket))
            assert isinstance(message, p.Welcome)
            yield socket


async def binary(socket: ClientConnection) -> bytes:
    frame = await socket.recv()
    assert isinstance(frame, bytes)
    return frame


@contextlib.asynccontextmanager
async def served(folder: Path, bus: BusConfig | None = None, **settings: object) -> AsyncIterator[Served]:
    """Serve fake scenes on a free port of loopback, by plain HTTP."""
    given = {"data_dir": folder, "http": {"host": "127.0.0.1", "port": 0}, "tls": {"enabled": False}} | settings
    made = Settings(**given)  # type: ignore[arg-type]
    identity, metrics = identify(made), Metrics()
    scenes = FakeScenes(Bus(bus or BusConfig()))
    scenes.bus.open("main").agents = frozenset({"human"})
    async with (
        serving(made, scenes, identity, metrics) as port,
        httpx.AsyncClient(base_url=f"http://localhost:{port}") as http,
    ):
        yield Served(scenes, identity, metrics, port, http)
