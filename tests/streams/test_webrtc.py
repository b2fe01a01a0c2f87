"""Real WebRTC on loopback: a stock aiortc phone, UDP, DTLS, SRTP, a real codec; and phones that come, fail and go."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiortc import RTCSessionDescription
from aiortc.rtp import RtpPacket

from streams.datachannel import Notice
from streams.frame import Intrinsics, StreamId
from streams.problem import RequestRefused
from streams.webrtc import WhipConfig, WhipPeer, announce
from tests.streams.phones import Phone, connected

SOON_S = 20.0


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_video_of_a_phone_becomes_frames(codec: str) -> None:
    async with connected(Phone(codec, audio=True)) as (_, session):
        frames = [await asyncio.wait_for(session.frames.get(), SOON_S) for _ in range(10)]
        assert {f.stream for f in frames} == {"phone"}
        assert [f.seq for f in frames] == sorted({f.seq for f in frames})
        assert frames[0].image.gray.shape == (240, 320)
        assert frames[0].image.rgb.shape == (240, 320, 3)
        assert all(f.capture_ns <= f.received_ns for f in frames)
        assert frames[-1].image.gray.mean() > frames[0].image.gray.mean()  # the pattern brightens
        stats = session.stats
        assert stats.frames >= 10
        assert (stats.undecodable, stats.oversize, stats.bad_messages) == (0, 0, 0)
        assert stats.latency_ms is not None


async def test_the_answer_follows_whip() -> None:
    async with connected(Phone(audio=True)) as (_, session):
        lines = session.answer_sdp.splitlines()
        assert "a=recvonly" in lines
        assert "a=inactive" in lines  # audio is declined
        assert not any(line in lines for line in ("a=sendonly", "a=sendrecv"))
        assert any(line.startswith("a=candidate:") for line in lines)
        assert "a=end-of-candidates" in lines
        assert any(line.startswith("a=group:BUNDLE") for line in lines)
        assert any("x-google-start-bitrate" in line for line in lines)
        assert len(session.id) >= 20


async def test_frames_change_size_with_the_phone() -> None:
    phone = Phone()
    async with connected(phone) as (_, session):
        assert (await asyncio.wait_for(session.frames.get(), SOON_S)).image.width == 320
        sizes = []
        for size in [(240, 320), (640, 362), (322, 242)]:
            phone.video.size = size
            while True:
                image = (await asyncio.wait_for(session.frames.get(), SOON_S)).image
                if (image.width, image.height) == size:
                    break
            sizes.append((image.width, image.height))
        assert sizes == [(240, 320), (640, 362), (322, 242)]


async def test_the_page_gives_capture_times_motion_and_camera() -> None:
    phone = Phone()
    async with connected(phone) as (_, session):
        await asyncio.wait_for(phone.opened.wait(), SOON_S)
        phone.say(t="ping", t0=12.5)
        pong = await asyncio.wait_for(phone.heard.get(), SOON_S)
        assert pong["t"] == "pong"
        assert pong["t0"] == 12.5
        assert abs(pong["t1"] - time.time() * 1000) < 10_000
        assert pong["t2"] >= pong["t1"]

        transport = phone.connection.getSenders()[-1].transport
        send = transport._send_rtp
        hour_ms = 3_600_000  # the phone's clock is an hour late

        async def stamping(data: bytes) -> None:
            if 96 <= data[1] & 0x7F < 127 and data[1] & 0x80:
                phone.say(t="capture", rtp=RtpPacket.parse(data).timestamp, capture_ms=time.time() * 1000 - hour_ms)
            await send(data)

        phone.say(t="offset", offset_ms=hour_ms, rtt_ms=1.0)
        phone.say(t="motion", at_ms=time.time() * 1000 - hour_ms, up=[0, -1, 0], rate=[0, 0.5, 0])
        phone.say(t="intrinsics", fx=640, fy=640, cx=320, cy=240, width=640, height=480)
        phone.say(t="info", label="back camera", width=640, height=480, screen_angle=90)
        transport._send_rtp = stamping
        moved = None
        while session.stats.time_source != "page":
            frame = await asyncio.wait_for(session.frames.get(), SOON_S)
            moved = moved or frame.motion
        frame = await asyncio.wait_for(session.frames.get(), SOON_S)
        assert 0 <= frame.received_ns - frame.capture_ns < 60e9, "not an hour"
        assert frame.intrinsics == Intrinsics(320, 320, 160, 120, 320, 240)
        assert moved is not None
        assert moved.up_camera is not None
        assert moved.up_camera.tolist() == [0, -1, 0]
        assert session.info is not None
        assert session.info.label == "back camera"


async def test_answers_reach_the_page_or_are_dropped_and_counted() -> None:
    phone = Phone()
    async with connected(phone, WhipConfig(max_send_buffer_bytes=100_000)) as (_, session):
        assert session.send(Notice(level="info", text="too early")) is False
        await asyncio.wait_for(phone.opened.wait(), SOON_S)
        phone.say(t="ping", t0=1)
        await asyncio.wait_for(phone.heard.get(), SOON_S)
        assert session.send(Notice(level="info", text="hello"))
        assert await asyncio.wait_for(phone.heard.get(), SOON_S) == {"t": "notice", "level": "info", "text": "hello"}
        sent = [session.send(Notice(level="info", text="x" * 10_000)) for _ in range(30)]
        assert sent[0] is True
        assert sent[-1] is False
        assert session.stats.unsent_messages == sent.count(False)


async def test_a_page_that_talks_nonsense_is_shown_out() -> None:
    phone = Phone()
    async with connected(phone, WhipConfig(max_bad_messages=5)) as (_, session):
        await asyncio.wait_for(phone.opened.wait(), SOON_S)
        for text in ("{", b"\x00", "x" * 20_000, '{"t":"ping"}', "[]", "null"):
            assert phone.channel is not None
            phone.channel.send(text)
        assert "malformed messages" in await asyncio.wait_for(asyncio.shield(session.ended), SOON_S)


async def test_a_phone_that_stops_its_camera_ends_the_session() -> None:
    async with connected() as (phone, session):
        await asyncio.wait_for(session.frames.get(), SOON_S)
        await phone.close()
        reason = await asyncio.wait_for(asyncio.shield(session.ended), SOON_S)
        assert reason in ("the phone stopped its camera", "the phone left")
        assert session.frames.closed


async def test_silence_ends_the_session_long_before_ice_notices() -> None:
    async with connected(config=WhipConfig(silence_s=0.3)) as (phone, session):
        await asyncio.wait_for(session.frames.get(), SOON_S)
        phone.connection.getSenders()[-1].transport._send_rtp = _into_the_void
        assert await asyncio.wait_for(asyncio.shield(session.ended), SOON_S) == "no media for 0.3 s"


async def _into_the_void(data: bytes) -> None:
    pass


async def test_a_phone_that_never_comes_is_not_waited_for() -> None:
    phone = Phone()
    session = await WhipPeer(WhipConfig(connect_timeout_s=0.2)).accept(await phone.offer(), StreamId("p"))
    assert (await asyncio.wait_for(session.ended, SOON_S)).startswith("no media within 0.2 s")
    await phone.close()


async def test_closing_is_bounded_repeatable_and_leaves_nothing() -> None:
    before = len(asyncio.all_tasks())
    phone = Phone()
    session = await phone.publish(WhipPeer())
    await asyncio.wait_for(session.frames.get(), SOON_S)
    await asyncio.gather(session.close("first"), session.close("second"))
    assert session.ended.result() == "first"
    assert [f async for f in session.frames][1:] == []
    await phone.close()
    async with asyncio.timeout(SOON_S):
        while len(asyncio.all_tasks()) > before:
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


async def test_trickled_candidates_connect_a_phone_whose_offer_had_none() -> None:
    phone = Phone()
    offer = (await phone.offer()).decode()
    bare = "".join(line for line in offer.splitlines(True) if "candidate" not in line)
    session = await WhipPeer().accept(bare.encode(), StreamId("p"))
    await phone.connection.setRemoteDescription(RTCSessionDescription(session.answer_sdp, "answer"))
    session.trickle(_one_section(offer))
    await asyncio.wait_for(session.frames.get(), SOON_S)
    await session.close()
    await phone.close()


def _one_section(offer: str) -> bytes:
    section = offer[offer.index("m=video") :].split("m=application")[0]
    wanted = ("a=ice-ufrag", "a=ice-pwd", "a=candidate", "a=end-of-candidates", "m=", "a=mid")
    return "".join(line for line in section.splitlines(True) if line.startswith(wanted)).encode()


async def test_a_bad_patch_is_refused_and_the_session_goes_on() -> None:
    async with connected() as (_, session):
        for body, status in [
            (b"rubbish", 400),
            (b"a=ice-ufrag:abcd\r\na=ice-pwd:efghefghefghefghefghef\r\n", 422),
        ]:
            with pytest.raises(RequestRefused) as refused:
                session.trickle(body)
            assert refused.value.status == status
        await asyncio.wait_for(session.frames.get(), SOON_S)


async def test_offers_the_stack_cannot_take_are_refused() -> None:
    offer = (await Phone().offer()).decode()
    no_codec = offer.replace("VP8/90000", "AV1/90000").encode()
    bad_crypto = offer.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 x ").encode()
    bad_group = offer.replace("a=rtcp-mux", "a=ssrc-group:FID x y\r\na=rtcp-mux").encode()
    for body, status in [(no_codec, 422), (bad_crypto, 400), (bad_group, 400)]:
        with pytest.raises(RequestRefused) as refused:
            await WhipPeer().accept(body, StreamId("p"))
        assert refused.value.status == status


def test_public_addresses_are_announced_beside_local_ones() -> None:
    sdp = "v=0\r\na=candidate:1 1 udp 5 10.0.0.2 700 typ host\r\na=candidate:2 1 udp 5 1.1.1.1 7 typ srflx\r\n"
    assert announce(sdp, ("203.0.113.5",)).splitlines()[1:] == [
        "a=candidate:1 1 udp 5 10.0.0.2 700 typ host",
        "a=candidate:pub0 1 udp 5 203.0.113.5 700 typ host",
        "a=candidate:2 1 udp 5 1.1.1.1 7 typ srflx",
    ]
