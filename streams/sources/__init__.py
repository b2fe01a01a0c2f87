"""Frames from elsewhere than a phone: video files, recorded folders, RTSP cameras, behind one interface.

A source is a plain iterator that somebody runs in a thread of its own; `Player` (play.py) paces it. Reading may block,
but ends soon after `close`, which any thread may call.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from streams.frame import Frame, Intrinsics, StreamId


class SourceError(ValueError):
    """A source that cannot be opened or read; the message says what to do."""


class Source(Protocol):
    """Something that delivers frames, oldest first, each once."""

    @property
    def live(self) -> bool:
        """Frames come when they are captured; a recording comes as fast as it is read."""
        ...

    @property
    def num_frames(self) -> int | None:
        """How many frames there are in all, when that is known beforehand."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that were there but not fit to deliver: undecodable or too large."""
        ...

    @property
    def ended_early(self) -> str | None:
        """Where a recording broke off, once its frames have ended; None = it is whole, or was closed."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Deliver every frame; `capture_ns` of a recording counts from its start, Unix ns of a live source.

        Raises:
            SourceError: nothing can be read from it.
        """
        ...

    def close(self) -> None:
        """Make `frames` end soon."""
        ...


def open_source(
    location: str, stream: StreamId, intrinsics: Intrinsics | None = None, *, posed: bool = False
) -> Source:
    """Open a folder, a video file, or any URL that FFmpeg reads (rtsp://, http://, srt://).

    `intrinsics`: the camera, where the source does not know it. `posed`: deliver a folder's own poses and depth too.

    Raises:
        SourceError: there is no such thing, it is none of these, or it knows another camera than the one given.
    """
    from streams.sources.folder import FolderSource
    from streams.sources.video import VideoSource

    if "://" in location:
        return VideoSource(location, stream, intrinsics)
    path = Path(location)
    if path.is_dir():
        return FolderSource(path, stream, intrinsics, posed=posed)
    if not path.exists():
        raise SourceError(f"{location}: there is no such file or folder")
    if posed:
        raise SourceError(f"{location}: only a recorded folder (rgb/, camera.json, groundtruth.txt) brings poses")
    return VideoSource(location, stream, intrinsics)
