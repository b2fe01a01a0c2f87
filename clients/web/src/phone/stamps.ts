/** Feeds a CaptureClock from the two places of a browser that know times of frames; a no-op where they are missing. */

import { CaptureClock } from "./capture.js";

export class FrameStamps {
  private current = new CaptureClock();
  private readonly worker: Worker | null;

  constructor(video: HTMLVideoElement) {
    this.worker = "RTCRtpScriptTransform" in window ? openWorker() : null;
    if (this.worker === null) return;
    this.worker.onmessage = ({ data }: MessageEvent<{ rtp: number; seenMs: number }>) =>
      this.current.addEncoded(data.rtp, data.seenMs);
    if ("requestVideoFrameCallback" in video) this.watch(video);
  }

  get clock(): CaptureClock {
    return this.current;
  }

  /** Look at the frames this sender encodes, from an RTP origin of its own; call before the offer. */
  attach(sender: RTCRtpSender): void {
    this.current = new CaptureClock();
    if (this.worker !== null) sender.transform = new RTCRtpScriptTransform(this.worker);
  }

  private watch(video: HTMLVideoElement): void {
    video.requestVideoFrameCallback((_now, { captureTime }) => {
      if (captureTime !== undefined) this.current.addCaptured(performance.timeOrigin + captureTime);
      this.watch(video);
    });
  }
}

function openWorker(): Worker {
  return new Worker(new URL("./stamps.worker.ts", import.meta.url), { type: "module" });
}
