"""Rules of the outbox that a client relies on, one by one."""

from __future__ import annotations

from mapping.transforms import Sim3
from server import protocol as p
from server.bus.channel import Channel
from server.bus.encode import Publication, Removal
from server.bus.outbox import Outbox
from server.protocol import unpack_server

NAV: frozenset[p.Layer] = frozenset({"nav"})


def nav(i: int) -> Publication:
    return Publication("nav", (i, 0), {}, footprint_m=(float(i), 0.0, i + 1.0, 1.0))


def publish(channel: Channel, *items: Publication | Removal) -> None:
    for item in items:
        channel.publish(item, capture_ns=1, infer_ns=2, now_ns=3)


def drain(outbox: Outbox, now: float) -> list[p.ServerMessage]:
    return [unpack_server(frame)[0] for frame in iter(lambda: outbox.pop(now), None)]


def made(max_controls: int = 8, **how: object) -> tuple[Channel, Outbox]:
    channel, outbox = Channel("s", "l"), Outbox(max_message_bytes=1 << 20, max_controls=max_controls)
    outbox.subscribe(channel, NAV, **how)  # type: ignore[arg-type]
    drain(outbox, 0.0)
    return channel, outbox


def test_the_newest_version_goes_and_the_bytes_are_shared() -> None:
    channel, first = made()
    second = Outbox(max_message_bytes=1 << 20)
    second.subscribe(channel, NAV)
    drain(second, 0.0)
    publish(channel, nav(1), nav(2), nav(1), nav(1))
    frames = [list(iter(lambda box=box: box.pop(0.5), None)) for box in (first, second)]  # type: ignore[misc]
    assert [unpack_server(f)[0].ver for f in frames[0]] == [1, 3]  # type: ignore[union-attr]
    assert all(a is b for a, b in zip(*frames, strict=True))


def test_only_the_nav_tiles_of_the_agents_asked_for_are_sent() -> None:
    def tile(agent: str) -> Publication:
        return Publication("nav", (0, 0, agent), {}, footprint_m=(0.0, 0.0, 1.0, 1.0))

    channel, outbox = Channel("s", "l"), Outbox(max_message_bytes=1 << 20)
    publish(channel, tile("human"), tile("cat"), Publication("mesh", (0, 0), {}))
    outbox.subscribe(channel, frozenset({"nav", "mesh"}), agents=frozenset({"cat"}))
    first = [m.key for m in drain(outbox, 0.0) if isinstance(m, p.Delta)]
    assert sorted(first, key=len) == [[0, 0], [0, 0, "cat"]]
    publish(channel, tile("human"), tile("cat"), Removal("nav", (0, 0, "human")))
    assert [getattr(m, "key", None) for m in drain(outbox, 0.5)] == [[0, 0, "cat"]]


def test_synced_tells_no_more_than_was_sent() -> None:
    channel, outbox = made()
    publish(channel, nav(1), nav(2), nav(3))
    (synced,) = [m for m in [unpack_server(outbox.pop(5.0) or b"")[0]] if isinstance(m, p.Synced)] or [None]
    assert synced is None or (synced.resume is not None and synced.resume.seq == 0)
    assert isinstance(drain(outbox, 5.0)[-1], p.Delta)
    (later,) = drain(outbox, 6.5)
    assert isinstance(later, p.Synced)
    assert later.resume is not None
    assert later.resume.seq == 3


def test_a_resume_point_reached_with_messages_waiting_asks_for_them_again() -> None:
    channel, outbox = made(max_hz=0.1)
    publish(channel, nav(1), nav(2))
    drain(outbox, 2.0)
    publish(channel, nav(1), nav(3))
    tokens = [m.resume for m in drain(outbox, 4.0) + drain(outbox, 6.0) if isinstance(m, p.Synced)]
    assert [token and token.seq for token in tokens] == [2]  # nav 3 was sent, but the older nav 1 waits for its turn
    publish(channel, nav(2))
    outbox.close()
    back = Outbox(max_message_bytes=1 << 20)
    back.subscribe(channel, NAV, resume=tokens[-1])
    assert sorted(m.key for m in drain(back, 4.0) if isinstance(m, p.Delta)) == [[1, 0], [2, 0], [3, 0]]


def test_what_is_taken_back_voids_the_resume_point_first() -> None:
    channel, outbox = made(roi=p.Roi(radius_m=2.0, center_m=(0.0, 0.0, 0.0)))
    publish(channel, nav(1), nav(9))
    assert isinstance(drain(outbox, 2.0)[-1], p.Delta | p.Synced)
    drain(outbox, 4.0)
    outbox.update_roi("s", p.Roi(radius_m=2.0, center_m=(9.0, 0.0, 0.0)))
    got = drain(outbox, 4.1)
    kinds = [type(m).__name__ for m in got]
    assert kinds[0] == "Synced"
    assert got[0].resume is None  # type: ignore[union-attr]
    assert sorted(kinds[1:]) == ["Delta", "Remove", "Synced"]
    assert got[-1].resume.roi.center_m == (9.0, 0.0, 0.0)  # type: ignore[union-attr]


def test_max_hz_holds_per_key_and_wait_says_until_when() -> None:
    channel, outbox = made(max_hz=2.0)
    publish(channel, nav(1), nav(2))
    assert len([m for m in drain(outbox, 10.0) if isinstance(m, p.Delta)]) == 2
    publish(channel, nav(1))
    assert [m for m in drain(outbox, 10.2) if isinstance(m, p.Delta)] == []
    wait_s = outbox.wait_s(10.2)
    assert wait_s is not None
    assert 0.25 < wait_s < 0.35
    publish(channel, nav(1))
    assert [m.ver for m in drain(outbox, 10.5) if isinstance(m, p.Delta)] == [3]


def test_a_slowed_client_still_gets_removals_at_once() -> None:
    channel, outbox = made()
    publish(channel, nav(1))
    drain(outbox, 1.0)
    publish(channel, nav(1), Removal("nav", (1, 0)))
    got = [unpack_server(f)[0] for f in iter(lambda: outbox.pop(1.1, 3.2), None)]
    assert [type(m).__name__ for m in got if not isinstance(m, p.Synced)] == ["Remove"]


def test_controls_go_first_and_too_many_are_the_end() -> None:
    channel, outbox = made(max_controls=3)
    publish(channel, nav(1))
    for i in range(3):
        outbox.post(p.Pong(t0_ns=i, t1_ns=0, t2_ns=0))
    assert not outbox.is_overflowing
    outbox.post(p.Pong(t0_ns=3, t1_ns=0, t2_ns=0))
    assert outbox.is_overflowing
    assert [type(m).__name__ for m in drain(outbox, 0.5)][:3] == ["Pong"] * 3


def test_scenes_take_turns() -> None:
    outbox, channels = Outbox(max_message_bytes=1 << 20), [Channel(name, "l") for name in "ab"]
    for channel in channels:
        outbox.subscribe(channel, NAV)
    drain(outbox, 0.0)
    for channel in channels:
        publish(channel, *map(nav, range(3)))
    scenes = [m.scene for m in drain(outbox, 0.5) if isinstance(m, p.Delta)]
    assert scenes in (list("ababab"), list("bababa"))


def test_a_restart_makes_clients_start_over() -> None:
    channel, outbox = made()
    publish(channel, nav(1))
    drain(outbox, 2.0)
    restored = Channel("s", "l")
    restored.restore(channel.entries(), seq=1000)
    back = Outbox(max_message_bytes=1 << 20)
    back.subscribe(restored, NAV, resume=p.Resume("l", 1))
    begin = drain(back, 0.0)[0]
    assert isinstance(begin, p.SnapshotBegin)
    assert not begin.resumed
    publish(restored, nav(2))
    assert restored.seq == 1001


def test_what_came_back_is_not_removed_by_an_older_removal() -> None:
    channel, outbox = made()
    outbox.close()
    publish(channel, nav(1), Removal("nav", (1, 0)))
    back = Outbox(max_message_bytes=1 << 20)
    back.subscribe(channel, NAV, resume=p.Resume("l", 0))
    publish(channel, nav(1))
    got = [type(m).__name__ for m in drain(back, 0.0) if isinstance(m, p.Delta | p.Remove)]
    assert got == ["Delta"]


def test_deltas_wait_for_the_moves_of_the_snapshot() -> None:
    channel, outbox = made()
    outbox.close()
    publish(channel, nav(1))
    channel.move(Sim3.identity(), 1, "test")
    late = Outbox(max_message_bytes=1 << 20)
    late.subscribe(channel, NAV)
    publish(channel, nav(2))
    got = [(type(m).__name__, m.epoch) for m in drain(late, 0.0) if isinstance(m, p.Delta | p.Xform)]
    assert got[0] == ("Xform", 1)
    assert sorted(got[1:]) == [("Delta", 0), ("Delta", 1)]


def test_a_region_that_grows_voids_the_resume_point_too() -> None:
    channel, outbox = made(roi=p.Roi(radius_m=2.0, center_m=(0.0, 0.0, 0.0)))
    publish(channel, nav(9))
    drain(outbox, 2.0)
    outbox.update_roi("s", None)
    got = drain(outbox, 2.1)
    assert [type(m).__name__ for m in got] == ["Synced", "Delta"]
    assert got[0].resume is None  # type: ignore[union-attr]
