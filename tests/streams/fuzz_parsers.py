"""Feed the parsers of strangers' bytes with mutated examples for as long as wanted:

    python tests/streams/fuzz_parsers.py [seconds] [seed]

Every parser must return or raise its own error; anything else is printed with the input that caused it, and exits 1.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Callable

import cv2
import numpy as np

from streams.datachannel import MessageError, read_message
from streams.encoded import PictureError, decode_depth, decode_rgb
from streams.frame import StreamId
from streams.posed import PosedFrameError, posed_frame
from streams.problem import RequestRefused
from streams.sources import SourceError
from streams.sources.folder import read_camera, read_trajectory
from streams.trickle import TrickleError, read_fragment
from streams.whip_offer import read_offer

RGB = bytes(cv2.imencode(".jpg", np.zeros((16, 24, 3), np.uint8))[1])
PNG = bytes(cv2.imencode(".png", np.full((16, 24), 700, np.uint16))[1])
CAMERA = b'{"fx":20,"fy":20,"cx":12,"cy":8,"width":24,"height":16}'
META = b'{"world_from_camera":{"t":[0,1,2],"q_wxyz":[1,0,0,0]},"intrinsics":' + CAMERA + b"}"
CREDENTIALS = b"a=ice-ufrag:abcd\r\na=ice-pwd:efghijklmnopqrstuvwxyz\r\na=fingerprint:sha-256 AA:BB\r\n"
SECTION = CREDENTIALS + b"a=setup:actpass\r\na=mid:0\r\n"
CANDIDATE = b"a=candidate:1 1 udp 2130706431 192.0.2.7 61764 typ host\r\n"
OFFER = b"v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n" + SECTION + b"a=rtcp-mux\r\na=sendonly\r\n" + CANDIDATE

MAX_CPU_S = 1.0

Target = tuple[Callable[[bytes], object], type[Exception], bytes]
TARGETS: dict[str, Target] = {
    "offer": (read_offer, RequestRefused, OFFER),
    "trickle": (read_fragment, TrickleError, SECTION + CANDIDATE),
    "message": (
        lambda data: read_message(data.decode("utf-8", "replace")),
        MessageError,
        b'{"t":"motion","at_ms":1e12,"up":[0,-1,0],"rate":[0,0,0]}',
    ),
    "jpeg": (decode_rgb, PictureError, RGB),
    "png": (lambda data: decode_depth(data, 0.001), PictureError, PNG),
    "meta": (
        lambda data: posed_frame(data, RGB, PNG, stream=StreamId("s"), seq=0, received_ns=0),
        PosedFrameError,
        META,
    ),
    "camera": (read_camera, SourceError, b'{"fps":30,"rgb":' + CAMERA + b"}"),
    "trajectory": (read_trajectory, SourceError, b"# t\n0.0 1 2 3 0 0 0 1\n0.1 1 2 3 0 0 0 1\n"),
}


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat and splice."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(5):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                del out[at : at + rng.randrange(1, 20)]
            case 2:
                out[at:at] = out[at : at + rng.randrange(1, 40)]
            case 3:
                out[at:at] = rng.choice([b"\0", b"-1", b"1e999", b"nan", b"\xff\xff", b"9" * 30, b"[" * 50, b"\r\n"])
            case _:
                out[at : at + 4] = rng.randbytes(4)
    return bytes(out)


def fuzz(seconds: float, seed: int) -> int:
    """Run all targets in turn; returns how many inputs broke one, by another error or by taking over a second."""
    rng, end_s = random.Random(seed), time.monotonic() + seconds
    rounds = broken = 0
    while time.monotonic() < end_s:
        rounds += 1
        for name, (parse, expected, example) in TARGETS.items():
            data = mutate(example, rng)
            begin_s = time.process_time()
            try:
                parse(data)
            except expected:
                pass
            except Exception:
                broken += 1
                sys.stdout.write(f"{name}: {data!r}\n{traceback.format_exc()}\n")
            if (took_s := time.process_time() - begin_s) > MAX_CPU_S:
                broken += 1
                sys.stdout.write(f"{name}: {took_s:.1f} s for {data!r}\n")
    sys.stdout.write(f"{rounds} rounds over {len(TARGETS)} parsers, {broken} failures\n")
    return broken


def test_a_short_run_finds_nothing() -> None:
    assert fuzz(2.0, 0) == 0


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    sys.exit(fuzz(float(given.get(1, "60")), int(given.get(2, "0"))) > 0)
