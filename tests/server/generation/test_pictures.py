from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from server.generation.pictures import read, read_mask
from server.generation.provider import GenerationFailed, Request
from server.generation.sources import cut_outs, photos


def picture(mode: str = "RGB") -> Image.Image:
    """An orange disc on white, 96 x 64; with an alpha channel, that is the disc."""
    image, alpha = Image.new("RGB", (96, 64), "white"), Image.new("L", (96, 64))
    ImageDraw.Draw(image).ellipse((30, 10, 70, 50), fill=(220, 120, 30))
    ImageDraw.Draw(alpha).ellipse((30, 10, 70, 50), fill=255)
    if mode == "RGBA":
        image.putalpha(alpha)
    return image


def encoded(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def resized_header(png: bytes, width: int, height: int) -> bytes:
    header = struct.pack(">II", width, height) + png[24:29]
    return png[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + png[33:]


def refused(path: Path, data: bytes) -> GenerationFailed:
    path.write_bytes(data)
    with pytest.raises(GenerationFailed) as failed:
        read(path)
    return failed.value


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_half_a_picture_is_no_picture(kind: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    data, path = encoded(noise, kind), tmp_path / "image-0"
    path.write_bytes(data)
    assert read(path).rgb.shape == (64, 96, 3)
    for part in (0.3, 0.5, 0.95):
        error = refused(path, data[: int(part * len(data))])
        assert (error.code, "whole file" in error.hint) == ("bad_input", True)


@pytest.mark.parametrize("size", [(96, 65), (96, 640), (960, 640), (96, 40), (48, 64)])
def test_a_png_whose_data_are_not_its_headers_is_broken(size: tuple[int, int], tmp_path: Path) -> None:
    assert refused(tmp_path / "a.png", resized_header(encoded(picture(), "PNG"), *size)).code == "bad_input"


@pytest.mark.parametrize("kind", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_all_kinds_of_png_are_read(kind: str, tmp_path: Path) -> None:
    image = picture("RGBA" if "A" in kind else "RGB")
    if kind == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    else:
        image = image.convert(kind)
    image.save(tmp_path / "a.png")
    read_ = read(tmp_path / "a.png")
    assert read_.rgb.shape == (64, 96, 3)
    assert (read_.rgb[30, 50].mean() < 200) != (kind == "1")
    assert read_.rgb[2, 2].mean() == 255
    assert (read_.mask is not None) == ("A" in kind)


def test_an_interlaced_png_is_whole(tmp_path: Path) -> None:
    """Of 3 x 17 grey pixels in seven passes, by hand: no writer here makes them."""
    rows = b"".join(
        (b"\0" + bytes(-(-(3 - x) // dx))) * -(-(17 - y) // dy)
        for x, y, dx, dy in ((0, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 17, 8, 0, 0, 0, 1))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    error = refused(tmp_path / "a.png", png)
    assert error.code == "unsuitable", "it is read, and then too small"


@pytest.mark.parametrize("size", [(1, 1), (2, 3000), (50, 3000), (15, 15)])
def test_slivers_are_unsuitable(size: tuple[int, int], tmp_path: Path) -> None:
    error = refused(tmp_path / "a.png", encoded(Image.new("RGB", size, "red"), "PNG"))
    assert (error.code, str(size[0]) in str(error), "16 px" in error.hint) == ("unsuitable", True, True)


def test_one_colour_is_unsuitable_without_a_mask(tmp_path: Path) -> None:
    path, mask = tmp_path / "a.png", tmp_path / "m.png"
    path.write_bytes(encoded(Image.new("RGB", (64, 64), "white"), "PNG"))
    mask.write_bytes(encoded(picture("RGBA").getchannel("A").resize((64, 64)), "PNG"))
    with pytest.raises(GenerationFailed) as failed:
        photos(Request("j", 1, files={"image": (path,)}))
    assert (failed.value.code, "mask" in failed.value.hint) == ("unsuitable", True)
    assert photos(Request("j", 1, files={"image": (path,), "mask": (mask,)}))[0].mask is not None


def test_an_alpha_channel_is_the_mask_unless_one_is_given(tmp_path: Path) -> None:
    path, mask = tmp_path / "a.png", tmp_path / "m.png"
    path.write_bytes(encoded(picture("RGBA"), "PNG"))
    disc = np.asarray(picture("RGBA"))[..., 3] > 127
    (view,) = photos(Request("j", 1, files={"image": (path,)}))
    assert np.array_equal(view.mask, disc)
    ((_, inside),) = cut_outs(Request("j", 1, files={"image": (path,)}), 1)
    assert inside.sum() == disc.sum()
    cv2.imwrite(str(mask), np.pad(np.full((20, 20), 255, np.uint8), ((10, 34), (10, 66))))
    (view,) = photos(Request("j", 1, files={"image": (path,), "mask": (mask,)}))
    assert view.mask is not None
    assert view.mask.sum() == 400


def test_alpha_that_cuts_nothing_out_says_nothing(tmp_path: Path) -> None:
    path, image = tmp_path / "a.png", picture()
    image.putalpha(255)
    image.putpixel((0, 0), (0, 0, 0, 0))
    path.write_bytes(encoded(image, "PNG"))
    assert read(path).mask is None
    image.putalpha(0)
    assert refused(path, encoded(image, "PNG")).code == "unsuitable"


def test_masks_may_be_painted_or_cut_out(tmp_path: Path) -> None:
    path, image = tmp_path / "m.png", picture("RGBA")
    disc = np.asarray(image)[..., 3] > 127
    black = Image.new("RGB", (96, 64))
    for painted in (image.getchannel("A"), image.getchannel("A").convert("1"), Image.merge("LA", image.split()[::3])):
        painted.save(path)
        assert np.array_equal(read_mask(path, (64, 96)), disc)
    black.putalpha(image.getchannel("A"))
    black.save(path)
    assert np.array_equal(read_mask(path, (64, 96)), disc)
    black.convert("L").save(path)
    with pytest.raises(GenerationFailed, match="empty"):
        read_mask(path, (64, 96))


def test_phones_turn_pictures_by_exif(tmp_path: Path) -> None:
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = 6
    picture().save(path, exif=exif)
    assert read(path).rgb.shape == (96, 64, 3)
