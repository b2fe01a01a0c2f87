/** The phone's camera: the right lens, the right size, and a fresh track whenever the old one ended. */

import type { Facing } from "./motion.js";

const WANTED: MediaTrackConstraints = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30 },
};

export class Camera {
  private stream: MediaStream | null = null;
  private deviceId: string | null = null;

  constructor(private readonly video: HTMLVideoElement) {}

  get track(): MediaStreamTrack | null {
    return this.stream?.getVideoTracks()[0] ?? null;
  }

  get facing(): Facing {
    return this.track?.getSettings().facingMode === "user" ? "user" : "environment";
  }

  get isUsable(): boolean {
    return this.track?.readyState === "live" && !this.track.muted;
  }

  /** Open the camera; the first call must run inside a tap. @throws DOMException as getUserMedia does */
  async open(): Promise<MediaStreamTrack> {
    this.close();
    const which = this.deviceId === null ? { facingMode: { ideal: "environment" } } : { deviceId: { exact: this.deviceId } };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...WANTED, ...which } });
    const [track] = stream.getVideoTracks();
    if (track === undefined) throw new DOMException("no video track", "NotFoundError");
    track.contentHint = "detail";
    await resetZoom(track);
    this.stream = stream;
    this.video.srcObject = stream;
    this.video.classList.toggle("mirrored", this.facing === "user");
    void this.video.play().catch(() => undefined); // autoplay does it where play() is refused
    return track;
  }

  /** Whether another lens could be chosen; browsers tell only after permission was given. */
  async hasOthers(): Promise<boolean> {
    return (await this.lenses()).length > 1;
  }

  /** Choose the next lens for the following `open`: the browser's own choice may be the ultra-wide one. */
  async chooseNext(): Promise<void> {
    const lenses = await this.lenses();
    const current = lenses.findIndex(({ deviceId }) => deviceId === this.track?.getSettings().deviceId);
    this.deviceId = lenses[(current + 1) % lenses.length]?.deviceId ?? null;
  }

  close(): void {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  private async lenses(): Promise<MediaDeviceInfo[]> {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput");
  }
}

/** A zoom left over from another page would change the focal length. */
async function resetZoom(track: MediaStreamTrack): Promise<void> {
  const capabilities: MediaTrackCapabilities & { zoom?: { min: number; max: number } } = track.getCapabilities?.() ?? {};
  if (capabilities.zoom === undefined || capabilities.zoom.min > 1 || capabilities.zoom.max < 1) return;
  const advanced: (MediaTrackConstraintSet & { zoom: number })[] = [{ zoom: 1 }];
  await track.applyConstraints({ ...WANTED, advanced }).catch(() => undefined);
}
