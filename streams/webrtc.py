"""Phones by WebRTC: an SDP offer in, an answer out, then the newest decoded `Frame` in a mailbox. No HTTP here.

Follows WHIP (RFC 9725): one video track, all our candidates in the answer, trickled ones accepted, no ICE restart.
What the page says on its DataChannel (`datachannel.py`) turns RTP timestamps into capture times and brings motion.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from dataclasses import dataclass
from typing import Any

import av
from aiortc import RTCIceCandidate, RTCSessionDescription
from aiortc.exceptions import OperationError
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from streams import datachannel
from streams.aiortc_mended import MendedPeerConnection
from streams.aiortc_receiver import PromptVideoReceiver
from streams.clock import NS_PER_MS, ClockConfig, TimeSource
from streams.frame import Frame, Intrinsics, StreamId
from streams.framer import Framer
from streams.mailbox import Mailbox
from streams.problem import RequestRefused
from streams.trickle import Candidate, TrickleError, read_fragment
from streams.whip_offer import MAX_CANDIDATES, Offer, read_offer

logger = logging.getLogger(__name__)


class WhipConfig(BaseModel):
    """How to meet phones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ice_servers: tuple[str, ...] = ()
    """`stun:host:port` for a server behind NAT; none is needed on one network."""
    public_addresses: tuple[str, ...] = ()
    """Addresses by which others reach this machine (a container's host, 1:1 NAT): offered beside the local ones."""
    loopback: bool | None = None
    """Offer 127.0.0.1: always, never, or (None) only when the machine has no other address."""
    connect_timeout_s: PositiveFloat = 15.0
    """From the answer to the first media packet."""
    silence_s: PositiveFloat = 3.0
    """A phone that sent nothing for so long is gone (ICE itself takes 30 s to notice)."""
    close_timeout_s: PositiveFloat = 2.0
    start_kbps: PositiveInt = 2500
    min_kbps: PositiveInt = 600
    max_kbps: PositiveInt = 6000
    """Bitrates asked of browsers (x-google-*), which otherwise begin at a quarter of the camera's size. The least one
    only where the browser cannot measure the link (no transport-wide feedback): it would hurt a weak one."""
    max_bad_messages: PositiveInt = 100
    """DataChannel messages that follow no rule, before the session is ended."""
    max_send_buffer_bytes: PositiveInt = 64 * 1024
    """Answers to a phone that does not read them are dropped beyond this."""
    clock: ClockConfig = ClockConfig()


@dataclass(frozen=True, slots=True)
class WhipStats:
    """What one session has seen so far."""

    frames: int
    overwritten: int
    """Decoded, but replaced by a newer one before the consumer came."""
    dropped: int
    """Encoded frames given up: lost packets, or a decoder that fell behind."""
    undecodable: int
    oversize: int
    bad_messages: int
    unsent_messages: int
    stray_datagrams: int
    latency_ms: float | None
    """Median of the last frames, from the last packet's arrival to the finished `Frame`."""
    time_source: TimeSource | None


class WhipPeer:
    """Makes sessions of offers."""

    def __init__(self, config: WhipConfig = WhipConfig()) -> None:  # noqa: B008
        self._config = config

    async def accept(self, offer_sdp: bytes, stream: StreamId, intrinsics: Intrinsics | None = None) -> WhipSession:
        """Answer an offer. `intrinsics`: the camera, when somebody knows it already (the page may still correct it).

        Raises:
            RequestRefused: 400, 413 or 422, with what is wrong with the offer.
        """
        offer = read_offer(offer_sdp)
        connection = MendedPeerConnection(self._config.ice_servers, self._config.loopback)
        try:
            answer_sdp, receiver = await self._negotiate(connection, offer)
        except BaseException:
            await connection.close()
            raise
        session = WhipSession(self._config, connection, receiver, offer, answer_sdp, stream, intrinsics)
        session.add_candidates(offer.candidates)
        return session

    async def _negotiate(self, connection: MendedPeerConnection, offer: Offer) -> tuple[str, PromptVideoReceiver]:
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            for transceiver in connection.getTransceivers():
                transceiver.direction = "recvonly" if transceiver.kind == "video" else "inactive"
                if transceiver.kind == "video":
                    measured = connection.agree_on_transport_feedback(transceiver)
                    self._ask_bitrate(transceiver, with_floor=not measured)
            await connection.setLocalDescription()
        except OperationError as error:
            raise RequestRefused(
                422, "Unsuitable SDP offer", "No video codec in common: send VP8, or H264 packetization-mode=1."
            ) from error
        except Exception as error:  # aiortc's parser raises whatever it trips over
            logger.debug("offer refused by the WebRTC stack", exc_info=True)
            raise RequestRefused(400, "Malformed SDP offer", f"The offer cannot be read: {error}") from error
        receiver = next(t.receiver for t in connection.getTransceivers() if t.kind == "video")
        return announce(connection.localDescription.sdp, self._config.public_addresses), receiver

    def _ask_bitrate(self, transceiver: Any, *, with_floor: bool) -> None:
        wanted = {"start": self._config.start_kbps, "max": self._config.max_kbps}
        if with_floor:
            wanted["min"] = self._config.min_kbps
        for codec in transceiver._codecs:
            if codec.name.lower() != "rtx":
                codec.parameters.update({f"x-google-{name}-bitrate": str(kbps) for name, kbps in wanted.items()})


class WhipSession:
    """One phone while it publishes. Lives on the event loop; frames are finished on the decoder's thread.

    Ends by `close`, by the phone leaving, by silence, or by a connection that never comes about; `ended` says why.
    """

    def __init__(
        self,
        config: WhipConfig,
        connection: MendedPeerConnection,
        receiver: PromptVideoReceiver,
        offer: Offer,
        answer_sdp: str,
        stream: StreamId,
        intrinsics: Intrinsics | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.id = secrets.token_urlsafe(18)
        """Unguessable; fit for the session's URL."""
        self.stream = stream
        self.answer_sdp = answer_sdp
        self.frames: Mailbox[Frame] = Mailbox()
        self.ended: asyncio.Future[str] = loop.create_future()
        """Done when the session is over and everything is freed; its result says why."""
        self.info: datachannel.Info | None = None
        """The camera as the page describes it."""
        self._config, self._connection, self._receiver, self._offer = config, connection, receiver, offer
        self._loop = loop
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._num_candidates = 0
        self._channel: Any = None
        self._bad_messages = self._unsent_messages = 0
        self._last_media_s: float | None = None
        self._watch = loop.call_later(config.connect_timeout_s, self._check_silence)

        self._framer = Framer(stream, intrinsics, config.clock)
        receiver.on_packet = self._on_packet
        receiver.on_picture = self._on_picture
        receiver.on_sender_report = self._framer.hear_sender_report
        receiver.on_bye = lambda: self._end("the phone stopped its camera")
        connection.on("datachannel", self._on_channel)
        connection.on("connectionstatechange", self._on_connection_state)

    @property
    def stats(self) -> WhipStats:
        inbox = self._receiver.inbox
        return WhipStats(
            self._framer.num_frames,
            self.frames.overwritten,
            inbox.dropped,
            inbox.undecodable,
            inbox.oversize,
            self._bad_messages,
            self._unsent_messages,
            self._connection.stray_datagrams,
            self._framer.latency_ms,
            self._framer.time_source,
        )

    def trickle(self, body: bytes) -> None:
        """Take the body of a PATCH; answer 204 when this returns.

        Raises:
            RequestRefused: 400 malformed; 422 an ICE restart or too many candidates. The session goes on regardless.
        """
        try:
            fragment = read_fragment(body)
        except TrickleError as error:
            raise RequestRefused(400, "Malformed ICE fragment", f"The fragment cannot be read: {error}.") from error
        if fragment.ufrag != self._offer.ice_ufrag:
            raise RequestRefused(422, "ICE restart not supported", "DELETE this session and POST a new offer.")
        if self._num_candidates + len(fragment.candidates) > MAX_CANDIDATES:
            raise RequestRefused(422, "Too many candidates", f"At most {MAX_CANDIDATES} for one session.")
        self.add_candidates(fragment.candidates)

    def add_candidates(self, candidates: tuple[Candidate, ...]) -> None:
        """Try the peer at these addresses too; names are resolved in the background."""
        self._num_candidates += len(candidates)
        transport = self._receiver.transport.transport
        for c in candidates:
            if c.usable and not self.frames.closed:
                ice = RTCIceCandidate(c.component, c.foundation, c.host, c.port, c.priority, c.protocol, c.type)
                self._spawn(_quietly(transport.addRemoteCandidate(ice)))

    def send(self, message: datachannel.ToPhone) -> bool:
        """Send to the page; False when it has no open channel or does not read what it was sent (dropped, counted)."""
        channel = self._channel
        if (
            channel is None
            or channel.readyState != "open"
            or channel.bufferedAmount > self._config.max_send_buffer_bytes
        ):
            self._unsent_messages += channel is not None
            return False
        channel.send(datachannel.write_message(message))
        return True

    async def close(self, reason: str = "closed by the server") -> None:
        """End the session and free everything, within `close_timeout_s`."""
        self._end(reason)
        await asyncio.shield(self.ended)

    def _end(self, reason: str) -> None:
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(reason))

    async def _close(self, reason: str) -> None:
        self._watch.cancel()
        self.frames.close()
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.wait_for(self._connection.close(), self._config.close_timeout_s)
        except TimeoutError:
            logger.warning("a WebRTC session did not close in time", extra={"stream": self.stream})
        logger.info("stream ended: %s", reason, extra={"stream": self.stream})
        self.ended.set_result(reason)

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- on the event loop ---------------------------------------------------------------------------------------------

    def _on_connection_state(self) -> None:
        state = self._connection.connectionState
        if state == "failed":
            self._end("no connection: the phone cannot reach this server by UDP, or DTLS failed")
        elif state == "closed":
            self._end("the phone left")

    def _on_packet(self, packet: Any) -> None:
        first = self._last_media_s is None
        self._last_media_s = self._loop.time()
        if first:
            self._watch.cancel()
            self._watch = self._loop.call_later(self._config.silence_s, self._check_silence)

    def _check_silence(self) -> None:
        if self._last_media_s is None:
            self._end(f"no media within {self._config.connect_timeout_s:g} s of the answer")
            return
        due_s = self._last_media_s + self._config.silence_s
        if self._loop.time() >= due_s:
            self._end(f"no media for {self._config.silence_s:g} s")
        else:
            self._watch = self._loop.call_at(due_s, self._check_silence)

    def _on_channel(self, channel: Any) -> None:
        if channel.label != datachannel.LABEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._on_message)

    def _on_message(self, data: str | bytes) -> None:
        now_ns = time.time_ns()
        try:
            message = datachannel.read_message(data)
        except datachannel.MessageError as error:
            self._bad_messages += 1
            logger.debug("bad message from a phone: %s", error)
            if self._bad_messages > self._config.max_bad_messages:
                self._end(f"{self._bad_messages} malformed messages, the last one: {error}")
            return
        match message:
            case datachannel.Ping(t0=t0):
                self.send(datachannel.Pong(t0=t0, t1=now_ns / NS_PER_MS, t2=time.time_ns() / NS_PER_MS))
            case datachannel.Info():
                self.info = message
                self._framer.hear(message, now_ns)
            case None:
                pass
            case _:
                self._framer.hear(message, now_ns)

    # -- on the decoder's thread ---------------------------------------------------------------------------------------

    def _on_picture(self, picture: av.VideoFrame, rtp: int, complete_ns: int) -> None:
        try:
            self.frames.put(self._framer.frame(picture, rtp, complete_ns))
        except ValueError as error:
            logger.debug("frame dropped: %s", error)


def announce(sdp: str, addresses: tuple[str, ...]) -> str:
    """Add to an answer, for each host candidate, the same port at other addresses of this machine."""
    lines: list[str] = []
    for line in sdp.splitlines():
        lines.append(line)
        fields = line.removeprefix("a=candidate:").split()
        if line.startswith("a=candidate:") and fields[6:8] == ["typ", "host"]:
            for i, address in enumerate(addresses):
                lines.append("a=candidate:" + " ".join([f"pub{i}", *fields[1:4], address, *fields[5:8]]))
    return "\r\n".join(lines) + "\r\n"


async def _quietly(coroutine: Any) -> None:
    """A candidate that cannot be used is no reason to end anything."""
    with contextlib.suppress(OSError, ValueError):
        await coroutine
