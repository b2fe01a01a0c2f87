"""What a client that opens a filled map is sent first."""

from __future__ import annotations

from mapping.transforms import Sim3
from server import protocol as p
from server.bus.channel import Channel
from server.bus.encode import Publication
from server.bus.outbox import Outbox
from server.protocol import DEFAULT_LAYERS, Layer, Resume, Roi, unpack_server

TILE_M = 4.0


def publish(channel: Channel, layer: Layer, *at: int) -> None:
    for x in at:
        key = (x,) if layer in ("points", "pose", "thumbnail") else (x, 0)
        size_m = TILE_M if layer in ("nav", "occluder", "mesh") else 0.0
        footprint_m = None if layer == "thumbnail" else (x * TILE_M, 0.0, x * TILE_M + size_m, size_m)
        channel.publish(Publication(layer, key, {}, footprint_m=footprint_m), capture_ns=1, infer_ns=2, now_ns=3)


def filled(camera_at: int | None = None) -> Channel:
    """Many keyframes came before the first tile, as they do."""
    channel = Channel("s", "lineage")
    publish(channel, "points", *range(655))
    for layer in ("mesh", "occluder", "nav"):
        publish(channel, layer, *range(6))
    if camera_at is not None:
        publish(channel, "thumbnail", camera_at)
        publish(channel, "pose", camera_at)
    return channel


def opened(channel: Channel, roi: Roi | None = None, resume: Resume | None = None) -> Outbox:
    outbox = Outbox(max_message_bytes=1 << 20)
    outbox.subscribe(channel, frozenset(DEFAULT_LAYERS), roi=roi, resume=resume)
    return outbox


def deltas(outbox: Outbox, count: int = 10_000) -> list[tuple[str, int]]:
    frames = [frame for _ in range(count) if (frame := outbox.pop(0.0)) is not None]
    return [(m.layer, int(m.key[0])) for f in frames if isinstance(m := unpack_server(f)[0], p.Delta)]


def test_floor_surfaces_and_occluders_come_before_any_points() -> None:
    layers = [layer for layer, _ in deltas(opened(filled(camera_at=2)))]
    assert list(dict.fromkeys(layers)) == ["pose", "thumbnail", "nav", "occluder", "mesh", "points"]
    assert len(layers) == 655 + 3 * 6 + 2


def test_each_layer_comes_nearest_to_the_newest_camera_first() -> None:
    order = deltas(opened(filled(camera_at=4)))
    by_layer = {layer: [x for one, x in order if one == layer] for layer in ("nav", "occluder", "mesh", "points")}
    for layer in ("nav", "occluder", "mesh"):
        assert by_layer[layer] == [4, 3, 5, 2, 1, 0]  # the camera stands on the border of 3 and 4
    assert by_layer["points"][:5] == [4, 5, 3, 6, 2]


def test_a_region_of_interest_is_nearer_than_any_camera() -> None:
    order = deltas(opened(filled(camera_at=5), roi=Roi(radius_m=1e3, center_m=(1.0, 0.0, 1.0))))
    assert [x for layer, x in order if layer == "nav"] == list(range(6))


def test_without_a_place_the_newest_comes_first() -> None:
    points = [x for layer, x in deltas(opened(filled())) if layer == "points"]
    assert points == list(reversed(range(655)))


def test_tiles_of_a_newer_epoch_do_not_wait_for_points_of_an_older() -> None:
    channel = filled()
    channel.move(Sim3.identity(), 1, "test")
    publish(channel, "nav", *range(6))
    outbox = opened(channel)
    kinds = [type(unpack_server(outbox.pop(0.0) or b"")[0]).__name__ for _ in range(2)]
    assert kinds == ["SnapshotBegin", "Xform"]
    assert deltas(opened(channel))[:6] == [("nav", x) for x in reversed(range(6))]


def test_who_resumes_gets_what_changed_in_the_same_order() -> None:
    channel = filled(camera_at=0)
    since = Resume(channel.lineage, channel.seq)
    publish(channel, "points", *range(655, 700))
    publish(channel, "nav", 3, 1)
    order = deltas(opened(channel, resume=since))
    assert order[:3] == [("nav", 1), ("nav", 3), ("points", 655)]
    assert len(order) == 47


def test_what_is_published_meanwhile_takes_turns_with_the_snapshot() -> None:
    channel = filled(camera_at=0)
    outbox = opened(channel)
    deltas(outbox, 100)
    publish(channel, "nav", *range(10, 20))
    waiting = deltas(outbox, 20)
    assert [layer for layer, _ in waiting].count("nav") == 10
    assert [layer for layer, _ in waiting].count("points") == 10
