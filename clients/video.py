"""A video as the encoded frames a camera sends: encoded once, then played in a loop at hardly any cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2

KEYFRAME_EVERY_S = 1.0
"""A receiver that joins or lost something waits at most this long."""
BIT_RATE = 3_000_000


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """H264 in Annex B form, one access unit a frame, no B-frames, the first one a keyframe."""

    frames: tuple[bytes, ...]
    fps: float
    width: int
    height: int

    @property
    def duration_s(self) -> float:
        return len(self.frames) / self.fps


def load(path: Path, *, fps: float | None = None, max_frames: int | None = None) -> EncodedClip:
    """Read `.h264` as it is; encode anything else: a video file, or a folder with `rgb/` and `camera.json`.

    `fps` overrides the source's own rate (a raw `.h264` has none: 30).

    Raises:
        ValueError: there is no video there, or it cannot be read.
    """
    try:
        if path.suffix == ".h264":
            return _raw(path, fps or 30.0, max_frames)
        rate, images = _folder(path) if path.is_dir() else _file(path)
        return _encode(images, fps or rate, max_frames)
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"{path}: not a video this can read: {error}") from error


def _raw(path: Path, fps: float, max_frames: int | None) -> EncodedClip:
    with av.open(str(path), format="h264") as container:
        stream = container.streams.video[0]
        units: list[bytes] = []
        for packet in container.demux(stream):
            if packet.size:
                units.append(bytes(packet))
            if max_frames and len(units) >= max_frames:
                break
        if not units or not stream.codec_context.width:
            raise ValueError(f"{path}: holds no frame")
        return EncodedClip(tuple(units), fps, stream.codec_context.width, stream.codec_context.height)


def _folder(path: Path) -> tuple[float, Iterator[av.VideoFrame]]:
    names = sorted((path / "rgb").glob("*.jpg")) or sorted(path.glob("*.jpg"))
    if not names:
        raise ValueError(f"{path}: no rgb/*.jpg in it")
    camera = path / "camera.json"
    rate = float(json.loads(camera.read_text())["fps"]) if camera.exists() else 30.0
    return rate, (av.VideoFrame.from_ndarray(cv2.imread(str(name)), format="bgr24") for name in names)


def _file(path: Path) -> tuple[float, Iterator[av.VideoFrame]]:
    with av.open(str(path)) as probe:
        if not probe.streams.video:
            raise ValueError(f"{path}: no video stream in it")
        rate = float(probe.streams.video[0].average_rate or 30)

    def decoded() -> Iterator[av.VideoFrame]:
        with av.open(str(path)) as container:
            yield from container.decode(video=0)

    return rate, decoded()


def _encode(images: Iterator[av.VideoFrame], fps: float, max_frames: int | None) -> EncodedClip:
    codec: av.VideoCodecContext | None = None
    units: list[bytes] = []
    for count, image in enumerate(images):
        if max_frames and count >= max_frames:
            break
        if codec is None:
            codec = _encoder(image.width, image.height, fps)
        if (image.width, image.height) != (codec.width, codec.height):
            image = image.reformat(codec.width, codec.height)
        fresh = image.reformat(format="yuv420p")
        fresh.pts, fresh.time_base = count, Fraction(1) / codec.framerate
        units += [bytes(packet) for packet in codec.encode(fresh)]
    if codec is None:
        raise ValueError("the video holds no frame")
    units += [bytes(packet) for packet in codec.encode(None)]
    return EncodedClip(tuple(units), fps, codec.width, codec.height)


def _encoder(width: int, height: int, fps: float) -> av.VideoCodecContext:
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width - width % 2, height - height % 2, "yuv420p"
    codec.framerate = Fraction(fps).limit_denominator(1001)
    codec.time_base = Fraction(1) / codec.framerate
    codec.bit_rate = BIT_RATE
    gop = str(max(1, round(KEYFRAME_EVERY_S * fps)))
    codec.options = {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "g": gop, "keyint_min": gop,
                     "sc_threshold": "0", "threads": "1"}  # fmt: skip
    return codec
