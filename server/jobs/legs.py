"""A job that several providers work at, one after the other: who is next, what they are given, who wins. Pure.

A leg is one provider's part: first a picture of the text (`wanted.via`), then what each racer makes
(`wanted.providers`), then the judge's verdict, who compares what they made with the pictures it was made from. A job
that wants neither has no legs; its one provider does the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from server.assets.values import AssetFile, NewVersion, Placement
from server.jobs.values import Failure, InputFile, Job, Leg

JUDGE = "judge"
BEFORE = "before"
Part = Literal["picture", "race", "judge", "whole", "over"]
NOBODY = Failure(code="no_winner", message="none of the providers made it", hint="see the job's legs for each reason")


def part(job: Job) -> Part:
    """What is due."""
    wanted, made = job.wanted, [leg for leg in job.legs if leg.part == "race" and leg.made is not None]
    if wanted.via is not None and not any(leg.part == "picture" for leg in job.legs):
        return "picture"
    if not wanted.providers:
        return "whole"
    if racer(job) is not None:
        return "race"
    has_picture = any(file.role in ("image", "images", "keyframes") for file in inputs(job))
    is_judged = any(leg.part == "judge" for leg in job.legs)
    return "judge" if len(made) > 1 and has_picture and not is_judged else "over"


def provider(job: Job) -> str | None:
    """Whose turn it is; None when whoever does the whole is to be found."""
    due = part(job)
    if due == "picture":
        return job.wanted.via
    return racer(job) if due == "race" else JUDGE if due == "judge" else None


def racer(job: Job) -> str | None:
    """The next provider of a race; None when all have had their turn."""
    had = {leg.provider for leg in job.legs if leg.part == "race"}
    return next((name for name in job.wanted.providers if name not in had), None)


def output(job: Job) -> str:
    """What the provider whose turn it is has to make."""
    return {"picture": "image", "judge": "verdict"}.get(part(job), job.wanted.output)


def inputs(job: Job) -> tuple[InputFile, ...]:
    """What the job brought, and the picture that was made for it on the way."""
    files = picture(job)
    return (*job.inputs, *(InputFile(role="image", name="image-0.png", sha256=f.sha256, size=f.size) for f in files))


def picture(job: Job) -> tuple[AssetFile, ...]:
    """The picture that was made on the way, as a file of a version; empty when there is none."""
    made = next((leg.made for leg in job.legs if leg.part == "picture" and leg.made is not None), None)
    return () if made is None else tuple(file for file in made.files if file.format == "png")[:1]


def handed_on(job: Job) -> list[tuple[str, AssetFile]]:
    """Files that earlier legs made and the provider whose turn it is needs, with the role in which it gets them."""
    files = [("image", file) for file in picture(job)]
    if part(job) == "judge":
        files += [("mesh", _mesh(leg.made)) for leg in entries(job) if leg.made is not None]
    return files


def params(job: Job) -> dict[str, Any]:
    """What the judge is told besides: where each entry stands, as far as its maker knows."""
    if part(job) != "judge":
        return {}
    known = [leg.made.placement for leg in entries(job) if leg.made is not None]
    return {"placements": [None if place is None else place.model_dump(mode="json") for place in known]}


def stages(job: Job, own: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """A provider's stages within the whole job: what is done before, and what comes after, as long as its own part."""
    wanted, weight = job.wanted, sum(weight for _, weight in own)
    total = (wanted.via is not None) + (len(wanted.providers) + 1 if wanted.providers else 1)
    before = min(len(job.legs), total - 1)
    return [(BEFORE, before * weight), *own, ("after", (total - 1 - before) * weight)] if total > 1 else own


def entries(job: Job) -> tuple[Leg, ...]:
    """The legs of a race that made something, in the order in which the judge is given them."""
    return tuple(leg for leg in job.legs if leg.part == "race" and leg.made is not None)


def judged(job: Job, verdicts: object) -> tuple[Leg, ...]:
    """The legs with the marks that the judge gave; verdicts that are none change nothing."""
    marks = verdicts if isinstance(verdicts, list) else []
    by_provider = {
        leg.provider: mark for leg, mark in zip(entries(job), marks, strict=False) if isinstance(mark, Mapping)
    }
    return tuple(
        leg if leg.part != "race" or leg.provider not in by_provider
        else leg.model_copy(update={"verdict": dict(by_provider[leg.provider])})
        for leg in job.legs
    )  # fmt: skip


def winner(job: Job) -> NewVersion | None:
    """The best of a race, with all marks in its quality; where nobody could judge, the one with the fewest problems."""
    made = entries(job)
    if not made:
        return None
    best = max(made, key=lambda leg: (_score(leg), -_problems(leg)))  # the first of equals
    assert best.made is not None
    race = [{"provider": leg.provider, **_told(leg)} for leg in job.legs if leg.part == "race"]
    update: dict[str, Any] = {"quality": {**best.made.quality, "race": race}}
    if best.made.placement is None and (place := (best.verdict or {}).get("placement")):
        update["placement"] = Placement.model_validate(place)
    return best.made.model_copy(update=update)


def _mesh(version: NewVersion) -> AssetFile:
    """What can be drawn of it: its finest plain GLB."""
    plain = [file for file in version.files if file.format == "glb" and not file.extensions]
    return next((file for file in plain if file.role == "lod0"), (plain or list(version.files))[0])


def _score(leg: Leg) -> float:
    score = (leg.verdict or {}).get("score")
    return float(score) if isinstance(score, (int, float)) else -1.0


def _problems(leg: Leg) -> int:
    return 0 if leg.made is None else len(leg.made.quality.get("problems", ()))


def _told(leg: Leg) -> dict[str, Any]:
    if leg.failure is not None:
        return {"failed": leg.failure.code}
    return {name: value for name, value in (leg.verdict or {}).items() if name != "placement"}
