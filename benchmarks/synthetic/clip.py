"""Recordings of walks through the flat: folders like the real data's, and files a camera can play.

Encoded walks are cached in the user's cache folder, under a name made of everything they depend on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.synthetic.flat import Flat, View
from benchmarks.synthetic.walk import EYE_HEIGHT_M, Walk
from mapping.transforms import quat_from_rotation
from streams.frame import Intrinsics

Progress = Callable[[int, int], None]
"""Called with frames done and frames in all."""

INTRINSICS = Intrinsics.from_fov(640, 480, 66.0)
"""The simulated phones' camera: the one a server assumes when a phone does not say."""
FPS = 30


def frames(
    flat: Flat, walk: Walk, *, fps: float = FPS, duration_s: float | None = None, intrinsics: Intrinsics = INTRINSICS,
    threads: int = 1,
) -> Iterator[tuple[float, View]]:  # fmt: skip
    """Render a walk in order: seconds since its start and the view; at most two views a thread wait."""
    times = list(walk.times(fps, duration_s))
    with ThreadPoolExecutor(threads) as pool:
        ahead = 2 * threads
        waiting = [pool.submit(flat.render, walk.at(t), intrinsics) for t in times[:ahead]]
        for i, t in enumerate(times):
            view = waiting.pop(0).result()
            if i + ahead < len(times):
                waiting.append(pool.submit(flat.render, walk.at(times[i + ahead]), intrinsics))
            yield t, view


def export(
    flat: Flat, walk: Walk, folder: Path, *, fps: float = FPS, duration_s: float | None = None, depth_every: int = 1,
    intrinsics: Intrinsics = INTRINSICS, jpeg_quality: int = 95,
) -> int:  # fmt: skip
    """Write rgb/, depth/ (16 bit, millimetres), camera.json and groundtruth.txt; return the number of frames."""
    (folder / "rgb").mkdir(parents=True, exist_ok=True)
    (folder / "depth").mkdir(exist_ok=True)
    lines = ["# timestamp_s tx ty tz qx qy qz qw   (world_from_camera, OpenCV camera axes, metres)"]
    for i, (t, view) in enumerate(frames(flat, walk, fps=fps, duration_s=duration_s, intrinsics=intrinsics)):
        cv2.imwrite(str(folder / f"rgb/{i:06d}.jpg"), view.rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
        if i % depth_every == 0:
            cv2.imwrite(str(folder / f"depth/{i:06d}.png"), np.rint(view.depth_m * 1000).astype(np.uint16))
        w, x, y, z = quat_from_rotation(view.world_from_camera[:3, :3])
        tx, ty, tz = view.world_from_camera[:3, 3]
        lines.append(f"{t:.6f} {tx:.6f} {ty:.6f} {tz:.6f} {x:.7f} {y:.7f} {z:.7f} {w:.7f}")
    (folder / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    pinhole = {k: v for k, v in asdict(intrinsics).items() if k != "k1"}
    marker = flat.plan.marker
    camera = {
        "name": f"flat-{walk.name}",
        "world": "flat",
        "fps": fps,
        "rgb": {**pinhole, "k1": 0.0},
        "depth": {**pinhole, "scale": 0.001, "invalid": [0], "every": depth_every},
        "gravity_down_world": [0.0, -1.0, 0.0],
        "camera_height_m": EYE_HEIGHT_M,
        "marker": {
            "dictionary": marker.dictionary,
            "id": marker.id,
            "size_m": marker.size_m,
            "world_from_marker": marker.world_from_marker.tolist(),
        },
        "truth": "exact: a synthetic flat",
    }
    (folder / "camera.json").write_text(json.dumps(camera, indent=1))
    return len(lines) - 1


@dataclass(frozen=True, slots=True)
class Recording:
    """An encoded round of a walk."""

    path: Path
    walk: str
    fps: int
    num_frames: int


def record(
    flat: Flat, walk: Walk, path: Path, *, fps: int = FPS, duration_s: float | None = None, bit_rate: int = 3_000_000,
    intrinsics: Intrinsics = INTRINSICS, threads: int = 1, progress: Progress | None = None,
) -> Recording:  # fmt: skip
    """Encode a walk as `path`'s suffix says: `.h264` (baseline, no B-frames, Annex B), `.mjpeg`, `.mp4` or `.y4m`.

    Raises:
        ValueError: another suffix.
    """
    num_frames = len(list(walk.times(fps, duration_s)))
    codec, format_, pixels = _FORMATS.get(path.suffix, ("", "", ""))
    if not codec:
        raise ValueError(f"{path.name}: want one of {', '.join(_FORMATS)}")
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    with av.open(str(partial), "w", format=format_) as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = intrinsics.width, intrinsics.height, pixels
        if codec == "libx264":
            stream.bit_rate = bit_rate
            # One keyframe a second: a receiver that joins or loses packets recovers within one.
            stream.options = {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "g": str(fps),
                              "keyint_min": str(fps), "sc_threshold": "0", "threads": "1"}  # fmt: skip
        elif codec == "mjpeg":
            stream.options = {"qmin": "2", "qmax": "4"}
        for i, (_, view) in enumerate(
            frames(flat, walk, fps=fps, duration_s=duration_s, intrinsics=intrinsics, threads=threads)
        ):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view.rgb, format="rgb24")))
            if progress:
                progress(i + 1, num_frames)
        container.mux(stream.encode())
    partial.replace(path)
    return Recording(path, walk.name, fps, num_frames)


_FORMATS = {
    ".h264": ("libx264", "h264", "yuv420p"),
    ".mp4": ("libx264", "mp4", "yuv420p"),
    ".mjpeg": ("mjpeg", "mjpeg", "yuvj420p"),
    ".y4m": ("rawvideo", "yuv4mpegpipe", "yuv420p"),
}


def cache_folder() -> Path:
    """Where recordings are kept: `$XDG_CACHE_HOME/commonground/synthetic` or `~/.cache/...`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "commonground" / "synthetic"


def cached_path(walk: Walk, *, suffix: str = ".h264", fps: int = FPS, folder: Path | None = None) -> Path:
    """Where the recording of one round is kept, whether it exists or not."""
    return (folder or cache_folder()) / f"{walk.name}-{_fingerprint(fps)}{suffix}"


def cached(
    flat: Callable[[], Flat], walk: Walk, *, suffix: str = ".h264", fps: int = FPS, folder: Path | None = None,
    threads: int = 1, progress: Progress | None = None,
) -> Recording:  # fmt: skip
    """The recording of one round, rendered now if no earlier run left it; `flat` is called only then."""
    path = cached_path(walk, suffix=suffix, fps=fps, folder=folder)
    if path.exists():
        return Recording(path, walk.name, fps, len(list(walk.times(fps))))
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f"{walk.name}-*{suffix}"):
        stale.unlink(missing_ok=True)
    return record(flat(), walk, path, fps=fps, threads=threads, progress=progress)


_NO_LOOKS = {"__init__.py", "clip.py", "floor.py"}


def _fingerprint(fps: int) -> str:
    """Changes with the source of what can be seen and with the recording's parameters."""
    digest = hashlib.sha256(f"{fps} {INTRINSICS}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        if source.name not in _NO_LOOKS:
            digest.update(source.read_bytes())
    return digest.hexdigest()[:12]
