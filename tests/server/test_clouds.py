"""Points are published anew where somebody could see the difference, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mapping.changes import KeyframeId
from mapping.scene_map import SceneMap
from mapping.transforms import F64, rigid
from server.bus.encode import Publication
from server.clouds import Clouds
from tests.mapping.walking import Phone, feed

KEYFRAME = KeyframeId("a/0")


def watched() -> tuple[SceneMap, Clouds, F64]:
    """A map with one keyframe, whose points are out, and the keyframe's pose."""
    scene, phone = SceneMap(), Phone("a", posed=True)
    (pose,) = phone.poses(1)
    clouds = Clouds(scene, 500)
    for change in feed(scene, phone, [pose]):
        clouds.note(change.poses)
    assert [item.key for item in clouds.take(8)] == [(KEYFRAME,)]
    return scene, clouds, pose


def moved(scene: SceneMap, clouds: Clouds, pose: F64, by_m: float) -> list[object]:
    """What is published when the keyframe's pose is corrected."""
    phone = Phone("a", posed=True)
    tracked, _, _ = phone.sees(pose)
    now = rigid(np.eye(3), np.array([by_m, 0.0, 0.0])) @ pose
    clouds.note(scene.correct(replace(tracked, corrected={0: now})).poses)
    return list(clouds.take(8))


def test_a_trembling_keyframe_is_not_told_again_until_its_steps_add_up() -> None:
    scene, clouds, pose = watched()
    told = [step_mm for step_mm in range(1, 13) if moved(scene, clouds, pose, 1e-3 * step_mm)]
    assert told == [6, 12]


def test_better_depth_and_a_new_epoch_are_told_though_nothing_moved() -> None:
    scene, clouds, _ = watched()
    clouds.note([KEYFRAME])
    assert not clouds
    clouds.start_afresh()
    clouds.note([KEYFRAME])
    (again,) = clouds.take(8)
    assert isinstance(again, Publication)
    kept = scene._kept.get(KEYFRAME)
    assert kept is not None
    kept.look_again(kept.depth_m(kept.fused_in(scene.world_from_component(kept.component[0], 0))))
    clouds.note([KEYFRAME])
    assert len(list(clouds.take(8))) == 1


def test_points_of_a_keyframe_that_is_kept_no_more_are_taken_back() -> None:
    scene, clouds, _ = watched()
    scene.forget(KEYFRAME.split("/")[0])
    (removal,) = clouds.take(8)
    assert (removal.layer, removal.key) == ("points", (KEYFRAME,))
    assert not isinstance(removal, Publication)
