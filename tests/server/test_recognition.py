"""Recognition beside the map: the newest keyframe of each camera, all that the tracker said, and nothing stops it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np

from mapping.changes import KeyframeId
from mapping.places.agreement import Seen
from mapping.places.place import Place
from mapping.tracking.tracked import Tracked
from server.recognition import Recognition
from streams.frame import Frame, Image, Intrinsics, StreamId

K = Intrinsics.from_fov(8, 8)


class Looker:
    """Stands in for the recogniser: remembers what it saw, stumbles over keyframe 13."""

    def __init__(self) -> None:
        self.seen: list[Tracked] = []
        self.forgotten: list[StreamId] = []
        self.is_closed = False

    def see(self, tracked: Tracked, frame: Frame) -> list[Seen]:
        if tracked.seq == 13:
            raise ValueError("cannot be read")
        self.seen.append(tracked)
        pair: Any = None
        return [Seen(KeyframeId("a/0"), (frame.stream, 0), KeyframeId("b/0"), (StreamId("b"), 0), pair)]

    def settled(self) -> list[Place]:
        return []

    def rest(self) -> list[Place]:
        place: Any = "the last"
        return [place]

    def forget(self, stream: StreamId) -> None:
        self.forgotten.append(stream)

    def close(self) -> None:
        self.is_closed = True


class Told:
    def __init__(self) -> None:
        self.pairs: list[Seen] = []
        self.kept: list[Place] = []
        self.looker = Looker()
        looker: Any = self.looker
        self.recognition = Recognition(looker, self.tell, self.keep)

    async def tell(self, seen: list[Seen]) -> None:
        self.pairs += seen

    async def keep(self, places: list[Place]) -> None:
        self.kept += places

    async def until(self, num_seen: int) -> None:
        async with asyncio.timeout(30):
            while len(self.pairs) < num_seen:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0)


def keyframe(stream: str, seq: int, corrected: dict[int, np.ndarray] | None = None) -> tuple[Tracked, Frame]:
    frame = Frame(StreamId(stream), seq, seq, seq, Image(rgb=np.zeros((8, 8, 3), np.uint8)), K)
    tracked = Tracked(StreamId(stream), seq, seq, "tracked", 0, np.eye(4), K, keyframe=True)
    return replace(tracked, corrected=corrected or {}), frame


async def test_the_newest_keyframe_of_each_camera_is_looked_at_with_all_corrections() -> None:
    told = Told()
    told.recognition.offer(*keyframe("a", 1, {0: np.eye(4), 7: np.eye(4)}))
    told.recognition.offer(*keyframe("b", 1))
    told.recognition.offer(*keyframe("a", 2, {0: 2 * np.eye(4)}))
    await told.until(2)
    assert sorted((t.stream, t.seq) for t in told.looker.seen) == [("a", 2), ("b", 1)]
    newest = next(t for t in told.looker.seen if t.stream == "a")
    assert newest.corrected.keys() == {0, 7}
    assert newest.corrected[0][0, 0] == 2
    assert told.recognition.overtaken == 1
    await told.recognition.close()


async def test_a_keyframe_that_cannot_be_looked_at_stops_nobody() -> None:
    told = Told()
    told.recognition.offer(*keyframe("a", 13))
    told.recognition.offer(*keyframe("b", 1))
    await told.until(1)
    told.recognition.offer(*keyframe("a", 14))
    await told.until(2)
    assert [t.seq for t in told.looker.seen] == [1, 14]
    await told.recognition.close()


async def test_what_waits_of_a_forgotten_camera_is_not_looked_at_and_the_end_stores_the_rest() -> None:
    told = Told()
    told.recognition.offer(*keyframe("a", 1))
    await told.recognition.forget(StreamId("a"))
    await told.recognition.close()
    assert told.looker.seen == []
    assert told.looker.forgotten == ["a"]
    assert told.kept == ["the last"]
    assert told.looker.is_closed
