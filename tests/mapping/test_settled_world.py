"""Cues after a restart, and after the phone is gone that began the map: they work, or say why they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.metric import markers
from mapping.scene_map import SceneMap
from tests.mapping.test_scene_map import visit_marker
from tests.mapping.walking import Phone, feed, off_room, surface_error_m

EDGE = np.array([[-0.4, 0.6, -1.0], [0.4, 0.6, -1.0]])


def of_two_phones() -> tuple[SceneMap, Phone, Phone]:
    """A map without scale that a phone began and a second one joined."""
    scene, first, second = SceneMap(), Phone("a", unit=0.4), Phone("b", unit=2.0, seed=5)
    feed(scene, first, first.poses(4))
    feed(scene, second, second.poses(8))
    scene.align(second.stream, 0, off_room(scene, first) @ second.component_from_room.inverse())
    scene.fuse()
    assert scene.status.scale_source == "none"
    return scene, first, second


def test_who_is_left_carries_the_world_on_and_learns_its_scale() -> None:
    scene, first, second = of_two_phones()
    before, epoch = off_room(scene, second), scene.status.epoch
    scene.forget(first.stream)
    np.testing.assert_allclose(off_room(scene, second).apply(EDGE), before.apply(EDGE), atol=1e-9)
    a, b = before.apply(EDGE)
    scene.declare_distance(a, b, 0.8)
    change = scene.fuse()
    assert (change.epoch, change.reason) == (epoch + 1, "scale")
    assert scene.status.scale_source == "distance"
    assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.03)
    assert surface_error_m(scene, off_room(scene, second)) < 0.01


def test_so_does_how_high_it_is_carried() -> None:
    scene, first, second = of_two_phones()
    scene.forget(first.stream)
    scene.declare_camera_height(second.stream, 1.5)
    scene.fuse()
    assert scene.status.scale_source == "camera_height"
    assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.08)


def test_so_does_a_marker_that_it_sees_later() -> None:
    scene, first, second = of_two_phones()
    scene.forget(first.stream)
    visit_marker(scene, second)
    feed(scene, second, second.poses(8))  # until the next look at what is known
    assert scene.status.scale_source == "marker"
    assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.03)


def test_a_metric_world_keeps_its_claims_when_its_first_phone_goes() -> None:
    scene, first, second = of_two_phones()
    a, b = off_room(scene, first).apply(EDGE)
    scene.declare_distance(a, b, 0.8)
    scene.fuse()
    before = scene.status
    scene.forget(first.stream)
    assert scene.fuse().new_from_old is None
    after = scene.status
    assert (after.scale_source, after.scale_sigma, after.epoch) == ("distance", before.scale_sigma, before.epoch)
    assert off_room(scene, second).scale == pytest.approx(1.0, rel=0.03)


def test_a_restored_map_without_scale_refuses_every_cue_and_says_what_to_do() -> None:
    scene, phone = SceneMap(), Phone("a", unit=0.4)
    feed(scene, phone, phone.poses(4))
    again = SceneMap()
    again.restore(scene.blocks(scene.voxels.block_keys()), scene.snapshot())
    with pytest.raises(ValueError, match="new scene"):
        again.declare_distance(np.zeros(3), np.ones(3), 1.0)
    with pytest.raises(ValueError, match="new scene"):
        again.declare_camera_height(phone.stream, 1.5)
    with pytest.raises(ValueError, match="new scene"):
        again.declare_markers(markers.Config(size_m=0.2))
    assert again.snapshot().declared is None


def test_so_does_a_map_whose_only_phone_was_deleted() -> None:
    scene, phone = SceneMap(), Phone("a", unit=0.4)
    feed(scene, phone, phone.poses(4))
    scene.forget(phone.stream)
    with pytest.raises(ValueError, match="new scene"):
        scene.declare_distance(np.zeros(3), np.ones(3), 1.0)
    assert scene.fuse().new_from_old is None
