"""A phone made of GStreamer: publishes by WHIP from webrtcbin, a WebRTC stack that shares no code with ours.

Run by the system's Python (`/usr/bin/python3`), which has GStreamer's bindings:

    apt-get install gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \\
        gstreamer1.0-plugins-ugly gstreamer1.0-nice python3-gi gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0

    /usr/bin/python3 gst_sender.py https://host:port/whip --token T --codec vp8 --frames 300 [--images 'rgb/%06d.jpg']

Exits 0 when all frames were sent, 2 when GStreamer or a plugin of it is missing, 1 on any other failure.
"""

import argparse
import ssl
import sys
import urllib.error
import urllib.request

try:
    import gi

    for name in ("Gst", "GstSdp", "GstWebRTC"):
        gi.require_version(name, "1.0")
    from gi.repository import GLib, Gst, GstSdp, GstWebRTC
except (ImportError, ValueError) as error:
    print(f"GStreamer's Python bindings are missing: {error}", file=sys.stderr)
    sys.exit(2)

ENCODERS = {
    "vp8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 target-bitrate=1500000 ! rtpvp8pay pt=96",
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=1500"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96",
}
NEEDED = ("webrtcbin", "nicesrc", "dtlsenc", "srtpenc", "videoconvert", "rtpvp8pay", "jpegdec")


class Sender:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.loop, self.session, self.failure = options, GLib.MainLoop(), None, None
        if options.images:
            source = f"multifilesrc location={options.images} loop=true caps=image/jpeg,framerate=30/1 ! jpegdec"
        else:
            source = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=480,framerate=30/1"
        self.pipeline = Gst.parse_launch(
            f"webrtcbin name=peer bundle-policy=max-bundle {source} ! identity name=count sync=true"
            f" ! videoconvert ! queue ! {ENCODERS[options.codec]} name=pay ! peer."
        )
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("on-negotiation-needed", self.negotiate)
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("notify::connection-state", self.connection_changed)
        self.sent = 0
        self.pipeline.get_by_name("pay").get_static_pad("src").add_probe(
            Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, self.count
        )
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self.fail(message.parse_error()[0].message))

    def run(self) -> None:
        GLib.timeout_add_seconds(self.options.timeout, lambda: self.fail("time is up"))
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        if self.session:
            self.request("DELETE", self.session, None)
        if self.failure:
            raise SystemExit(f"failed: {self.failure}")

    def fail(self, why: str) -> bool:
        self.failure = why
        self.loop.quit()
        return False

    def negotiate(self, peer) -> None:
        transceiver = peer.emit("get-transceiver", 0)
        transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        promise = Gst.Promise.new_with_change_func(self.offered, None)
        peer.emit("create-offer", None, promise)

    def offered(self, promise, _) -> None:
        reply = promise.get_reply()  # owns the offer, so it must outlive it
        self.peer.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def gathered(self, peer, _) -> None:
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.publish)

    def publish(self) -> bool:
        offer = self.peer.get_property("local-description").sdp.as_text()
        try:
            answer, location = self.request("POST", self.options.url, offer.encode())
        except urllib.error.HTTPError as error:
            return self.fail(f"HTTP {error.code}: {error.read().decode()}")
        except OSError as error:
            return self.fail(str(error))
        self.session = urllib.request.urljoin(self.options.url, location) if location else None
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", description, Gst.Promise.new())
        return False

    def request(self, method: str, url: str, body):
        headers = {"Content-Type": "application/sdp"}
        if self.options.token:
            headers["Authorization"] = f"Bearer {self.options.token}"
        context = ssl._create_unverified_context() if self.options.insecure else None
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return response.read().decode(), response.headers.get("Location")

    def connection_changed(self, peer, _) -> None:
        if peer.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.fail("the WebRTC connection failed")

    def count(self, pad, info):
        connected = GstWebRTC.WebRTCPeerConnectionState.CONNECTED
        if self.peer.get_property("connection-state") == connected:
            self.sent += 1
            if self.sent == self.options.frames:
                GLib.idle_add(self.loop.quit)
        return Gst.PadProbeReturn.OK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--token", default="")
    parser.add_argument("--codec", choices=sorted(ENCODERS), default="vp8")
    parser.add_argument("--frames", type=int, default=300, help="encoded frames to send once connected")
    parser.add_argument("--images", help="printf pattern of JPEGs to play at 30 fps; default: a test pattern")
    parser.add_argument("--timeout", type=int, default=60)
    parser.add_argument("--insecure", action="store_true", help="accept any TLS certificate")
    Gst.init(None)
    missing = [name for name in NEEDED if Gst.ElementFactory.find(name) is None]
    if missing:
        print(f"GStreamer lacks {', '.join(missing)}; see the top of this file", file=sys.stderr)
        sys.exit(2)
    Sender(parser.parse_args()).run()


if __name__ == "__main__":
    main()
