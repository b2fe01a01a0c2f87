from __future__ import annotations

import contextlib
import json
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.encoded import PictureError, decode_rgb, picture_size
from streams.frame import Frame, StreamId
from streams.posed import PosedFrameError, posed_frame

NOW_NS = 1_800_000_000_000_000_000
RGB = np.zeros((48, 64, 3), np.uint8)
RGB[:, 32:] = (250, 128, 10)


def encoded(image: np.ndarray[Any, Any], extension: str = ".jpg") -> bytes:
    pixels = image[..., ::-1] if image.ndim == 3 else image
    return bytes(cv2.imencode(extension, pixels)[1])


JPEG = encoded(RGB)
DEPTH = encoded(np.full((24, 32), 1500, np.uint16), ".png")
META: dict[str, Any] = {
    "world_from_camera": {"t": [1, 2, 3], "q_wxyz": [1, 0, 0, 0]},
    "intrinsics": {"fx": 60, "fy": 60, "cx": 32, "cy": 24, "width": 64, "height": 48},
}


def post(meta: Any = META, image: bytes = JPEG, depth: bytes | None = None) -> Frame:
    body = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    return posed_frame(body, image, depth, stream=StreamId("ar"), seq=3, received_ns=NOW_NS)


def test_a_posed_frame_is_taken_as_given() -> None:
    meta = {**META, "capture_ns": NOW_NS - 10**9, "sigma_m": 0.1, "up_camera": [0, -2 / 1.9, 0]}
    frame = post(meta, depth=DEPTH)
    assert (frame.seq, frame.capture_ns, frame.received_ns) == (3, NOW_NS - 10**9, NOW_NS)
    assert frame.image.rgb.shape == (48, 64, 3)
    assert np.abs(frame.image.rgb[0, 60].astype(int) - (250, 128, 10)).max() < 12
    assert frame.pose is not None
    assert frame.pose.sigma_m == 0.1
    assert np.allclose(frame.pose.world_from_camera[:3, 3], [1, 2, 3])
    assert frame.depth is not None
    assert np.allclose(frame.depth.z_m, 1.5)
    assert frame.depth.intrinsics.fx == 30  # the image's, at half the size
    assert frame.motion is not None
    assert frame.motion.up_camera is not None
    assert np.allclose(frame.motion.up_camera, [0, -1, 0])


def test_matrix_png_and_a_scaled_camera_are_understood() -> None:
    camera = {"fx": 120, "fy": 120, "cx": 64, "cy": 48, "width": 128, "height": 96}
    frame = post({"world_from_camera": np.eye(4).ravel().tolist(), "intrinsics": camera}, encoded(RGB, ".png"))
    assert frame.intrinsics is not None
    assert (frame.intrinsics.fx, frame.intrinsics.width) == (60, 64)
    assert frame.capture_ns == NOW_NS
    assert frame.depth is None


def test_unknown_depth_counts_become_zero() -> None:
    counts = np.array([[0, 100], [65535, 2000]], np.uint16).repeat(12, 0).repeat(16, 1)
    frame = post({**META, "depth": {"scale_m": 0.01, "invalid": [65535]}}, depth=encoded(counts, ".png"))
    assert frame.depth is not None
    assert np.allclose(np.unique(frame.depth.z_m), [0, 1, 20])


def camera(**changes: Any) -> dict[str, Any]:
    return {**META, "intrinsics": {**META["intrinsics"], **changes}}


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + b"\0" * 64


@pytest.mark.parametrize(
    ("meta", "image", "depth", "says"),
    [
        (b"", JPEG, None, "meta"),
        (b'{"\xb9":1}', JPEG, None, "meta"),
        (b"[" * 9999, JPEG, None, "meta"),
        (b"{" + b" " * 20000, JPEG, None, "at most"),
        ({**META, "typo": 1}, JPEG, None, "typo"),
        ({"intrinsics": META["intrinsics"]}, JPEG, None, "world_from_camera"),
        ({**META, "world_from_camera": [1] * 16}, JPEG, None, "0 0 0 1"),
        ({**META, "world_from_camera": {"t": [0, 0, 0], "q_wxyz": [3, 0, 0, 0]}}, JPEG, None, "length"),
        (camera(cx=100), JPEG, None, "principal point"),
        (camera(fx=1), JPEG, None, "fx and fy"),
        (camera(fx=-60), JPEG, None, "fx"),
        (camera(width=48, height=64, cy=10, cx=10), JPEG, None, "shape"),
        ({**META, "capture_ns": 5}, JPEG, None, "10 s"),
        ({**META, "up_camera": [0, 0, 0]}, JPEG, None, "unit"),
        (META, b"", None, "empty"),
        (META, b"GIF89a", None, "neither"),
        (META, JPEG[:40], None, "image"),
        (META, JPEG[: len(JPEG) // 2], None, "cut off"),
        (META, JPEG[: len(JPEG) * 9 // 10], None, "cut off"),
        (META, png_of(65000, 65000), None, "at most"),
        (META, png_of(64, 48), None, "cut off"),
        (META, encoded(RGB, ".png").replace(b"\0\0\0\x0dIHDR", b"\xfd\0\0\x0dIHDR"), None, "cut off"),
        (META, JPEG[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 100 + JPEG[-2:], None, "scans"),
        (META, b"\xff\xd8" + b"\0" * (17 * 1024 * 1024), None, "bytes"),
        (META, JPEG, JPEG, "PNG"),
        (META, JPEG, encoded(RGB, ".png"), "16 bits"),
        (META, JPEG, encoded(np.ones((48, 48), np.uint16), ".png"), "shape"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(
    meta: Any, image: bytes, depth: bytes | None, says: str
) -> None:
    with pytest.raises(PosedFrameError, match=says):
        post(meta, image, depth)


def test_a_size_is_read_without_decoding() -> None:
    assert picture_size(JPEG) == (64, 48)
    assert picture_size(encoded(RGB, ".png")) == (64, 48)


@settings(deadline=None)
@given(st.data())
def test_damaged_pictures_are_decoded_or_refused(data: st.DataObject) -> None:
    broken = bytearray(data.draw(st.sampled_from([JPEG, encoded(RGB, ".png")])))
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PictureError):
        assert decode_rgb(bytes(broken)).shape[2] == 3


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_meta_is_read_or_refused(meta: bytes, image: bytes) -> None:
    with pytest.raises(PosedFrameError):
        post(meta, image)
