"""What was mended in aiortc, over real connections: losses, forgeries, other certificates, feedback, loopback."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections.abc import Callable

import pytest
from aiortc import RTCSessionDescription
from aiortc.rtcdtlstransport import RTCCertificate
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket, is_rtcp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from streams.aiortc_mended import CIPHERS, MendedPeerConnection
from streams.frame import StreamId
from streams.transport_feedback import URI
from streams.webrtc import WhipConfig, WhipPeer
from tests.streams.phones import Phone, connected

SOON_S = 20.0


def offering_feedback(offer: bytes) -> bytes:
    """What browsers offer besides: transport-wide congestion control."""
    text = offer.decode().replace("a=rtcp-fb:97 nack\r\n", "a=rtcp-fb:97 nack\r\na=rtcp-fb:97 transport-cc\r\n")
    video = text.index("m=video")
    return (text[:video] + text[video:].replace("a=extmap:3", f"a=extmap:9 {URI}\r\na=extmap:3", 1)).encode()


async def test_transport_feedback_is_agreed_on_and_sent() -> None:
    phone = Phone()
    offer = offering_feedback(await phone.offer())
    session = await WhipPeer().accept(offer, StreamId("p"))
    lines = session.answer_sdp.splitlines()
    assert f"a=extmap:9 {URI}" in lines
    assert "a=rtcp-fb:97 transport-cc" in lines
    assert not any("goog-remb" in line or "abs-send-time" in line or "min-bitrate" in line for line in lines)

    reports: asyncio.Queue[bytes] = asyncio.Queue()
    transport = phone.connection.getSenders()[-1].transport
    handle, send = transport._handle_rtcp_data, transport._send_rtp
    numbers = itertools.count(65530)

    async def stamping(data: bytes) -> None:
        if not is_rtcp(data):
            extensions = HeaderExtensionsMap()
            extensions.configure(RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=9, uri=URI)]))
            packet = RtpPacket.parse(data)
            packet.extensions = HeaderExtensions(transport_sequence_number=next(numbers) % 65536)
            data = packet.serialize(extensions)
        await send(data)

    async def listening(data: bytes) -> None:
        if data[:2] in (bytes([0x8F, 205]), bytes([0xAF, 205])):
            reports.put_nowait(data)
        await handle(data)

    transport._send_rtp, transport._handle_rtcp_data = stamping, listening
    await phone.connection.setRemoteDescription(RTCSessionDescription(session.answer_sdp, "answer"))
    first = await asyncio.wait_for(reports.get(), SOON_S)
    assert int.from_bytes(first[12:14], "big") == 65530
    await asyncio.wait_for(reports.get(), SOON_S)
    await session.close()
    await phone.close()


async def test_forged_datagrams_do_not_disturb_a_handshake() -> None:
    phone = Phone()
    session = await WhipPeer(WhipConfig(silence_s=SOON_S, connect_timeout_s=SOON_S)).accept(
        await phone.offer(), StreamId("p")
    )
    targets = [
        (line.split()[4], int(line.split()[5]))
        for line in session.answer_sdp.splitlines()
        if line.startswith("a=candidate:") and ":" not in line.split()[4]
    ]
    hello = bytes.fromhex("16feff000000000000000000260100001a000000000000001afefd") + bytes(26)
    sprayer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sprayer.setblocking(False)

    async def spray() -> None:
        while True:
            for target in targets:
                for forged in (hello, b"", b"\x80", b"\x00" * 20):
                    sprayer.sendto(forged, target)
            await asyncio.sleep(0.001)  # a flood, but one that leaves the one loop of both ends time for the rest

    spraying = asyncio.ensure_future(spray())
    await phone.connection.setRemoteDescription(RTCSessionDescription(session.answer_sdp, "answer"))
    await asyncio.wait_for(session.frames.get(), SOON_S)
    spraying.cancel()
    sprayer.close()
    assert session.stats.stray_datagrams > 0
    await session.close()
    await phone.close()


async def test_malformed_rtp_and_rtcp_of_the_phone_itself_are_dropped() -> None:
    async with connected() as (phone, session):
        frame = await asyncio.wait_for(session.frames.get(), SOON_S)
        send = phone.connection.getSenders()[-1].transport._send_rtp
        codec = 97
        bad_extension = bytes([0x90, codec]) + b"\0\1" + bytes(8) + b"\xbe\xde\0\1" + b"\x31\1\2\0"
        for rubbish in (
            bytes([0x80, codec]) + bytes(10),
            bad_extension + b"payload",
            bytes([0x80, codec]) + bytes(10) + b"\xff" * 30,
            bytes([0x81, 200, 0, 6]) + bytes(24),
            bytes([0x81, 206, 0, 3]) + bytes(12),
            bytes([0x8F, 205, 0, 2]) + bytes(8),
            bytes([0x82, 203, 0, 1]) + bytes(4),
            bytes([0x8F, 206, 0, 4]) + bytes(8) + b"REMB" + bytes([200, 0, 0, 0]),
        ):
            await send(rubbish)
        newer = await asyncio.wait_for(session.frames.get(), SOON_S)
        assert newer.seq > frame.seq
        assert not session.ended.done()


async def test_a_phone_with_an_rsa_certificate_connects() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = RTCCertificate.generateCertificate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rsa")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(certificate._cert.not_valid_before_utc)
        .not_valid_after(certificate._cert.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )

    class RsaCertificate(RTCCertificate):
        def _create_ssl_context(self, srtp_profiles: object) -> object:
            context = super()._create_ssl_context(srtp_profiles)
            context.set_cipher_list(CIPHERS)
            return context

    phone = Phone(certificate=RsaCertificate(key, signed))
    async with connected(phone) as (_, session):
        await asyncio.wait_for(session.frames.get(), SOON_S)


async def test_loopback_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [])
    async with connected(Phone(connection=MendedPeerConnection())) as (_, session):
        candidates = [line for line in session.answer_sdp.splitlines() if line.startswith("a=candidate:")]
        assert candidates
        assert all(" 127.0.0.1 " in c for c in candidates)
        await asyncio.wait_for(session.frames.get(), SOON_S)


def lose(phone: Phone, lost: Callable[[RtpPacket], bool]) -> None:
    """Put a link that loses packets between the phone and the server."""
    transport = phone.connection.getSenders()[-1].transport
    send = transport._send_rtp

    async def lossy(data: bytes) -> None:
        if is_rtcp(data) or not lost(RtpPacket.parse(data)):
            await send(data)

    transport._send_rtp = lossy


async def test_on_a_link_that_loses_a_fifth_of_all_packets_frames_keep_coming_whole() -> None:
    rng = random.Random(1)
    async with connected() as (phone, session):
        await asyncio.wait_for(session.frames.get(), SOON_S)
        lose(phone, lambda packet: rng.random() < 0.2)
        for _ in range(40):
            frame = await asyncio.wait_for(session.frames.get(), SOON_S)
        assert session.stats.undecodable == 0
        assert frame.seq >= 40


async def test_what_is_lost_for_good_is_skipped_to_the_next_key_frame() -> None:
    async with connected() as (phone, session):
        await asyncio.wait_for(session.frames.get(), SOON_S)
        gone: set[int] = set()

        def lost(packet: RtpPacket) -> bool:
            if not gone:
                gone.add(packet.sequence_number)
            return packet.payload_type == 98 or packet.sequence_number in gone  # 98: retransmissions

        lose(phone, lost)
        seen = (await asyncio.wait_for(session.frames.get(), SOON_S)).seq
        for _ in range(20):
            frame = await asyncio.wait_for(session.frames.get(), SOON_S)
        assert frame.seq >= seen + 20
        assert session.stats.dropped > 0
