"""A peer connection on aiortc 1.16.0 with what the public network needs and stock aiortc lacks.

- Peers with RSA certificates (GStreamer) can connect: stock aiortc offers ECDSA cipher suites only.
- Datagrams that are not STUN reach DTLS only from addresses that have passed an ICE check: otherwise any forged
  ClientHello ends a handshake, and an empty datagram the session.
- The queue of datagrams has a bound; a malformed RTP extension or RTCP packet is dropped, not fatal.
- A network with nothing but loopback works.
- Video arrives through `PromptVideoReceiver`, and transport-wide congestion control is accepted.

aiortc has no seams for these, and replacing its module globals would change every other user in the process; so parts
of each connection are exchanged as they are made. That leans on private names, hence the exact version.
"""

from __future__ import annotations

import struct
from typing import Any

import aiortc
from aioice.ice import CandidatePair, Connection, StunProtocol
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtcpFeedback
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap

from streams import transport_feedback
from streams.aiortc_receiver import PromptVideoReceiver

AIORTC_VERSION = "1.16.0"
if aiortc.__version__ != AIORTC_VERSION:
    raise ImportError(
        f"commonground mends aiortc {AIORTC_VERSION} from the inside, but {aiortc.__version__} is installed; "
        f"run `pip install aiortc=={AIORTC_VERSION}`"
    )

MAX_QUEUED_DATAGRAMS = 2048
MAX_VERIFIED_ADDRESSES = 32
CIPHERS = b":".join(
    b"ECDHE-" + key + b"-" + cipher
    for key in (b"ECDSA", b"RSA")
    for cipher in (b"AES128-GCM-SHA256", b"CHACHA20-POLY1305", b"AES128-SHA", b"AES256-SHA")
)


class MendedPeerConnection(RTCPeerConnection):  # type: ignore[misc]
    """`RTCPeerConnection` made of mended parts.

    `loopback`: offer 127.0.0.1 always, never, or (None) when the machine has no other address.
    """

    def __init__(self, ice_servers: tuple[str, ...] = (), loopback: bool | None = None) -> None:
        super().__init__(RTCConfiguration(iceServers=[RTCIceServer(urls=url) for url in ice_servers]))
        self._loopback = loopback
        self._RTCPeerConnection__certificates = [_AnyPeerCertificate.generateCertificate()]
        self.stray_datagrams = 0
        """Datagrams dropped because of where they came from, over all transports."""

    def agree_on_transport_feedback(self, transceiver: Any) -> bool:
        """Accept transport-wide congestion control, between offer and answer, if the peer offers it; say whether.

        The absolute send time goes then: from it aiortc makes bandwidth estimates of its own, and lower ones.
        """
        offered = self._RTCPeerConnection__remoteDescription().media[transceiver._get_mline_index()].rtp
        extension = next((e for e in offered.headerExtensions if e.uri == transport_feedback.URI), None)
        feedback = RTCRtcpFeedback(type="transport-cc")
        willing = {c.payloadType for c in offered.codecs if feedback in c.rtcpFeedback}
        codecs = [c for c in transceiver._codecs if c.payloadType in willing]
        if extension is None or not codecs:
            return False
        kept = [e for e in transceiver._headerExtensions if not e.uri.endswith("abs-send-time")]
        transceiver._headerExtensions = [*kept, extension]
        for codec in codecs:
            codec.rtcpFeedback = [f for f in codec.rtcpFeedback if f.type != "goog-remb"] + [feedback]
        return True

    def _RTCPeerConnection__createDtlsTransport(self) -> Any:
        transport = super()._RTCPeerConnection__createDtlsTransport()
        transport.__class__ = _TolerantDtlsTransport
        transport._rtp_header_extensions_map = _TolerantExtensions()
        connection = transport.transport._connection
        connection.__class__ = _GuardedConnection
        connection.verified, connection.loopback, connection.owner = set(), self._loopback, self
        return transport

    def _RTCPeerConnection__createTransceiver(self, direction: str, kind: str, sender_track: Any = None) -> Any:
        transceiver = super()._RTCPeerConnection__createTransceiver(direction, kind, sender_track)
        if kind == "video":
            receiver = PromptVideoReceiver(transceiver.receiver.transport)
            receiver._set_rtcp_ssrc(transceiver.sender._ssrc)
            transceiver._RTCRtpTransceiver__receiver = receiver
        return transceiver


class _AnyPeerCertificate(RTCCertificate):  # type: ignore[misc]
    def _create_ssl_context(self, srtp_profiles: Any) -> Any:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(CIPHERS)
        return context


class _TolerantExtensions(HeaderExtensionsMap):  # type: ignore[misc]
    def get(self, extension_profile: int, extension_value: bytes) -> HeaderExtensions:
        try:
            return super().get(extension_profile, extension_value)
        except struct.error as error:  # an extension of a wrong length
            raise ValueError(str(error)) from error


class _TolerantDtlsTransport(RTCDtlsTransport):  # type: ignore[misc]
    async def _handle_rtcp_data(self, data: bytes) -> None:
        try:
            await super()._handle_rtcp_data(data)
        except struct.error:  # a bitrate estimate that counts more sources than it holds
            return


class _GuardedConnection(Connection):  # type: ignore[misc]
    """An ICE connection that knows which addresses have proved that they hold its password."""

    verified: set[tuple[str, int]]
    loopback: bool | None
    owner: MendedPeerConnection
    stun_server: Any
    turn_server: Any

    async def gather_candidates(self) -> None:
        await super().gather_candidates()
        if self.loopback or (self.loopback is None and not self._local_candidates):
            stun, turn = self.stun_server, self.turn_server
            self.stun_server = self.turn_server = None
            self._local_candidates += await self.get_component_candidates(component=1, addresses=["127.0.0.1"])
            self.stun_server, self.turn_server = stun, turn
        for protocol in self._protocols:
            protocol.__class__ = _GuardedStunProtocol
        while not self._queue.empty():  # what came before the guard stood cannot be from our peer
            self._queue.get_nowait()

    def check_incoming(self, message: Any, addr: tuple[str, int], protocol: StunProtocol) -> None:
        self._verify(addr)  # called for authenticated requests only
        super().check_incoming(message, addr, protocol)

    def check_complete(self, pair: CandidatePair) -> None:
        if pair.state == CandidatePair.State.SUCCEEDED:
            self._verify(pair.remote_addr)
        super().check_complete(pair)

    def data_received(self, data: bytes, component: int) -> None:
        if self._queue.qsize() < MAX_QUEUED_DATAGRAMS:
            super().data_received(data, component)

    def _verify(self, address: tuple[str, int]) -> None:
        if len(self.verified) < MAX_VERIFIED_ADDRESSES:
            self.verified.add((address[0], address[1]))


class _GuardedStunProtocol(StunProtocol):  # type: ignore[misc]
    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        is_stun = len(data) >= 20 and data[0] < 4  # RFC 7983, section 7
        if is_stun or (data and (addr[0], addr[1]) in self.receiver.verified):
            super().datagram_received(data, addr)
        else:
            self.receiver.owner.stray_datagrams += 1
