from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from streams.pictures import image_from_video, too_large


def gradient(width: int, height: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    x, y = np.meshgrid(np.linspace(40, 200, width), np.linspace(40, 200, height))
    return np.stack([x, y, np.full_like(x, 120)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [(64, 48), (66, 50), (641, 361), (3, 3), (2, 2), (1918, 1078)])
@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv444p", "rgb24", "gray"])
def test_every_size_and_form_becomes_the_same_picture(size: tuple[int, int], form: str) -> None:
    width, height = size
    rgb = gradient(width, height)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=form)
    image = image_from_video(frame)
    assert (image.width, image.height) == (width & ~1, height & ~1)
    expected = rgb[: image.height, : image.width].astype(int)
    if form == "gray":
        expected = expected.mean(axis=2, keepdims=True)
    if width < 16:
        return  # too few pixels for chroma at half resolution to say anything
    difference = np.abs(image.rgb.astype(int) - expected)
    assert np.median(difference) <= (25 if form == "gray" else 6)


def test_full_range_video_is_not_washed_out() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 255, np.uint8), format="rgb24").reformat(
        format="yuvj420p", dst_color_range=ColorRange.JPEG
    )
    assert frame.planes[0].buffer_size
    assert abs(int(image_from_video(frame).rgb.mean()) - 255) <= 3


def test_a_frame_without_area_is_refused() -> None:
    with pytest.raises(ValueError, match="pixels"):
        image_from_video(av.VideoFrame(1, 40, "yuv420p"))


def test_the_size_limit_holds_either_way_round() -> None:
    assert not too_large(3840, 2160)
    assert not too_large(2160, 3840)
    assert too_large(3841, 2160)
    assert too_large(3000, 3000)
