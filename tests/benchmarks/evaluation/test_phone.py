"""Phones that differ from the camera that recorded the clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.clips import Clip
from benchmarks.evaluation.cutting import interleaved, jittered, pieces
from benchmarks.evaluation.phone import Phone, Reel
from mapping.transforms import project
from tests.mapping.painted_room import CAMERA


def test_a_zoomed_picture_fits_its_camera(painted: Path) -> None:
    """A point that the whole picture shows somewhere is where the narrower camera says it is."""
    clip = Clip.open(painted)
    plain, zoomed = Phone.of(clip), replace(Phone.of(clip), zoom=0.75)
    whole, part = plain.frame(0, 0).image.gray, zoomed.frame(0, 0).image.gray
    rays = np.array([[x, y, 1.0] for x in (-0.2, 0.0, 0.3) for y in (-0.2, 0.1)])
    for a, b in zip(project(rays, CAMERA), project(rays, zoomed.camera), strict=True):
        there, here = whole[int(a[1]), int(a[0])], part[int(b[1]), int(b[0])]
        assert abs(int(there) - int(here)) < 25


def test_what_it_states_may_be_wrong(painted: Path) -> None:
    phone = replace(Phone.of(Clip.open(painted)), focal_error=0.02, clock_offset_s=5.0, starts_s=1.0)
    frame = phone.frame(3, 10**18)
    assert frame.intrinsics is not None
    assert frame.intrinsics.fx == pytest.approx(1.02 * CAMERA.fx)
    stamped = phone.stamped(frame)
    assert stamped.capture_ns == 10**18 + round((1.0 + 3 / 30 + 5.0) * 1e9)
    assert phone.true_time_ns(stamped) == frame.capture_ns


def test_a_gravity_sample_is_near_the_truth(painted: Path) -> None:
    phone = replace(Phone.of(Clip.open(painted)), motion="first")
    motion = phone.frame(0, 0).motion
    assert motion is not None
    assert motion.up_camera is not None
    pose = phone.true_pose(0)
    assert pose is not None
    assert pose[:3, :3] @ motion.up_camera @ [0, 1, 0] > np.cos(np.radians(2.5))
    assert phone.frame(1, 0).motion is None


def test_pieces_overlap_and_cover_and_interleaved_share_out(painted: Path) -> None:
    clip = Clip.open(painted)
    first, second = pieces(clip, 2, overlap=0.5)
    assert set(first.frames) | set(second.frames) == set(range(90))
    assert len(set(first.frames) & set(second.frames)) == pytest.approx(22, abs=2)
    assert first.due_s(first.frames[0]) == second.due_s(second.frames[0]) == 0.0
    a, b = interleaved(clip, 2)
    assert set(a.frames).isdisjoint(b.frames)
    assert b.due_s(1) == pytest.approx(1 / 30)
    names = [phone.name for phone in (first, second)]
    assert len(set(names)) == 2
    assert [p.zoom for p in jittered([a, b], 0)] == [p.zoom for p in jittered([a, b], 0)]
    assert jittered([a, b], 0)[0].zoom != jittered([a, b], 1)[0].zoom


def test_a_reel_ends_when_closed(painted: Path) -> None:
    reel = Reel(Phone.of(Clip.open(painted)))
    frames = reel.frames()
    assert [next(frames).seq for _ in range(3)] == [0, 1, 2]
    reel.close()
    assert list(frames) == []
    assert reel.decode_cpu_s > 0
