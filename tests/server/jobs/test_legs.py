"""Jobs that several providers work at: whose turn it is, what they are given, who wins; without processes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from server.assets.values import AssetFile, NewVersion, Placement
from server.jobs import legs, machine
from server.jobs.machine import RetryConfig
from server.jobs.values import Failure, InputFile, Job, Wanted

IMAGE = InputFile(role="image", name="image-0.png", sha256="a" * 64, size=1)
KEYFRAMES = InputFile(role="keyframes", name="keyframes-0.dir", sha256="b" * 64, size=1)
PLACE = {"scene": "room", "epoch": 3, "position_m": [1.0, 0.0, 2.0], "quat_wxyz": [1.0, 0.0, 0.0, 0.0], "scale": 2.0}
ONCE = RetryConfig(max_attempts=1)
BROKE = Failure(code="provider_error", message="it broke", retryable=True)


def job(*inputs: InputFile, **wanted: Any) -> Job:
    return Job(job="job-1", wanted=Wanted(**wanted), inputs=inputs, asset="mug", created_ns=1, changed_ns=1)


def version(digit: str, format: str = "glb", **facts: Any) -> NewVersion:
    role = "lod0" if format == "glb" else "source"
    return NewVersion(files=(AssetFile(role=role, format=format, sha256=64 * digit, size=1),), **facts)  # type: ignore[arg-type]


def went(known: Job, made: NewVersion | Failure) -> Job:
    """The next provider had its turn."""
    name = legs.provider(known)
    assert name is not None
    running = machine.start(known, name, "1", 2)
    return machine.make(running, made, 3) if isinstance(made, NewVersion) else machine.fail(running, made, ONCE, 3)


def verdicts(*scores: float, **more: Any) -> NewVersion:
    return version("9", "json", quality={"verdicts": [{"score": score, **more} for score in scores]})


def test_a_race_is_run_judged_and_the_best_is_published() -> None:
    known = job(IMAGE, providers=("a", "b", "c"))
    turns = []
    for made in (version("1"), BROKE, version("3", quality={"faces": 12}), verdicts(0.4, 0.7)):
        turns.append((legs.part(known), legs.provider(known), legs.output(known)))
        known = went(known, made)
        assert known.state == ("publishing" if legs.part(known) == "over" else "queued")
    assert turns == [
        ("race", "a", "mesh"), ("race", "b", "mesh"), ("race", "c", "mesh"), ("judge", "judge", "verdict"),
    ]  # fmt: skip
    assert known.made is not None
    assert known.made.files == version("3").files
    assert known.made.quality == {
        "faces": 12,
        "unrefined": "there are no keyframes to fit it to",
        "race": [{"provider": "a", "score": 0.4}, {"provider": "b", "failed": "provider_error"},
                 {"provider": "c", "score": 0.7}],
    }  # fmt: skip


def test_the_judge_gets_every_mesh_and_says_where_the_winner_stands() -> None:
    place = Placement(scene="room", epoch=3, position_m=(1.0, 0.0, 2.0))
    known = went(went(job(IMAGE, providers=("a", "b")), version("1", placement=place)), version("2"))
    assert [(role, file.sha256[0]) for role, file in legs.handed_on(known)] == [("mesh", "1"), ("mesh", "2")]
    assert legs.params(known)["placements"] == [place.model_dump(mode="json"), None]
    elsewhere = place.model_copy(update={"position_m": (5.0, 0.0, 0.0)})
    known = went(known, verdicts(0.1, 0.2, placement=elsewhere.model_dump(mode="json")))
    assert known.made is not None
    assert (known.made.files, known.made.placement) == (version("2").files, elsewhere)
    assert "placement" not in known.made.quality["race"][1]


def test_without_a_picture_there_is_no_judge_and_fewer_problems_win() -> None:
    known = went(job(text="a mug", providers=("a", "b")), version("1", quality={"problems": ["open"]}))
    known = went(known, version("2", quality={"problems": []}))
    assert known.state == "publishing"
    assert known.made is not None
    assert known.made.files == version("2").files


def test_one_that_is_left_wins_nobody_fails_and_a_judge_that_fails_does_not_matter() -> None:
    alone = went(went(job(IMAGE, providers=("a", "b")), BROKE), version("2"))
    assert alone.state == "publishing"
    nobody = went(went(job(IMAGE, providers=("a", "b")), BROKE), BROKE)
    assert (nobody.state, nobody.failure) == ("failed", BROKE)
    assert legs.part(machine.retry(nobody, 9)) == "race"
    unjudged = went(went(went(job(IMAGE, providers=("a", "b")), version("1")), version("2")), BROKE)
    assert unjudged.state == "publishing"
    assert unjudged.made is not None
    assert unjudged.made.files == version("1").files
    strange = version("9", "json", quality={"verdicts": "none"})
    odd = went(went(went(job(IMAGE, providers=("a", "b")), version("1")), version("2")), strange)
    assert odd.state == "publishing"


def test_racers_that_find_it_unsuitable_or_have_no_room_are_out() -> None:
    known = job(IMAGE, providers=("a", "b", "c"))
    known = machine.pass_on(machine.start(known, "a", "1", 2), BROKE, 3)
    known = machine.rule_out(known, "b", BROKE, 3)
    assert legs.provider(known) == "c"
    known = machine.refuse(known, BROKE, 3)
    assert known.state == "failed"
    assert [leg.failure for leg in known.legs] == [BROKE, BROKE, BROKE]


def test_a_failure_that_may_pass_is_tried_again_before_the_next_has_its_turn() -> None:
    known = job(IMAGE, providers=("a", "b"), deadline_s=60)
    known = machine.fail(machine.start(known, "a", "1", 2), BROKE, RetryConfig(max_attempts=2), 3)
    assert (known.state, legs.provider(known), known.attempt) == ("queued", "a", 1)
    known = machine.fail(machine.start(known, "a", "1", 2), BROKE, RetryConfig(max_attempts=2), 3)
    assert (known.state, legs.provider(known), known.attempt) == ("queued", "b", 0)
    assert known.deadline_ns is None, "it has begun"
    assert machine.cancel(known, 4).state == "cancelled"


def test_a_picture_goes_before_whoever_needs_one() -> None:
    known = job(text="red cube", via="painter", task="text-to-3d-asset")
    assert (legs.provider(known), legs.output(known)) == ("painter", "image")
    failed = went(known, BROKE)
    assert failed.state == "failed"
    known = went(known, version("5", "png"))
    assert (legs.part(known), legs.provider(known)) == ("whole", None)
    assert [(file.role, file.sha256[0]) for file in legs.inputs(known)] == [("image", "5")]
    assert [(role, file.sha256[0]) for role, file in legs.handed_on(known)] == [("image", "5")]
    done = machine.make(machine.start(known, "relief", "1", 4), version("6"), 5)
    assert (done.state, done.made) == ("publishing", version("6"))


def raced(*scores: float, **wanted: Any) -> Job:
    """Judged by keyframes."""
    known = job(KEYFRAMES, providers=("a", "b")[: len(scores)], task="capture", **wanted)
    for digit, _ in enumerate(scores, 1):
        known = went(known, version(str(digit), quality={"faces": digit}, provenance={"licence": f"of {digit}"}))
    return went(known, verdicts(*scores, placement=PLACE))


def refinement(before: float, after: float) -> NewVersion:
    told = {"score_before": before, "score_after": after}
    return version("7", quality={"faces": 9, "refinement": told}, provenance={"provider": "refiner", "revision": "1"})


def test_what_wins_but_fits_badly_is_refined_and_what_became_of_it_published() -> None:
    known = raced(0.3, 0.5)
    assert (known.state, legs.part(known), legs.provider(known), legs.output(known)) == (
        "queued", "refine", "refiner", "mesh",
    )  # fmt: skip
    assert [(role, file.sha256[0]) for role, file in legs.handed_on(known)] == [("mesh", "2")]
    assert legs.params(known)["placements"] == [PLACE]
    shown = legs.winner(known)
    done = went(known, refinement(0.5, 0.9))
    assert done.state == "publishing"
    assert done.made is not None
    assert done.made.files == version("7").files
    assert done.made.quality["refinement"] == {"score_before": 0.5, "score_after": 0.9}
    assert [mark["score"] for mark in done.made.quality["race"]] == [0.3, 0.5]
    assert done.made.provenance["licence"] == "of 2", "its terms are those of whoever made it"
    assert done.made.provenance["refined_by"] == {"provider": "refiner", "revision": "1"}
    assert legs.winner(done) == shown, "what was shown meanwhile is what would have been published"


@pytest.mark.parametrize("made", [refinement(0.5, 0.5), refinement(0.5, 0.4), version("8", quality={"refinement": 3})])
def test_what_is_no_better_is_not_published_but_its_marks_are_kept(made: NewVersion) -> None:
    known = raced(0.3, 0.5)
    done = went(known, made)
    assert done.state == "publishing"
    assert done.made == legs.winner(known)
    assert done.legs[-1].made is None
    assert (done.legs[-1].verdict or {}).get("score_after") == (
        made.quality["refinement"]["score_after"] if made != version("8", quality={"refinement": 3}) else None
    )


def test_a_refiner_that_fails_changes_nothing_and_a_job_being_refined_can_be_cancelled() -> None:
    known = raced(0.3, 0.5)
    done = went(known, BROKE)
    assert (done.state, done.made, done.legs[-1].failure) == ("publishing", legs.winner(known), BROKE)
    running = machine.cancel(machine.start(known, "refiner", "1", 2), 3)
    assert running.is_cancelling
    assert machine.make(running, refinement(0.5, 0.9), 4).state == "cancelled"


def test_whether_it_is_refined_is_said() -> None:
    fits = raced(0.3, 0.9)
    assert (fits.state, legs.why_unrefined(fits)) == ("publishing", "it fits: its score is not below 0.8")
    assert fits.made is not None
    assert fits.made.quality["unrefined"] == legs.why_unrefined(fits)
    assert legs.part(raced(0.3, 0.9, refine_below=0.95)) == "refine"
    assert raced(0.3, 0.5, refine_below=0.0).state == "publishing"
    unjudged = job(KEYFRAMES, providers=("a", "b"), task="capture")
    unjudged = went(went(went(unjudged, version("1")), version("2")), BROKE)
    assert unjudged.made is not None
    assert unjudged.made.quality["unrefined"] == "nobody could judge how it fits"


def test_keyframes_tell_how_good_one_is_by_itself() -> None:
    assert legs.part(raced(0.5)) == "refine"
    alone = went(job(KEYFRAMES, providers=("a",), task="capture", refine_below=0.0), version("1"))
    assert alone.state == "publishing"


def test_progress_of_a_leg_is_its_share_of_the_whole() -> None:
    known = job(IMAGE, providers=("a", "b"))
    own = [("x", 1.0), ("y", 3.0)]
    assert legs.stages(known, own) == [("before", 0.0), *own, ("after", 8.0)]
    assert legs.stages(went(known, version("1")), own) == [("before", 4.0), *own, ("after", 4.0)]
    assert legs.stages(job(IMAGE), own) == own
    refining = raced(0.3, 0.5)
    assert legs.stages(refining, own) == [("before", 12.0), *own, ("after", 0.0)]
    assert legs.stages(job(KEYFRAMES, providers=("a", "b"), refine_below=0.0), own)[-1] == ("after", 8.0)


@pytest.mark.parametrize(
    "wanted",
    [
        {"providers": ("a", "a")},
        {"providers": ("a", "b"), "provider": "c"},
        {"via": "painter"},
        {"providers": 5 * ("a",)},
    ],
)
def test_what_does_not_fit_together_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Wanted(**wanted)
