"""What callers hand in, looked at before anything is stored: kind by its magic, size, and pixels by its header.

Nothing is decoded here. A picture is refused by the size it would have when decoded, so a small file that unpacks to
gigabytes never gets to a decoder. Names of files are ours, never the caller's.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mapping import disk
from server.api.contract import Refused, Unprocessable
from server.assets.blobs import StorageFull
from server.jobs.values import InputFile, InputRole, UploadRole, Webhook


class TooLarge(Refused):
    status = 413


class NotAPicture(Refused):
    """Of a kind that is not taken."""

    status = 415


class LimitsConfig(BaseModel):
    """How much one job may bring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_bytes: int = Field(default=10 << 20, gt=0)
    max_side_px: int = Field(default=8192, gt=0)
    max_files: int = Field(default=16, gt=0)
    max_body_bytes: int = Field(default=64 << 20, gt=0)
    """Of one request, all files together, base64 or not."""


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """A file as it came."""

    role: UploadRole
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """Files that the server itself made for a job, in a folder that `store` takes over."""

    role: InputRole
    path: Path


def checked(uploads: Sequence[Upload | Folder], limits: LimitsConfig) -> tuple[InputFile, ...]:
    """Names, hashes and sizes of files that are fit to be used.

    Raises:
        TooLarge: bytes, pixels or their number.
        NotAPicture: neither PNG, JPEG nor WebP (a mesh: no GLB).
        Unprocessable: it is empty or broken off.
    """
    if len(uploads) > limits.max_files:
        raise TooLarge(f"{len(uploads)} files; at most {limits.max_files} per job")
    return tuple(_checked(upload, number, limits) for number, upload in enumerate(uploads))


def check_secret(hook: Webhook | None) -> None:
    """Not done where a job is read: books with a secret that never signed anything can still be opened.

    Raises:
        Unprocessable: it is not what Standard Webhooks says.
    """
    try:
        key = None if hook is None else hook.key
    except ValueError:
        key = b""
    if key is not None and not 24 <= len(key) <= 64:
        raise Unprocessable("the secret of a webhook is whsec_ and base64 of 24 to 64 bytes")


def store(folder: Path, uploads: Sequence[Upload | Folder], files: Sequence[InputFile]) -> None:
    """Write checked files; they are on the disk when this returns.

    Raises:
        StorageFull: there is no room; some may have been written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for upload, file in zip(uploads, files, strict=True):
            if isinstance(upload, Folder):
                shutil.move(upload.path, folder / file.name)
                disk.sync_tree(folder / file.name)
            else:
                disk.write_file(folder / file.name, upload.data)
        disk.sync_directory(folder.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk is full; the job was not taken") from error
        raise


def from_base64(text: str, limits: LimitsConfig) -> bytes:
    """Bytes of a base64 string, with or without `data:...;base64,` before it.

    Raises:
        TooLarge, Unprocessable: too long; no base64.
    """
    body = text.partition(",")[2] if text.startswith("data:") else text
    if len(body) > limits.max_file_bytes * 4 // 3 + 4096:
        raise TooLarge(f"a file may have at most {limits.max_file_bytes} bytes")
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Unprocessable("that is no base64") from None


def size_px(data: bytes) -> tuple[str, int, int]:
    """Format, width and height of a picture, out of its header.

    Raises:
        NotAPicture: it does not begin as one.
        Unprocessable: the header is broken off.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return "png", *struct.unpack_from(">II", data, 16)
        if data.startswith(b"\xff\xd8\xff"):
            return "jpg", *_jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return "webp", *_webp_size(data)
    except (struct.error, IndexError):
        raise Unprocessable("the picture is broken off within its header") from None
    raise NotAPicture("pictures are PNG, JPEG or WebP; this is none by its first bytes")


def _checked(upload: Upload | Folder, number: int, limits: LimitsConfig) -> InputFile:
    if isinstance(upload, Folder):
        return _described(upload, number)
    data, role = upload.data, upload.role
    if not data:
        raise Unprocessable(f"the file {role!r} is empty")
    if len(data) > limits.max_file_bytes:
        raise TooLarge(f"the file {role!r} has {len(data)} bytes; at most {limits.max_file_bytes}")
    if role == "mesh":
        if data[:4] != b"glTF" or len(data) < 20 or struct.unpack_from("<I", data, 8)[0] != len(data):
            raise NotAPicture("a mesh is binary glTF 2.0 (.glb), whole")
        format = "glb"
    else:
        format, width, height = size_px(data)
        if min(width, height) < 1:
            raise Unprocessable(f"the picture {role!r} has no pixels")
        if max(width, height) > limits.max_side_px:
            raise TooLarge(f"the picture {role!r} has {width} x {height} px; at most {limits.max_side_px} a side")
    return InputFile(
        role=role, name=f"{role}-{number}.{format}", sha256=hashlib.sha256(data).hexdigest(), size=len(data)
    )


def _described(folder: Folder, number: int) -> InputFile:
    """One hash for all that is in it."""
    digest, size = hashlib.sha256(), 0
    for path in sorted(folder.path.iterdir()):
        data = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(data).digest())
        size += len(data)
    return InputFile(role=folder.role, name=f"{folder.role}-{number}.d", sha256=digest.hexdigest(), size=size)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """From the frame header (SOF), past the segments before it."""
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        if data[at] != 0xFF:
            raise Unprocessable("this JPEG has no frame")
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0xDA:
            raise Unprocessable("this JPEG has no frame")
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    raise Unprocessable("this WebP has no picture")
