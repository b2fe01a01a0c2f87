/** Publishing one camera by WHIP (RFC 9725): one POST with a complete offer, one DELETE to leave. */

import { Api, ApiError } from "../sdk/api.js";

export interface Publication {
  readonly peer: RTCPeerConnection;
  readonly channel: RTCDataChannel;
  readonly sender: RTCRtpSender;
  readonly sessionUrl: URL;
  /** The server's name for this camera. */
  readonly streamId: string;
}

const CHANNEL_LABEL = "commonground";
const GATHERING_TIMEOUT_MS = 2000;
const LEAVE_TIMEOUT_MS = 3000;
const MAX_BITRATE_BPS = 4_000_000;

/**
 * Connect the track to a scene.
 *
 * @param prepare called with the sender before the offer leaves (transforms must be in place by then)
 * @throws ApiError when the server refuses; TypeError when it cannot be reached
 */
export async function publish(
  api: Api,
  scene: string,
  track: MediaStreamTrack,
  prepare: (sender: RTCRtpSender) => void,
): Promise<Publication> {
  const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  try {
    // Unordered: a pose that waits for a lost older one would only arrive stale.
    const channel = peer.createDataChannel(CHANNEL_LABEL, { ordered: false });
    const transceiver = peer.addTransceiver(track, { direction: "sendonly" });
    preferHardwareCodec(transceiver);
    prepare(transceiver.sender);
    await peer.setLocalDescription();
    await gathered(peer);
    const response = await api.request(`v1/scenes/${encodeURIComponent(scene)}/whip`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription?.sdp ?? "",
    });
    const location = response.headers.get("Location");
    if (location === null) throw new ApiError(502, "The server's answer names no session.");
    const sessionUrl = new URL(location, response.url);
    await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
    await keepResolution(transceiver.sender);
    return { peer, channel, sender: transceiver.sender, sessionUrl, streamId: lastSegment(sessionUrl) };
  } catch (error) {
    peer.close();
    throw error;
  }
}

/** End the session, then the connection: the other way round the server would find a session that is gone already. */
export async function leave(api: Api, { peer, sessionUrl }: Publication): Promise<void> {
  const farewell = { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(LEAVE_TIMEOUT_MS) };
  await api.request(sessionUrl, farewell).catch(() => undefined); // out of reach: the server notices the silence by itself
  peer.close();
}

/** H264 first: phones encode it in hardware, and the server decodes it in half the time of VP8. */
function preferHardwareCodec(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  const isH264 = (codec: RTCRtpCodec): boolean => codec.mimeType.toLowerCase() === "video/h264";
  if (!codecs.some(isH264)) return;
  transceiver.setCodecPreferences([...codecs.filter(isH264), ...codecs.filter((codec) => !isH264(codec))]);
}

/** On a weak link geometry is better served by fewer frames than by smaller ones. */
async function keepResolution(sender: RTCRtpSender): Promise<void> {
  const parameters = sender.getParameters();
  parameters.degradationPreference = "maintain-resolution";
  for (const encoding of parameters.encodings) encoding.maxBitrate = MAX_BITRATE_BPS;
  try {
    await sender.setParameters(parameters);
  } catch {
    // not every browser takes these; the stream works without
  }
}

function gathered(peer: RTCPeerConnection): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      if (peer.iceGatheringState === "complete") resolve();
    };
    peer.addEventListener("icegatheringstatechange", done);
    setTimeout(resolve, GATHERING_TIMEOUT_MS);
    done();
  });
}

function lastSegment(url: URL): string {
  return decodeURIComponent(url.pathname.split("/").filter(Boolean).at(-1) ?? "");
}
