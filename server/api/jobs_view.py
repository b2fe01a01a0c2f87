"""A job and a provider as clients see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from server.generation.provider import Description
from server.jobs import legs
from server.jobs.desk import Desk
from server.jobs.live import Live
from server.jobs.values import Failure, Job, Leg, LegPart, State, Wanted


class ResultView(BaseModel):
    """What was made, on the asset bus."""

    asset: str
    version: int
    url: str
    """The version: its files and all that is known of it."""
    cached_from: str | None
    """The job that made it, if an identical one was done before."""


class LegView(BaseModel):
    """One provider's part of a job that several work at."""

    provider: str
    part: LegPart
    made: bool
    failure: Failure | None
    verdict: dict[str, Any] | None
    """Of a race, when it was judged: `score` 0..1, `mask_iou`, `psnr_db`, `depth_error_m`; of a refinement
    `score_before` and `score_after` in place of `score`."""


class JobView(BaseModel):
    """A job."""

    job: str
    state: State
    """`yielding`: phones' poses come first; the job goes on in a moment."""
    task: str
    provider: str | None
    asset: str
    """The asset its versions belong to; previews may be there before the job is done."""
    scene: str | None
    progress: float
    """0..1, never less than before within an attempt; legs that are over stay so."""
    stage: str | None = None
    eta_s: float | None = None
    """Seconds of the device's own time that are still to go."""
    yielded_ms: float = 0.0
    """For how long perception had the device during this attempt."""
    queue_position: int | None = None
    """How many go first."""
    attempt: int
    seed: int
    priority: int
    cancelling: bool = False
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    result: ResultView | None = None
    failure: Failure | None = None
    """Of a job that waits for its next attempt: why the last one failed."""
    legs: list[LegView] = []
    """What each has done so far, of a job that several providers work at."""
    wanted: Wanted


class LicenceView(BaseModel):
    spdx: str
    commercial: bool
    excluded: tuple[str, ...]
    gated: bool
    notes: str


class ProviderView(BaseModel):
    """Who makes assets."""

    name: str
    revision: str
    licence: LicenceView
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    vram_gb: float
    seconds: float
    preemptible: bool
    deterministic: bool


async def job_view(desk: Desk, job: Job) -> JobView:
    """A job as it stands, with how it goes if it runs."""
    return (await job_views(desk, [job]))[0]


async def job_views(desk: Desk, jobs: Sequence[Job]) -> list[JobView]:
    """The same of several."""
    positions = await desk.positions(jobs)
    return [_job_view(job, desk.live(job.job), positions.get(job.job)) for job in jobs]


def _job_view(job: Job, live: Live | None, position: int | None) -> JobView:
    live = live if job.state == "running" else None
    result = job.result
    return JobView(
        job=job.job,
        state=live.phase if live is not None else job.state,
        task=job.wanted.task,
        provider=job.provider,
        asset=job.asset,
        scene=job.wanted.scene,
        progress=_progress(job, live),
        stage=live.shown.stage or None if live is not None else None,
        eta_s=live.shown.eta_s if live is not None else None,
        yielded_ms=live.yielded_ms if live is not None else 0.0,
        queue_position=position,
        attempt=job.attempt,
        seed=job.wanted.seed,
        priority=job.wanted.priority,
        cancelling=job.is_cancelling,
        created_ms=job.created_ns // 10**6,
        started_ms=_ms(job.started_ns),
        ended_ms=_ms(job.ended_ns),
        result=None
        if result is None
        else ResultView(
            asset=result.asset,
            version=result.version,
            url=f"/v1/assets/{result.asset}/versions/{result.version}",
            cached_from=result.cached_from,
        ),
        failure=job.failure,
        legs=[leg_view(leg) for leg in job.legs],
        wanted=_for_readers(job.wanted),
    )


def leg_view(leg: Leg) -> LegView:
    made = leg.made is not None
    return LegView(provider=leg.provider, part=leg.part, made=made, failure=leg.failure, verdict=leg.verdict)


def provider_view(description: Description) -> ProviderView:
    d = description
    return ProviderView(
        name=d.name,
        revision=d.revision,
        licence=LicenceView(**{name: getattr(d.licence, name) for name in LicenceView.model_fields}),
        inputs=d.inputs,
        outputs=d.outputs,
        vram_gb=d.vram_gb,
        seconds=d.seconds,
        preemptible=d.preemptible,
        deterministic=d.deterministic,
    )


def _for_readers(wanted: Wanted) -> Wanted:
    """Without what only whoever asked for it may know: of a webhook no more is told than which host it is on."""
    if (hook := wanted.webhook) is None:
        return wanted
    url = urlsplit(hook.url)
    host = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    return wanted.model_copy(update={"webhook": hook.model_copy(update={"url": host, "secret": None})})


def _progress(job: Job, live: Live | None) -> float:
    if live is not None:
        return live.shown.fraction
    if job.state in ("publishing", "succeeded"):
        return 1.0
    shares = dict(legs.stages(job, [("", 1.0)]))
    return shares.get(legs.BEFORE, 0.0) / sum(shares.values())


def _ms(at_ns: int | None) -> int | None:
    return None if at_ns is None else at_ns // 10**6
