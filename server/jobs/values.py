"""What is said about jobs: frozen values, checked where they come in; also the JSON of the REST interface.

Times Unix ns inside, Unix ms in what goes out to clients.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.assets.values import AssetType, Facts, Name, NewVersion, Sha256, is_name

State = Literal["queued", "loading", "running", "yielding", "publishing", "succeeded", "failed", "cancelled", "expired"]
"""`loading` and `yielding` (parked, since perception needs the device) are seen from outside only; to the books both
are `running`."""
TERMINAL: frozenset[State] = frozenset({"succeeded", "failed", "cancelled", "expired"})
Output = Literal["mesh", "3dgs", "radiance_field"]
UploadRole = Literal["image", "mask", "images", "mesh"]
InputRole = UploadRole | Literal["keyframes"]
"""`keyframes` are the server's own, out of the live map."""
Event = Literal["started", "progress", "completed"]
"""`progress`: at each quarter of the way; `completed`: any terminal state."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputFile(_Value):
    """One file of a job, in its spool folder under the name it was given there."""

    role: InputRole
    name: Annotated[str, Field(pattern=r"^[a-z]+-[0-9]{1,3}\.[a-z0-9]{1,8}$")]
    sha256: Sha256
    size: int


class Webhook(_Value):
    """Who is told: `POST` with the headers of Standard Webhooks, signed where a secret was given."""

    url: str = Field(max_length=2048, pattern=r"^https?://")
    events: tuple[Event, ...] = ("completed",)
    secret: str | None = Field(default=None, pattern=r"^whsec_[A-Za-z0-9+/=]{32,128}$")
    """`whsec_` and base64 of 24 to 64 bytes; the server's own key if left out."""

    @property
    def key(self) -> bytes | None:
        """The bytes of the secret; raises ValueError: it is no base64."""
        return None if self.secret is None else base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)


ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class Wanted(_Value):
    """What a job is to make."""

    task: Literal["image-to-3d-asset", "text-to-3d-asset", "capture"] = "image-to-3d-asset"
    provider: ProviderName = "auto"
    providers: tuple[ProviderName, ...] = Field(default=(), max_length=4)
    """Several that race: each makes it, and what fits the pictures best is published. Then `provider` stays `auto`."""
    refine_below: float = Field(default=0.8, ge=0, le=1)
    """The best of a race whose score by keyframes is lower is fitted to them anew; 0 = never."""
    via: ProviderName | None = None
    """Who makes a picture of the text first, for those who need one."""
    text: str = Field(default="", max_length=2000)
    params: Facts = {}
    """The provider's own."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    output: Output = "mesh"
    asset: Name | None = None
    """Id of the asset that gets the versions; made from the name if left out."""
    asset_name: str = Field(default="", max_length=128)
    asset_type: AssetType = "prop"
    scene: Name | None = None
    slot: Name | None = None
    """Where each version is put as soon as it is there, for as long as the slot shows what this job put there."""
    priority: int = Field(default=5, ge=0, le=9)
    """9 is most urgent; each step is worth some minutes of waiting, so that nothing waits for ever."""
    deadline_s: float | None = Field(default=None, gt=0, le=30 * 86400)
    """Seconds from the submission by which it must have begun."""
    webhook: Webhook | None = None

    @property
    def named(self) -> frozenset[str]:
        """All providers that it names."""
        return frozenset({self.provider, *self.providers, *({self.via} if self.via else ())})

    @model_validator(mode="after")
    def _fits_together(self) -> Wanted:
        if self.providers and (self.provider != "auto" or len(set(self.providers)) != len(self.providers)):
            raise ValueError("`providers` names each racer once, and stands in place of `provider`")
        if self.via is not None and not self.text:
            raise ValueError("`via` makes a picture of `text`, and there is none")
        return self


def asset_named(wanted: Wanted) -> str | None:
    """The asset that a job is for, as far as its caller named one."""
    return wanted.asset or (wanted.asset_name if is_name(wanted.asset_name) else None)


class Failure(_Value):
    """Why a job failed."""

    code: str = Field(max_length=64)
    message: str = Field(max_length=2000)
    hint: str = Field(default="", max_length=1000)
    retryable: bool = False


class Published(_Value):
    """Where the result is."""

    asset: Name
    version: int
    cached_from: str | None = None
    """The job that made it, if an identical one was done before."""


LegPart = Literal["picture", "race", "judge", "refine"]


class Leg(_Value):
    """One provider's part of a job that several work at."""

    provider: str
    part: LegPart
    made: NewVersion | None = None
    failure: Failure | None = None
    verdict: dict[str, Any] | None = None
    """Of a race: `score` 0..1, `mask_iou`, `psnr_db`, `depth_error_m`; of a refinement `score_before` and
    `score_after` in place of `score`: what was made is there if it is better."""


class Job(_Value):
    """A job as the books have it."""

    job: Name
    state: State = "queued"
    wanted: Wanted
    inputs: tuple[InputFile, ...] = ()
    asset: Name
    """The asset its versions belong to, from the start."""
    attempt: int = 0
    """1 is the first; counted anew when somebody asks for a retry."""
    interruptions: int = 0
    """How often the server died while it ran."""
    provider: str | None = None
    """Which one it was given to last."""
    revision: str | None = None
    tried: tuple[str, ...] = ()
    """Providers that found it unsuitable."""
    legs: tuple[Leg, ...] = ()
    """What providers have done of it so far, where several have a part in it."""
    created_ns: int
    changed_ns: int
    not_before_ns: int = 0
    started_ns: int | None = None
    ended_ns: int | None = None
    is_cancelling: bool = False
    made: NewVersion | None = None
    """Waits to be published; once this is written, it will be, exactly once."""
    cached_from: str | None = None
    result: Published | None = None
    failure: Failure | None = None

    @property
    def is_over(self) -> bool:
        return self.state in TERMINAL

    @property
    def deadline_ns(self) -> int | None:
        deadline_s = self.wanted.deadline_s
        return None if deadline_s is None else self.created_ns + int(deadline_s * 1e9)
