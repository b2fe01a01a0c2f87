"""What a job makes goes onto the bus once, and into the slot that it was asked for as long as nobody minds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mapping.transforms import Sim3
from server.assets.bus import AssetBus
from server.assets.database import Gone
from server.assets.swap import Policy, target
from server.assets.values import AssetFile, NewAsset, NewVersion, Placement, Ref
from server.generation.provider import GenerationFailed
from server.generation.providers import prims
from server.generation.publish import Publisher
from server.jobs.values import Job, Wanted

NOW = Policy("now")


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[AssetBus]:
    with AssetBus(tmp_path / "assets") as opened:
        yield opened


def job(slot: str | None = "here", asset: str = "cube") -> Job:
    return Job(job=f"job-{asset}", wanted=Wanted(slot=slot), asset=asset, created_ns=1, changed_ns=1)


def made(bus: AssetBus, content: bytes, by: Job) -> NewVersion:
    file = AssetFile(role="lod0", format="glb", sha256=bus.blobs.put(content), size=len(content))
    return NewVersion(files=(file,), provenance={"job": by.job})


def shown(bus: AssetBus, slot: str = "here") -> Ref | None:
    return target(bus.do(lambda catalog, _: catalog.slot(slot)))


def test_each_version_of_a_job_takes_the_place_of_the_one_before(bus: AssetBus) -> None:
    publisher, one = Publisher(bus), job()
    assert publisher.publish(one, made(bus, b"rough", one), "offer 1") == 1
    assert shown(bus) == Ref("cube", 1)
    assert publisher.publish(one, made(bus, b"fine", one)) == 2
    assert shown(bus) == Ref("cube", 2)


def test_a_publication_that_is_said_twice_changes_the_slot_once(bus: AssetBus) -> None:
    publisher, one = Publisher(bus), job()
    version = made(bus, b"fine", one)
    publisher.publish(one, version)
    before = bus.do(lambda catalog, _: catalog.slot("here"))
    assert publisher.publish(one, version) == 1
    assert bus.do(lambda catalog, _: catalog.slot("here")) == before


def test_what_was_shown_and_stays_the_best_is_no_new_version(bus: AssetBus) -> None:
    publisher, one, other = Publisher(bus), job(), job().model_copy(update={"job": "job-other"})
    winner = made(bus, b"winner", one)
    assert publisher.publish(one, winner, "winner") == 1
    assert publisher.publish(one, winner) == 1, "it is the result, too"
    told = winner.model_copy(update={"quality": {"faces": 3}})
    assert publisher.publish(one, told) == 2
    assert publisher.publish(one, told) == 2
    others = told.model_copy(update={"provenance": {"job": other.job}})
    assert publisher.publish(other, others) == 3
    assert publisher.publish(one, told) == 2, "what was published once is not again"


def test_who_puts_something_else_there_meanwhile_keeps_it(bus: AssetBus) -> None:
    publisher, one = Publisher(bus), job()
    publisher.publish(one, made(bus, b"rough", one), "offer 1")
    bus.do(lambda catalog, now_ns: catalog.register("chair", NewAsset(name="chair"), now_ns))
    bus.do(lambda catalog, now_ns: catalog.publish("chair", made(bus, b"chair", one), None, now_ns))
    bus.do(lambda catalog, now_ns: catalog.swap("here", None, Ref("chair", 1), None, NOW, None, now_ns))
    assert publisher.publish(one, made(bus, b"fine", one)) == 2
    assert shown(bus) == Ref("chair", 1)


def test_another_job_may_take_a_slot_over(bus: AssetBus) -> None:
    publisher, one, other = Publisher(bus), job(), job(asset="chair")
    publisher.publish(one, made(bus, b"cube", one))
    publisher.publish(other, made(bus, b"chair", other))
    assert shown(bus) == Ref("chair", 1)


def test_without_a_slot_none_is_made(bus: AssetBus) -> None:
    one = job(slot=None)
    Publisher(bus).publish(one, made(bus, b"cube", one))
    assert bus.do(lambda catalog, _: catalog.slots()) == []


def test_what_somebody_took_out_of_the_slot_does_not_come_back(bus: AssetBus) -> None:
    publisher, one = Publisher(bus), job()
    publisher.publish(one, made(bus, b"rough", one), "offer 1")
    bus.do(lambda catalog, now_ns: catalog.remove_slot("here", now_ns))
    assert publisher.publish(one, made(bus, b"fine", one)) == 2
    assert bus.do(lambda catalog, _: catalog.find_slot("here")) is None


def test_what_a_failed_job_showed_is_taken_back_as_often_as_it_fails(bus: AssetBus) -> None:
    publisher, good, bad = Publisher(bus), job(), job().model_copy(update={"job": "job-bad"})
    publisher.publish(good, made(bus, b"good", good))
    for number in range(2):
        publisher.publish(bad, made(bus, b"rough %d" % number, bad), f"offer {number}")
        for _ in range(2):
            publisher.withdraw(bad)
        newest = bus.do(lambda catalog, _: catalog.version("cube", None))
        assert (newest.version, newest.provenance["job"]) == (2 * number + 3, good.job)
        assert shown(bus) == Ref("cube", newest.version)


def test_previews_of_others_are_nothing_to_go_back_to(bus: AssetBus) -> None:
    publisher, jobs = Publisher(bus), [job().model_copy(update={"job": f"job-{n}"}) for n in range(3)]
    publisher.offer(jobs[0], made(bus, b"rough 0", jobs[0]), "offer 1")
    publisher.withdraw(jobs[0])
    for one in jobs[1:]:
        publisher.offer(one, made(bus, b"rough %s" % one.job.encode(), one), "offer 1")
    for one in jobs[1:]:
        publisher.withdraw(one)
    with pytest.raises(Gone):
        bus.get("cube")


def test_what_was_shown_is_taken_back_wherever_its_map_is_by_now(bus: AssetBus) -> None:
    publisher, good, bad = Publisher(bus), job(), job().model_copy(update={"job": "job-bad"})
    bus.do(lambda catalog, now_ns: catalog.open_map("main", "first", 1, now_ns))
    stood = made(bus, b"good", good).model_copy(
        update={"placement": Placement(scene="main", epoch=1, position_m=(1.0, 0.0, 2.0))}
    )
    publisher.publish(good, stood)
    bus.do(lambda catalog, now_ns: catalog.open_map("main", "second", 7, now_ns))
    bus.do(lambda catalog, now_ns: catalog.move_map("main", Sim3.identity(), 8, now_ns))
    publisher.publish(bad, made(bus, b"rough", bad), "offer 1")
    publisher.withdraw(bad)
    newest = bus.do(lambda catalog, _: catalog.version("cube", None))
    assert (newest.version, newest.files) == (3, stood.files)


def test_an_asset_goes_with_the_job_that_made_it_and_one_of_somebody_elses_stays(bus: AssetBus) -> None:
    publisher, one, other = Publisher(bus), job(), job(asset="chair")
    publisher.publish(one, made(bus, b"rough", one), "offer 1")
    publisher.withdraw(one)
    with pytest.raises(Gone):
        bus.get("cube")
    bus.do(lambda catalog, now_ns: catalog.register("chair", NewAsset(name="chair"), now_ns))
    publisher.withdraw(other)
    assert bus.get("chair").latest == 0, "it had shown nothing"
    publisher.publish(other, made(bus, b"rough", other), "offer 1")
    publisher.withdraw(other)
    assert bus.get("chair").latest == 1, "it is not the job's to delete"
    publisher.withdraw(job(asset="nobody"))


@pytest.mark.parametrize(
    ("suffix", "right"),
    [("step", b"ISO-10303-21;\n"), ("spz", b"\x1f\x8b\x08"), ("sog", b"PK\x03\x04"), ("ktx2", b"\xabKTX 20\xbb")],
)
def test_files_are_what_their_names_say(suffix: str, right: bytes, bus: AssetBus, tmp_path: Path) -> None:
    publisher, description = Publisher(bus), prims.create({}).describe()
    path = tmp_path / f"thing.{suffix}"
    file = {"role": "other", "path": str(path), "encoding": "identity", "extensions": [], "triangles": None}
    told = {"files": [file], "metadata": {}}
    path.write_bytes(right + b"more")
    assert publisher.store(job(), description, told, tmp_path).files[0].format == suffix
    path.write_bytes(b"something else")
    with pytest.raises(GenerationFailed, match=f"is no {suffix}"):
        publisher.store(job(), description, told, tmp_path)
