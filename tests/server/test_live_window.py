"""What an engine is given to see: its own walk with poses, other walks' pictures without, the new keyframe last."""

from __future__ import annotations

import numpy as np

from server.live import LiveStream
from streams.cache import KeyframeCache
from streams.frame import Frame, Image, Intrinsics, StreamId
from streams.keyframes import Keyframe
from tests.server.filming import play

K = Intrinsics.from_fov(16, 12)


def keyframe(stream: str, seq: int, component: int = 0) -> Keyframe:
    at = 10**9 * (seq + 1)
    frame = Frame(StreamId(stream), seq, at, at, Image(rgb=np.zeros((12, 16, 3), np.uint8)), K)
    return Keyframe(frame, component, np.eye(4), np.ones((5, 3), np.float32))


async def test_other_walks_are_shown_without_the_poses_that_mean_nothing_here() -> None:
    cache, newest = KeyframeCache(), keyframe("a", 9, component=1)
    before = [keyframe("b", 0), keyframe("a", 1), keyframe("a", 5, 1), keyframe("b", 6), keyframe("a", 7, 1)]
    for one in (*before, newest):
        cache.add(one)
    stream = LiveStream(StreamId("a"), "replay", play([]))
    views = stream.window(cache, newest, ["a/5", "b/0", "b/6", "a/1", "a/7", "a/9"]).views
    assert [view.keyframe for view in views] == ["a/5", "b/0", "a/1", "b/6", "a/7", "a/9"]
    assert [view.prior_window_from_camera is None for view in views] == [False, True, True, True, False, False]
    assert [view.landmarks_window is None for view in views] == [False, True, True, True, False, False]
    alone = stream.window(cache, keyframe("a", 11, component=2), ["b/0"]).views
    assert [view.keyframe for view in alone] == ["a/11"], "with nothing of its own there is no unit"
