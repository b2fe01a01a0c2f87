"""What the HTTP layer needs of the floor below: scenes, their streams and what can be asked of their maps.

The consumer declares it; `server/scenes.py` fulfils it. Values here are also the JSON of the REST interface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mapping.engines import Window, WindowPrediction
from mapping.metric import markers
from server.api.locate_contract import LocateAnswer, Picture
from server.api.queries_contract import BatchAnswer, Question
from server.bus.bus import Bus
from server.generation.keyframes import Keyframes
from streams.frame import Frame, SceneId, StreamId

Point = tuple[float, float, float]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AgentProfile(_Value):
    """Who can walk on a map: a cylinder that climbs. Each profile has `nav` tiles of its own, [x, z, name]."""

    name: str
    radius_m: float
    height_m: float
    max_climb_m: float
    max_slope_deg: float


class SceneSummary(_Value):
    """One shared map."""

    scene: str
    epoch: int
    scale_source: str
    """`none`: lengths are not metres."""
    scale_sigma: float | None = None
    """Relative standard error; null while the source is `none`."""
    scale_contradicted_by: list[str] = []
    """Sources of scale cues that cannot be right if this scale is: one of them is a mistake."""
    gravity_source: str
    gravity_sigma_deg: float | None = None
    num_streams: int
    num_keyframes: int
    """Of those from before a restart, the ones whose points are served."""
    num_tiles: int
    num_tiles_refused: int = 0
    """NavMesh tiles since the start that Detour would not take; nobody walks there until a better one comes."""
    agents: list[AgentProfile] = []
    """Queries take the first one unless told."""
    made_with: list[dict[str, str]] = []
    """Engines, with their weights, licences and sha256, that this map was made with."""


class StreamSummary(_Value):
    """One camera's connection."""

    stream: str
    scene: str
    kind: Literal["whip", "posed", "replay"]
    state: str
    num_frames: int
    num_dropped: int
    num_keyframes: int
    width: int
    height: int
    coverage: float = 0.0
    """Share of the map's tiles this camera has seen, 0..1."""


class DeviceSummary(_Value):
    """One device of inference."""

    device: str
    state: str
    engine: str
    num_waiting: int
    queued: dict[str, int] = {}
    """Waiting jobs by lane."""
    busy_share: float = 0.0
    """Of the last minute, 0..1."""
    window_ms_p50: float | None = None
    window_ms_p95: float | None = None
    windows: dict[str, int] = {}
    """How many ended how: `done`, `failed`, `superseded`, `expired`."""
    failed_share: float | None = None
    """Of the last 16 windows, 0..1; where all of them failed, `state` is `failing`."""
    last_failure: str | None = None
    """Why the latest window that failed did."""
    num_quarantined: int = 0
    """Keyframes that killed workers and are not tried again."""
    num_restarts: int = 0
    rss_bytes: int = 0
    device_bytes: int = 0
    """Memory of the GPU that it holds."""
    provenance: dict[str, str] = {}
    """The engine, its weights, their licence and sha256."""
    detail: str = ""


class Readiness(_Value):
    """Whether frames that come now would be mapped."""

    is_ready: bool
    is_saturated: bool = False
    """The host does not keep up: poses are late, though other work gives way and fewer frames are tracked."""
    detail: dict[str, str] = {}
    """Part -> `ok` or what it waits for."""


class DistanceCue(_Value):
    """Somebody measured how far two points of the map are apart."""

    kind: Literal["distance"]
    a_m: Point
    b_m: Point
    distance_m: float = Field(gt=0, le=1000)


class CameraHeightCue(_Value):
    """How high above the floor a camera is carried."""

    kind: Literal["camera_height"]
    stream: str = Field(max_length=256)
    height_m: float = Field(gt=0, le=100)


class MarkerCue(_Value):
    """A printed square marker is in the scene."""

    kind: Literal["marker"]
    dictionary: str = Field(default="apriltag_36h11", max_length=64)
    size_m: float = Field(gt=0, le=10)
    """Edge of the black square, measured on the print."""

    @field_validator("dictionary")
    @classmethod
    def _exists(cls, name: str) -> str:
        return markers.known_dictionary(name)


Cue = Annotated[DistanceCue | CameraHeightCue | MarkerCue, Field(discriminator="kind")]


class StreamOptions(_Value):
    """What is known about a camera beforehand."""

    label: str = Field(default="", max_length=64)
    start: Literal["own", "shared"] = "own"
    """`shared`: it starts at the very pose at which the map's first camera started."""
    world: str | None = Field(default=None, max_length=64)
    """Posed streams that name the same world share their coordinates."""
    camera_height_m: float | None = Field(default=None, gt=0, le=100)


class PosedOptions(StreamOptions):
    """What is known about a camera that brings its own poses."""

    frames: Literal["newest", "every"] = "newest"
    """What becomes of frames that come faster than the map takes them: the newest wins (live), or each waits for its
    turn and its sender with it (a recording, a scan)."""


class Refused(Exception):
    """A request that cannot be granted, with the HTTP status that says why."""

    status = 400

    def __init__(self, detail: str, *, retry_after_s: float | None = None, **more: Any) -> None:
        """`more` are members of the answer that programs can read."""
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.more = more


class NotFound(Refused):
    status = 404


class Conflict(Refused):
    status = 409


class Unprocessable(Refused):
    status = 422


class Busy(Refused):
    status = 503


class WhipSession(Protocol):
    """One phone's WebRTC session; `streams.webrtc.WhipSession` is one."""

    id: str
    """Unguessable."""
    stream: StreamId
    """Its name on the map, which everybody sees."""
    answer_sdp: str
    """Holds all our candidates."""

    def trickle(self, body: bytes) -> None:
        """Take an `application/trickle-ice-sdpfrag`; raises RequestRefused when it is no good."""
        ...


class Scenes(Protocol):
    """Everything the API can ask for. Methods that name a scene or stream raise NotFound when there is none."""

    @property
    def bus(self) -> Bus: ...

    def scenes(self) -> list[SceneSummary]: ...

    def scene(self, scene: SceneId) -> SceneSummary: ...

    async def create(self, scene: SceneId) -> SceneSummary:
        """Raises Conflict when it exists, Busy when there are too many."""
        ...

    async def delete(self, scene: SceneId) -> None:
        """End its streams and erase all of it, on disk too."""
        ...

    def streams(self) -> list[StreamSummary]: ...

    async def delete_stream(self, stream: StreamId) -> bool:
        """End it and erase its keyframes and thumbnails; the fused geometry stays. False: nothing of it was here."""
        ...

    async def accept_whip(self, scene: SceneId, offer_sdp: str, options: StreamOptions) -> WhipSession:
        """Raises Busy when there are too many streams, RequestRefused when the offer is no good."""
        ...

    def whip(self, session: str) -> WhipSession:
        """A session by its id; NotFound when it has ended."""
        ...

    async def end_whip(self, session: str) -> None: ...

    async def open_posed(self, scene: SceneId, options: PosedOptions) -> StreamId:
        """Raises Busy when there are too many streams."""
        ...

    async def end_posed(self, stream: StreamId) -> None:
        """No more frames; those that wait are still mapped. NotFound when it has ended."""
        ...

    async def offer_posed(self, stream: StreamId, frame: Frame) -> None:
        """Hand in a frame with its pose; Busy when its stream uses every frame and there was no room for too long."""
        ...

    async def ask(self, scene: SceneId, questions: Sequence[Question], epoch: int | None) -> BatchAnswer:
        """Answer questions on one state of the map.

        Raises Unprocessable for an unknown agent, Conflict when the coordinates are of another epoch, Busy when too
        much is asked at once.
        """
        ...

    async def locate(self, scene: SceneId, picture: Picture) -> LocateAnswer:
        """Find where a picture was taken. Raises Busy while the map is being corrected."""
        ...

    async def export(self, scene: SceneId, path: Path) -> None:
        """Write the map to `path`; its suffix (.ply, .glb, .obj) says how. Raises NotFound while it is empty."""
        ...

    async def reread_navmesh(self, scene: SceneId) -> int:
        """Build every tile anew from the voxels alone; how many NavMesh tiles came out otherwise."""
        ...

    async def add_cue(self, scene: SceneId, cue: Cue) -> None: ...

    async def film(self, scene: SceneId, params: Mapping[str, Any]) -> tuple[Keyframes, dict[str, Any]]:
        """The keyframes that show best what `params` point at, and the params as those keyframes know it.

        Raises NotFound when nothing of it is kept, Unprocessable when they point at nothing.
        """
        ...

    async def infer(self, window: Window) -> WindowPrediction:
        """Geometry of pictures that belong to no scene, behind the phones' own; raises NoPrediction, Busy."""
        ...

    def devices(self) -> list[DeviceSummary]: ...

    def readiness(self) -> Readiness: ...
