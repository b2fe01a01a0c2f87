from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.datachannel import (
    Capture,
    Info,
    KnownCamera,
    MessageError,
    Notice,
    Offset,
    PhoneMotion,
    Ping,
    Pong,
    PoseAnswer,
    PoseOfCamera,
    read_message,
    write_message,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"t":"ping","t0":1.5}', Ping(t0=1.5)),
        ('{"t":"offset","offset_ms":-3,"rtt_ms":4.25,"new":[1]}', Offset(offset_ms=-3, rtt_ms=4.25)),
        ('{"t":"capture","rtp":4294967295,"capture_ms":1e12}', Capture(rtp=4294967295, capture_ms=1e12)),
        ('{"t":"motion","up":[0,-1,0],"rate":null,"at_ms":2}', PhoneMotion(at_ms=2, up=(0, -1, 0), rate=None)),
        ('{"t":"info","label":"back","screen_angle":90}', Info(label="back", screen_angle=90)),
        (
            '{"t":"intrinsics","fx":500,"fy":500,"cx":320,"cy":240,"width":640,"height":480}',
            KnownCamera(fx=500, fy=500, cx=320, cy=240, width=640, height=480),
        ),
        ('{"t":"something newer","x":1}', None),
    ],
)
def test_what_phones_say_is_read(text: str, message: object) -> None:
    assert read_message(text) == message


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        "",
        "null",
        "[]",
        "{}",
        '{"t":1}',
        '{"t":"ping"}',
        '{"t":"ping","t0":"1"}',
        '{"t":"ping","t0":1e999}',
        '{"t":"ping","t0":NaN}',
        '{"t":"ping","t0":1e300}',
        '{"t":"capture","rtp":-1,"capture_ms":1}',
        '{"t":"capture","rtp":4294967296,"capture_ms":1}',
        '{"t":"motion","up":[0,0],"at_ms":2}',
        '{"t":"motion","up":[0,0,0],"at_ms":2}',
        '{"t":"motion","rate":[1000,0,0],"at_ms":2}',
        '{"t":"info","screen_angle":45}',
        '{"t":"info","label":"' + "x" * 300 + '"}',
        '{"t":"intrinsics","fx":0,"fy":1,"cx":1,"cy":1,"width":1,"height":1}',
        '{"t":"ping","t0":1,"pad":"' + "x" * 20000 + '"}',
        "[" * 16000,
        '{"a":' * 3000,
        '"\ud800"',
    ],
)
def test_what_breaks_the_rules_is_refused(data: str | bytes) -> None:
    with pytest.raises(MessageError):
        read_message(data)


@given(st.text(max_size=200) | st.binary(max_size=50))
def test_anything_is_read_or_refused(data: str | bytes) -> None:
    with contextlib.suppress(MessageError):
        read_message(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(
    kind=st.sampled_from(["ping", "offset", "capture", "motion", "info", "intrinsics", "zzz"]),
    fields=st.dictionaries(
        st.sampled_from(
            ["t0", "offset_ms", "rtt_ms", "rtp", "capture_ms", "up", "rate", "at_ms", "label", "fx", "width"]
        ),
        json_values,
    ),
)
def test_any_json_in_any_field_is_read_or_refused(kind: str, fields: dict[str, object]) -> None:
    with contextlib.suppress(MessageError):
        read_message(json.dumps({**fields, "t": kind}))


def test_what_the_server_says_is_what_the_page_expects() -> None:
    assert json.loads(write_message(Pong(t0=1.0, t1=2.0, t2=3.5))) == {"t": "pong", "t0": 1.0, "t1": 2.0, "t2": 3.5}
    assert json.loads(write_message(Notice(level="warn", text="hold still"))) == {
        "t": "notice",
        "level": "warn",
        "text": "hold still",
    }
    pose = json.loads(
        write_message(
            PoseAnswer(
                capture_ns="1800000000000000001",
                state="tracked",
                world_from_camera=PoseOfCamera((1.0, 2.0, 3.0), (1.0, 0.0, 0.0, 0.0)),
            )
        )
    )
    assert pose["capture_ns"] == "1800000000000000001"
    assert pose["world_from_camera"] == {"t": [1, 2, 3], "q_wxyz": [1, 0, 0, 0]}
    assert {"state", "seen_share", "scale_source", "points"} <= pose.keys()
