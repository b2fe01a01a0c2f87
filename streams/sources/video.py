"""Video files and live URLs through PyAV."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import av

from streams.clock import NS_PER_S, LeastDelay
from streams.frame import Frame, Intrinsics, StreamId
from streams.pictures import MAX_HEIGHT, MAX_WIDTH, image_from_video, too_large
from streams.sources import SourceError

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 5.0
LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "srt", "udp", "rtp")
MAX_BAD_PACKETS = 100
"""In a row; then the rest of the video is given up."""
MISSING_SHARE = 0.02
"""What headers announce is not exact; a recording that lacks more than this was cut."""


class VideoSource:
    """The first video track of a file or URL. What is cut off or damaged ends early or loses frames, and says so."""

    def __init__(self, location: str, stream: StreamId, intrinsics: Intrinsics | None = None) -> None:
        self._location, self._stream, self._intrinsics = location, stream, intrinsics
        scheme, separator, _ = location.partition("://")
        self._live = bool(separator) and scheme.lower() in LIVE_SCHEMES
        self._closed = False
        self._dropped = 0
        self._ended_early: str | None = None
        self._container = self._open()
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{location}: there is no video in it")

    @property
    def live(self) -> bool:
        return self._live

    @property
    def num_frames(self) -> int | None:
        return self._container.streams.video[0].frames or None if not self._closed else None

    @property
    def dropped(self) -> int:
        return self._dropped

    @property
    def ended_early(self) -> str | None:
        """Told by the frames or the length that the file's header announces."""
        return self._ended_early

    def close(self) -> None:
        self._closed = True

    def frames(self) -> Iterator[Frame]:
        """See `Source.frames`. May be called once."""
        track = self._container.streams.video[0]
        track.codec_context.options = {"max_pixels": str(MAX_WIDTH * MAX_HEIGHT)}
        delay = LeastDelay()
        origin_s: float | None = None
        rate = float(track.average_rate or 30)
        seq = itertools.count()
        delivered, seen, elapsed_ns = False, 0, 0
        try:
            for position, picture in enumerate(self._pictures(track)):
                now_ns = time.time_ns()
                number = next(seq)
                seen += 1
                if too_large(picture.width, picture.height):
                    self._dropped += 1
                    continue
                time_s = position / rate if picture.time is None else float(picture.time)
                origin_s = time_s if origin_s is None else origin_s
                elapsed_ns = round((time_s - origin_s) * NS_PER_S)
                try:
                    image = image_from_video(picture)
                except ValueError:
                    self._dropped += 1
                    continue
                yield Frame(
                    stream=self._stream,
                    seq=number,
                    capture_ns=delay.add(elapsed_ns, now_ns) if self._live else elapsed_ns,
                    received_ns=now_ns if self._live else elapsed_ns,
                    image=image,
                    intrinsics=None if self._intrinsics is None else self._intrinsics.scaled(image.width, image.height),
                )
                delivered = True
            if not (self._closed or self._live):
                self._ended_early = self._ended_early or _broken_off(track, seen, elapsed_ns / NS_PER_S + 1 / rate)
        finally:
            self._container.close()
        if not delivered and not self._closed:
            raise SourceError(
                f"{self._location}: not one frame can be decoded (is it cut off, or larger than "
                f"{MAX_WIDTH}x{MAX_HEIGHT}? {self._dropped} frames were dropped)"
            )

    def _open(self) -> av.container.InputContainer:
        if "://" not in self._location and Path(self._location).stat().st_size == 0:
            raise SourceError(f"{self._location}: the file is empty")
        options = {"rtsp_transport": "tcp", "fflags": "nobuffer"} if self._live else {}
        try:
            return av.open(self._location, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{self._location}: cannot be opened as video: {error}") from error

    def _pictures(self, track: av.VideoStream) -> Iterator[av.VideoFrame]:
        """Decode packet by packet, over damaged ones, to the end or to where the file was cut."""
        packets = self._container.demux(track)
        bad = 0
        while not self._closed:
            try:
                packet = next(packets)
                pictures = packet.decode()
            except StopIteration:
                return
            except av.EOFError:
                return
            except (av.FFmpegError, ValueError) as error:
                self._dropped += 1
                bad += 1
                if bad > MAX_BAD_PACKETS or isinstance(error, OSError):
                    logger.warning("%s: given up after %d bad packets: %s", self._location, bad, error)
                    self._ended_early = f"given up after {bad} damaged packets"
                    return
                continue
            bad = 0
            for picture in pictures:
                if isinstance(picture, av.VideoFrame):
                    yield picture


def _broken_off(track: av.VideoStream, num_seen: int, seen_s: float) -> str | None:
    """How much of what the header announces was there; None when it was all there, or nothing is announced."""
    if track.frames:
        short = num_seen < track.frames - max(2, MISSING_SHARE * track.frames)
        return f"{num_seen} of {track.frames} frames are in the file" if short else None
    announced_s = _announced_s(track)
    if announced_s and seen_s < announced_s - max(0.5, MISSING_SHARE * announced_s):
        return f"{seen_s:.1f} s of {announced_s:.1f} s are in the file"
    return None


def _announced_s(track: av.VideoStream) -> float | None:
    if track.duration is not None and track.time_base is not None:
        return float(track.duration * track.time_base)
    duration = track.container.duration
    return None if duration is None else duration / av.time_base
