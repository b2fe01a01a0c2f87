/** The phone page: asks once, then keeps this camera on the map until it is told to stop. */

import { Api } from "../sdk/api.js";
import { byId } from "../page/dom.js";
import { DEFAULT_SCENE, readLink } from "../page/link.js";
import { Camera } from "./camera.js";
import { eraseAll, remember } from "./erasure.js";
import { Hud } from "./hud.js";
import { requestMotionPermission, watchMotion } from "./motion.js";
import { tellPrivacy } from "./privacy.js";
import { PhoneSession, type SessionState } from "./session.js";
import { FrameStamps } from "./stamps.js";
import { cameraTrouble, missingSupport, sceneTrouble, serverTrouble, type Trouble } from "./trouble.js";

/** After a longer sleep a connection that looks alive may be dead; after a glance at another page it is not. */
const MAX_SLEEP_MS = 5000;

class PhonePage {
  private readonly link = readLink(new URL(location.href));
  private readonly scene = this.link.scene ?? DEFAULT_SCENE;
  private readonly api = new Api(document.baseURI, this.link.token === null ? {} : { token: this.link.token });
  private readonly video = byId<HTMLVideoElement>("preview");
  private readonly camera = new Camera(this.video);
  private readonly hud = new Hud();
  private session: PhoneSession | null = null;
  private stamps: FrameStamps | null = null;
  private unwatchMotion: (() => void) | null = null;
  private wakeLock: WakeLockSentinel | null = null;
  private hiddenSinceMs: number | null = null;

  open(): void {
    byId("sceneLine").textContent = `Map: ${this.scene}`;
    byId("go").onclick = byId("again").onclick = byId("retry").onclick = () => void this.begin();
    byId("stop").onclick = () => void this.stop();
    byId("lens").onclick = () => void this.switchLens();
    byId("delete").onclick = () => void this.erase();
    byId("closePrivacy").onclick = () => byId<HTMLDialogElement>("privacy").close();
    for (const button of document.querySelectorAll<HTMLElement>("[data-opens]")) {
      button.onclick = () => byId<HTMLDialogElement>(button.dataset.opens ?? "").showModal();
    }
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.wake();
      else this.hiddenSinceMs = performance.now();
    });
    addEventListener("online", () => void this.resume());
    addEventListener("pagehide", () => void this.session?.stop());
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) void this.resume();
    });
    screen.orientation?.addEventListener("change", () => this.session?.reportCamera());
    this.video.addEventListener("resize", () => this.session?.reportCamera());
    void tellPrivacy(this.api);
    this.showTrouble(missingSupport() ?? sceneTrouble(this.scene));
  }

  /** Runs inside a tap: both permissions are asked for here and nowhere else. */
  private async begin(): Promise<void> {
    const missing = missingSupport() ?? sceneTrouble(this.scene);
    if (missing !== null) return this.showTrouble(missing);
    this.showTrouble(null);
    void this.session?.stop();
    const motionAllowed = requestMotionPermission(); // first: iOS asks only in the tap's own turn
    const track = await this.openCamera();
    if (track === null) return;
    this.show("live");
    this.hud.reset();
    this.stamps ??= new FrameStamps(this.video);
    this.session = new PhoneSession(this.api, this.scene, track, this.stamps, {
      onState: (state, trouble) => this.onState(state, trouble),
      onPose: (pose, latencyMs) => this.hud.showPose(pose, latencyMs),
      onLate: (late) => this.hud.showLate(late),
      onNotice: (_level, text) => this.hud.showNotice(text),
    });
    void this.session.start();
    void this.keepAwake();
    byId("lens").hidden = !(await this.camera.hasOthers());
    if (await motionAllowed) {
      this.unwatchMotion ??= watchMotion(
        () => this.camera.facing,
        (sample) => this.session?.reportMotion(sample),
      );
    }
  }

  private async stop(): Promise<void> {
    const left = this.session?.stop();
    this.session = null;
    this.unwatchMotion?.();
    this.unwatchMotion = null;
    this.camera.close();
    void this.wakeLock?.release();
    this.showTrouble(null);
    this.show("ended");
    await left;
  }

  private wake(): void {
    const sleptMs = performance.now() - (this.hiddenSinceMs ?? 0);
    if (sleptMs < MAX_SLEEP_MS && this.session?.isConnected && this.camera.isUsable) void this.keepAwake();
    else void this.resume();
  }

  /** After sleep, a call or another app: phones end tracks and sockets without a word. */
  private async resume(): Promise<void> {
    const { session } = this;
    if (session === null) return;
    void this.keepAwake();
    const track = this.camera.isUsable ? this.camera.track : await this.openCamera();
    if (track !== null && session === this.session) void session.start(track);
  }

  private async switchLens(): Promise<void> {
    await this.camera.chooseNext();
    const track = await this.openCamera();
    if (track !== null) void this.session?.start(track); // another lens is another camera: a stream of its own
  }

  private async openCamera(): Promise<MediaStreamTrack | null> {
    try {
      const track = await this.camera.open();
      track.onended = () => void this.resume();
      return track;
    } catch (error) {
      this.showTrouble(cameraTrouble(error));
      return null;
    }
  }

  private async keepAwake(): Promise<void> {
    if (!("wakeLock" in navigator)) return;
    this.wakeLock = await navigator.wakeLock.request("screen").catch(() => null); // refused on low battery
  }

  private async erase(): Promise<void> {
    const result = byId("deleteResult");
    result.textContent = "Deleting …";
    if (this.session !== null) await this.stop();
    try {
      const streams = await eraseAll(this.api);
      result.textContent = streams > 0 ? "Erased: pictures, previews and path of your camera." : "There is nothing of yours here.";
    } catch (error) {
      const { title, advice } = serverTrouble(error);
      result.textContent = `Not deleted: ${title.toLowerCase()}. ${advice} Then press the button again.`;
    }
  }

  private onState(state: SessionState, trouble: Trouble | null): void {
    const streamId = this.session?.streamId;
    if (streamId) remember(streamId);
    document.body.dataset.session = state;
    this.hud.showState(state);
    this.showTrouble(trouble);
  }

  private show(view: "start" | "live" | "ended"): void {
    for (const id of ["start", "live", "ended"]) byId(id).hidden = id !== view;
  }

  private showTrouble(trouble: Trouble | null): void {
    byId("trouble").hidden = trouble === null;
    byId("troubleTitle").textContent = trouble?.title ?? "";
    byId("troubleAdvice").textContent = trouble?.advice ?? "";
    const isFinal = trouble?.isFinal ?? false;
    byId("retry").hidden = (trouble?.retry ?? false) || isFinal;
    byId<HTMLButtonElement>("go").disabled = isFinal;
  }
}

new PhonePage().open();
