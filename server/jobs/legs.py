"""A job that several providers work at, one after the other: who is next, what they are given, who wins. Pure.

A leg is one provider's part: first a picture of the text (`wanted.via`), then what each racer makes
(`wanted.providers`), then the judge's verdict, who compares what they made with the pictures it was made from; and if
even the best fits its keyframes worse than `wanted.refine_below`, it is refined, and kept so if that is better. A job
that wants none of this has no legs; its one provider does the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from server.assets.values import AssetFile, NewVersion, Placement
from server.jobs.values import Failure, InputFile, Job, Leg, LegPart

JUDGE, REFINER = "judge", "refiner"
BEFORE = "before"
Part = LegPart | Literal["whole", "over"]
NOBODY = Failure(code="no_winner", message="none of the providers made it", hint="see the job's legs for each reason")


def part(job: Job) -> Part:
    """What is due."""
    wanted, had = job.wanted, {leg.part for leg in job.legs}
    if wanted.via is not None and "picture" not in had:
        return "picture"
    if not wanted.providers:
        return "whole"
    if racer(job) is not None:
        return "race"
    if "judge" not in had and len(entries(job)) >= _fewest_to_judge(job):
        return "judge"
    return "refine" if "refine" not in had and why_unrefined(job) is None else "over"


def provider(job: Job) -> str | None:
    """Whose turn it is; None when whoever does the whole is to be found."""
    due = part(job)
    if due == "picture":
        return job.wanted.via
    return racer(job) if due == "race" else {"judge": JUDGE, "refine": REFINER}.get(due)


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
    if (due := part(job)) == "judge":
        files += [("mesh", _mesh(leg.made)) for leg in entries(job) if leg.made is not None]
    elif due == "refine" and (best := winner(job)) is not None:
        files.append(("mesh", _mesh(best)))
    return files


def params(job: Job) -> dict[str, Any]:
    """What judge and refiner are told besides: where each mesh stands, as far as its maker or the judge knows."""
    if (due := part(job)) not in ("judge", "refine"):
        return {}
    made = [winner(job)] if due == "refine" else [leg.made for leg in entries(job)]
    known = [version.placement for version in made if version is not None]
    return {"placements": [None if place is None else place.model_dump(mode="json") for place in known]}


def stages(job: Job, own: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """A provider's stages within the whole job: what is done before, and what comes after, as long as its own part."""
    wanted, weight = job.wanted, sum(weight for _, weight in own)
    after = 1 + (_has_keyframes(job) and wanted.refine_below > 0)  # judged, and perhaps refined
    total = (wanted.via is not None) + (len(wanted.providers) + after if wanted.providers else 1)
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


def why_unrefined(job: Job) -> str | None:
    """Why the best of a race stays as it is; None where it does not."""
    best = _best(job)
    if best is None or not _has_keyframes(job):
        return "there are no keyframes to fit it to"
    if (score := _score(best)) is None or not (best.verdict or {}).get("placement"):
        return "nobody could judge how it fits"
    return None if score < job.wanted.refine_below else f"it fits: its score is not below {job.wanted.refine_below:g}"


def refined(version: NewVersion) -> dict[str, Any]:
    """What the refiner's leg has: its verdict, and what it made if that is better; else nothing was made."""
    told = version.quality.get("refinement")
    if not isinstance(told, Mapping):
        return {}
    before, after = told.get("score_before"), told.get("score_after")
    is_better = isinstance(before, (int, float)) and isinstance(after, (int, float)) and after > before
    return {"verdict": dict(told), "made": version if is_better else None}


def outcome(job: Job) -> NewVersion | None:
    """What is published in the end: the best of a race, or what became of it."""
    best, leg = winner(job), next((leg for leg in job.legs if leg.part == "refine"), None)
    if best is None or leg is None or leg.made is None:
        return best
    # Terms and inputs are those of whoever made it; the refiner added no more than the pictures.
    by = {name: leg.made.provenance.get(name) for name in ("provider", "revision")}
    update = {
        "quality": {**leg.made.quality, "race": best.quality["race"]},
        "provenance": {**best.provenance, "refined_by": by},
    }
    return leg.made.model_copy(update=update)


def winner(job: Job) -> NewVersion | None:
    """The best of a race, with all marks in its quality; where nobody could judge, the one with the fewest problems."""
    best = _best(job)
    if best is None or best.made is None:
        return None
    race = [{"provider": leg.provider, **_told(leg)} for leg in job.legs if leg.part == "race"]
    quality = {**best.made.quality, "race": race}
    if (why := why_unrefined(job)) is not None:
        quality["unrefined"] = why
    update: dict[str, Any] = {"quality": quality}
    if best.made.placement is None and (place := (best.verdict or {}).get("placement")):
        update["placement"] = Placement.model_validate(place)
    return best.made.model_copy(update=update)


def _mesh(version: NewVersion) -> AssetFile:
    """What can be drawn of it: its finest plain GLB."""
    plain = [file for file in version.files if file.format == "glb" and not file.extensions]
    return next((file for file in plain if file.role == "lod0"), (plain or list(version.files))[0])


def _best(job: Job) -> Leg | None:
    def merit(leg: Leg) -> tuple[float, int]:
        score = _score(leg)
        return (-1.0 if score is None else score), -_problems(leg)

    return max(entries(job), key=merit, default=None)  # the first of equals


def _has_keyframes(job: Job) -> bool:
    return any(file.role == "keyframes" for file in job.inputs)


def _fewest_to_judge(job: Job) -> float:
    """One photo tells which of two is better; keyframes tell how good one is."""
    if _has_keyframes(job):
        return 1 if job.wanted.refine_below > 0 else 2
    return 2 if any(file.role in ("image", "images") for file in inputs(job)) else math.inf


def _score(leg: Leg) -> float | None:
    score = (leg.verdict or {}).get("score")
    return float(score) if isinstance(score, (int, float)) else None


def _problems(leg: Leg) -> int:
    return 0 if leg.made is None else len(leg.made.quality.get("problems", ()))


def _told(leg: Leg) -> dict[str, Any]:
    if leg.failure is not None:
        return {"failed": leg.failure.code}
    return {name: value for name, value in (leg.verdict or {}).items() if name != "placement"}
