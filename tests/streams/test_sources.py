from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.frame import Intrinsics, StreamId
from streams.sources import SourceError, open_source
from streams.sources.folder import read_camera, read_trajectory
from streams.sources.play import Player

CAM = StreamId("cam")
DATA = Path(os.environ.get("COMMONGROUND_DATA", Path(__file__).parents[3] / "shared" / "data"))


def write_video(path: Path, sizes: list[tuple[int, int]], codec: str = "mpeg4") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i, (width, height) in enumerate(sizes):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 10 * i % 250, np.uint8), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode())
    return path


def write_folder(path: Path, num: int = 5) -> Path:
    (path / "rgb").mkdir(parents=True)
    (path / "depth").mkdir()
    spec = {"width": 64, "height": 48, "fx": 60, "fy": 60, "cx": 32, "cy": 24}
    depth = {
        **spec,
        "width": 32,
        "height": 24,
        "fx": 30,
        "fy": 30,
        "cx": 16,
        "cy": 12,
        "scale": 0.001,
        "invalid": [0, 9],
    }
    (path / "camera.json").write_text(
        json.dumps({"name": "x", "fps": 10, "rgb": spec, "depth": depth, "gravity_down_world": [0, 1, 0]})
    )
    lines = ["# a comment"]
    for i in range(num):
        cv2.imwrite(str(path / "rgb" / f"{i:06d}.jpg"), np.full((48, 64, 3), 10 * i, np.uint8))
        if i % 2 == 0:
            counts = np.full((24, 32), 1000 + i, np.uint16)
            counts[0] = 9
            cv2.imwrite(str(path / "depth" / f"{i:06d}.png"), counts)
        if i != 3:
            lines.append(f"{i / 10:.6f} {i} 2 3 0 0 0 1")
    (path / "groundtruth.txt").write_text("\n".join(lines))
    return path


def test_a_video_file_is_read_frame_by_frame(tmp_path: Path) -> None:
    known = Intrinsics(600, 600, 64, 48, 128, 96)
    source = open_source(str(write_video(tmp_path / "a.mp4", [(64, 48)] * 12)), CAM, known)
    assert (source.num_frames, source.live) == (12, False)
    frames = list(source.frames())
    assert [f.seq for f in frames] == list(range(12))
    assert [round(f.capture_ns / 1e9 * 30) for f in frames] == list(range(12))
    assert frames[0].intrinsics == Intrinsics(300, 300, 32, 24, 64, 48)
    assert frames[5].image.rgb.mean() == pytest.approx(50, abs=6)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_video_cut_in_the_middle_gives_what_there_is(tmp_path: Path, kept: float) -> None:
    whole = write_video(tmp_path / "a.mkv", [(320, 240)] * 60).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: int(len(whole) * kept)])
    source = open_source(str(cut), CAM)
    frames = list(source.frames())
    assert 0 < len(frames) <= 60
    assert (len(frames) < 58) == ("s of 2.0 s are in the file" in (source.ended_early or ""))


def test_a_recording_that_announces_its_frames_tells_how_many_are_missing(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.avi", [(320, 240)] * 60, "mjpeg")
    source = open_source(str(whole), CAM)
    assert len(list(source.frames())) == 60
    assert source.ended_early is None
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = open_source(str(cut), CAM)
    seen = len(list(source.frames()))
    assert 0 < seen < 60
    assert source.ended_early == f"{seen} of 60 frames are in the file"


def test_a_damaged_video_loses_frames_not_the_process(tmp_path: Path) -> None:
    data = bytearray(write_video(tmp_path / "a.avi", [(320, 240)] * 40, "mjpeg").read_bytes())
    for i in range(len(data) // 2, len(data) // 2 + 3000):
        data[i] = 0
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(data)
    source = open_source(str(damaged), CAM)
    assert 10 < len(list(source.frames())) <= 40


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.mp4", b"", "empty"),
        ("noise.mp4", bytes(range(256)) * 20, "cannot be opened"),
        ("text.mp4", b"hello\n", "cannot be opened"),
        ("missing.mp4", None, "no such"),
    ],
)
def test_what_is_no_video_is_said(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=says):
        list(open_source(str(tmp_path / name), CAM).frames())


def test_frames_beyond_4k_are_dropped_and_named(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "large.avi", [(3842, 2162)], "mjpeg")), CAM)
    with pytest.raises(SourceError, match="3840x2160"):
        list(source.frames())
    assert source.dropped >= 1


def test_an_unreachable_camera_is_said() -> None:
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source("rtsp://127.0.0.1:9/none", CAM)


def test_a_folder_played_for_its_pixels(tmp_path: Path) -> None:
    source = open_source(str(write_folder(tmp_path / "rec")), CAM)
    frames = list(source.frames())
    assert source.num_frames == len(frames) == 5
    assert [f.capture_ns for f in frames] == [i * 100_000_000 for i in range(5)]
    assert frames[0].intrinsics == Intrinsics(60, 60, 32, 24, 64, 48)
    assert all(f.pose is None and f.depth is None for f in frames)


def test_a_folder_that_knows_its_camera_is_not_played_with_another(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "rec")
    same = Intrinsics(120.5, 120, 64, 48, 128, 96)
    assert next(open_source(str(folder), CAM, same).frames()).intrinsics == Intrinsics(60, 60, 32, 24, 64, 48)
    with pytest.raises(SourceError, match=r"camera\.json knows another camera \(fx=60.*than the one given \(fx=80"):
        open_source(str(folder), CAM, Intrinsics(80, 80, 32, 24, 64, 48))
    (folder / "camera.json").write_bytes(b'{"fps": 10}')
    told = Intrinsics(80, 80, 32, 24, 64, 48)
    assert next(open_source(str(folder), CAM, told).frames()).intrinsics == told


def test_a_folder_played_with_its_poses_and_depth(tmp_path: Path) -> None:
    frames = list(open_source(str(write_folder(tmp_path / "rec")), CAM, posed=True).frames())
    assert [f.pose is not None for f in frames] == [True, True, True, False, True]
    assert [f.depth is not None for f in frames] == [True, False, True, False, True]
    depth, pose = frames[2].depth, frames[2].pose
    assert depth is not None
    assert pose is not None
    assert depth.intrinsics == Intrinsics(30, 30, 16, 12, 32, 24)
    assert np.allclose(depth.z_m[1:], 1.002)
    assert not depth.z_m[0].any()
    # recorded with gravity along +Y: turned over, so that +Y is up
    assert np.allclose(pose.world_from_camera[:3, 3], [2, -2, -3])
    assert np.linalg.det(pose.world_from_camera[:3, :3]) == pytest.approx(1)


def test_a_folder_with_broken_images_skips_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "rec")
    (folder / "rgb" / "000001.jpg").write_bytes(b"")
    (folder / "rgb" / "000002.jpg").write_bytes(b"\xff\xd8\xff")
    source = open_source(str(folder), CAM)
    assert [f.seq for f in source.frames()] == [0, 3, 4]
    assert source.dropped == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"camera.json": b"{"}, "camera.json"),
        ({"camera.json": b'{"fps": 0}'}, "fps"),
        ({"camera.json": b'{"rgb": {"width": -1}}'}, "width"),
        ({"groundtruth.txt": b"0 1 2 3 0 0 0 1\n0 1 2 3 0 0 0 1"}, "line 2: times must rise"),
        ({"groundtruth.txt": b"0 1 2 3"}, "line 1"),
        ({"groundtruth.txt": b"0 1 2 nan 0 0 0 1"}, "line 1"),
        ({"groundtruth.txt": b"0 1 2 3 0 0 0 5"}, "length"),
    ],
)
def test_a_malformed_recording_is_named(tmp_path: Path, change: dict[str, bytes], says: str) -> None:
    folder = write_folder(tmp_path / "rec")
    for name, content in change.items():
        (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=says):
        list(open_source(str(folder), CAM, posed=True).frames())


def test_a_folder_without_images_or_poses_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="rgb"):
        open_source(str(tmp_path), CAM)
    folder = write_folder(tmp_path / "rec")
    (folder / "groundtruth.txt").unlink()
    with pytest.raises(SourceError, match=r"groundtruth\.txt"):
        open_source(str(folder), CAM, posed=True)


@given(st.binary(max_size=200))
def test_any_camera_json_and_trajectory_is_read_or_refused(text: bytes) -> None:
    for read in (read_camera, read_trajectory):
        try:
            read(text)
        except SourceError:
            continue


@given(st.lists(st.lists(st.floats() | st.text(max_size=4), max_size=9), max_size=5))
def test_any_numbers_in_a_trajectory_are_read_or_refused(lines: list[list[object]]) -> None:
    text = "\n".join(" ".join(map(str, line)) for line in lines).encode("utf-8", "replace")
    try:
        times_s, poses = read_trajectory(text)
    except SourceError:
        return
    assert np.isfinite(times_s).all()
    assert np.isfinite(poses).all()


class VirtualTime:
    """A clock that moves only when somebody waits or works."""

    def __init__(self) -> None:
        self.ns = 1_800_000_000_000_000_000

    def now_ns(self) -> int:
        return self.ns

    def wait(self, seconds: float) -> bool:
        self.ns += round(seconds * 1e9)
        return False


def test_in_real_time_frames_come_when_due_and_late_ones_are_dropped(tmp_path: Path) -> None:
    clock = VirtualTime()
    start_ns = clock.ns
    player = Player(open_source(str(write_folder(tmp_path / "rec", 20)), CAM), now_ns=clock.now_ns, wait=clock.wait)
    taken = []
    for frame in player:
        assert frame.received_ns >= frame.capture_ns
        taken.append((frame.seq, round((frame.capture_ns - start_ns) / 1e8)))
        clock.ns += 250_000_000 if frame.seq in (4, 9) else 1_000_000  # two slow moments of 2.5 frames
    assert [seq for seq, at in taken] == [at for seq, at in taken]
    assert player.late == 20 - len(taken) == 2
    assert taken[0][0] == 0
    assert taken[-1][0] == 19


def test_fast_play_drops_nothing_and_does_not_wait(tmp_path: Path) -> None:
    clock = VirtualTime()
    player = Player(
        open_source(str(write_folder(tmp_path / "rec")), CAM), realtime=False, now_ns=clock.now_ns, wait=clock.wait
    )
    before_ns = clock.ns
    assert [f.seq for f in player] == [0, 1, 2, 3, 4]
    assert (player.late, clock.ns) == (0, before_ns)


def test_a_closed_player_ends_even_while_it_waits(tmp_path: Path) -> None:
    player = Player(open_source(str(write_folder(tmp_path / "rec", 20)), CAM))
    taken = 0
    for _ in player:
        taken += 1
        player.close()
    assert taken == 1


@pytest.mark.parametrize(
    ("clip", "num", "num_depth"), [("hololens", 200, 50), ("redkitchen", 600, 120), ("cabinet", 58, 15)]
)
def test_real_recordings_play(clip: str, num: int, num_depth: int) -> None:
    if not (DATA / clip).exists():
        if os.environ.get("CI"):
            pytest.fail(f"footage is missing: {DATA / clip}")
        pytest.skip(f"no footage at {DATA / clip}; set COMMONGROUND_DATA")
    source = open_source(str(DATA / clip), CAM, posed=True)
    first = next(source.frames())
    assert source.num_frames == num
    assert first.pose is not None
    assert first.depth is not None
    assert 0.3 < float(np.median(first.depth.z_m[first.depth.z_m > 0])) < 5
    assert len(list((DATA / clip / "depth").iterdir())) == num_depth
