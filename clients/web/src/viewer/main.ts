/** The viewer page: follows a scene and shows what is known, how old it is and where the time went. */

import { Api } from "../page/api.js";
import { byId } from "../page/dom.js";
import { DEFAULT_SCENE, readLink } from "../page/link.js";
import { connect, type ConnectionState, type Subscription } from "../sdk/client.js";
import type { Change } from "../sdk/map.js";
import type { SceneInfo } from "../sdk/protocol.js";
import { Framing } from "./framing.js";
import { JoinCard } from "./join.js";
import { LatencyMeter } from "./latency.js";
import { PathTool, requestPath } from "./path.js";
import { PhoneList } from "./phones.js";
import { Stage } from "./stage.js";
import { showConnection, showScene, showScenes } from "./status.js";
import { WaterfallView } from "./waterfall.js";
import { SHOWN, type Shown, World } from "./world.js";

const PANEL_REFRESH_MS = 250;

class ViewerPage {
  private readonly address = new URL(location.href);
  private readonly link = readLink(this.address);
  private readonly api = new Api(new URL(document.baseURI), this.link.token);
  private readonly canvas = byId<HTMLCanvasElement>("stage");
  private readonly stage = new Stage(this.canvas);
  private readonly world = new World(this.stage, (what) => console.warn("unreadable tile:", what));
  private readonly framing = new Framing(this.stage, this.world);
  private readonly meter = new LatencyMeter();
  private readonly waterfall = new WaterfallView(byId("waterfall"));
  private readonly phones = new PhoneList(byId("phones"), (stream) => this.follow(stream));
  private readonly client = connect(document.baseURI, {
    name: "viewer",
    ...(this.link.token !== null && { token: this.link.token }),
  });
  private readonly join = new JoinCard(this.api, () => this.scene, this.link.mayInvite);
  private readonly path = new PathTool(
    this.stage,
    this.canvas,
    () => this.world.nav.meshes,
    (from, to, agent) => requestPath(this.api, this.scene)(from, to, agent),
    (text) => this.hint(text),
  );
  private scene = this.link.scene ?? "";
  private scenes: readonly SceneInfo[] = [];
  private subscription: Subscription | null = null;
  private followed: string | null = null;
  /** True once the snapshot is complete: only what comes after it tells about latency now. */
  private isLive = false;

  open(): void {
    this.client.on("welcome", ({ scenes }) => this.greet(scenes));
    this.client.on("state", ({ state }) => this.onConnection(state));
    this.client.on("error", ({ detail, fatal }) => showConnection(fatal ? "closed" : this.client.state, detail));
    this.stage.onDrawn = () => this.meter.drawn(this.client.serverNowNs());
    this.stage.onTakenOver = () => {
      this.framing.stop();
      this.setFollowed(null);
    };
    for (const layer of SHOWN) this.wireToggle(layer);
    byId("frame").onclick = () => this.showAll();
    byId("pathTool").onclick = () => this.togglePath();
    byId("invite").onclick = () => this.toggleInvitation();
    byId<HTMLSelectElement>("scenes").onchange = ({ target }) => this.choose((target as HTMLSelectElement).value);
    document.addEventListener("visibilitychange", () => this.client.reconnectNow());
    addEventListener("online", () => this.client.reconnectNow());
    addEventListener("pagehide", () => this.client.close());
    setInterval(() => this.refreshPanels(), PANEL_REFRESH_MS);
    this.refreshPanels();
  }

  private greet(scenes: readonly SceneInfo[]): void {
    this.scenes = scenes;
    if (!this.scene) this.scene = scenes.find(({ scene }) => scene === DEFAULT_SCENE)?.scene ?? scenes[0]?.scene ?? DEFAULT_SCENE;
    if (this.subscription === null) this.choose(this.scene);
    void this.join.refresh(true);
    showScenes(this.scenes, this.scene);
  }

  private choose(scene: string): void {
    this.subscription?.close();
    this.world.clear();
    this.meter.clear();
    this.framing.restart();
    this.setFollowed(null);
    this.isLive = false;
    this.scene = scene;
    this.address.searchParams.set("scene", scene);
    history.replaceState(null, "", this.address);
    const subscription = this.client.subscribe(scene);
    subscription.on("change", (change) => this.onChange(change, subscription));
    this.subscription = subscription;
    showScenes(this.scenes, scene);
    void this.join.refresh(true);
  }

  private onChange(change: Change, { map }: Subscription): void {
    if (change.kind === "scene") this.isLive = false;
    if (change.kind === "complete") this.isLive = true;
    if (change.kind === "set") this.meter.received(change.entry.delta, this.client.serverNowNs(), this.isLive);
    this.world.apply(change, map);
    this.framing.contentChanged();
  }

  private onConnection(state: ConnectionState): void {
    showConnection(state);
    document.body.dataset.connection = state;
  }

  private follow(stream: string): void {
    this.framing.stop();
    this.setFollowed(this.followed === stream ? null : stream);
  }

  private setFollowed(stream: string | null): void {
    if (stream === this.followed) return;
    this.followed = stream;
    this.world.cameras.lookThrough(stream);
    this.stage.setFollow(stream === null ? null : () => this.world.cameras.eye(stream));
  }

  private showAll(): void {
    this.setFollowed(null);
    this.framing.restart();
    this.framing.contentChanged();
  }

  private togglePath(): void {
    const pressed = byId("pathTool").getAttribute("aria-pressed") !== "true";
    byId("pathTool").setAttribute("aria-pressed", String(pressed));
    this.canvas.classList.toggle("picking", pressed);
    this.path.setEnabled(pressed);
  }

  private toggleInvitation(): void {
    const card = byId("inviteCard");
    card.hidden = !card.hidden;
    byId("invite").setAttribute("aria-pressed", String(!card.hidden));
    void this.join.refresh();
  }

  private wireToggle(layer: Shown): void {
    const box = byId<HTMLInputElement>(`show-${layer}`);
    const apply = (): void => this.world.setVisible(layer, box.checked);
    box.onchange = apply;
    apply();
  }

  private hint(text: string): void {
    byId("hint").textContent = text;
    byId("hint").hidden = text === "";
  }

  private refreshPanels(): void {
    const nowNs = this.client.serverNowNs();
    const views = this.world.cameras.views;
    const isEmpty = this.subscription === null || this.subscription.map.size === 0;
    this.phones.update(views, nowNs, this.followed);
    this.waterfall.update(this.meter, nowNs);
    for (const layer of SHOWN) byId(`count-${layer}`).textContent = String(this.world.count(layer) || "");
    showScene(this.subscription?.map.info ?? null, views, this.world.nav.areaM2);
    byId("empty").hidden = !isEmpty || this.client.state !== "open" || !byId("inviteCard").hidden;
    byId("invite").hidden = !this.join.isAvailable;
    byId("sides").dataset.empty = String(isEmpty);
    if (!byId("empty").hidden || !byId("inviteCard").hidden) void this.join.refresh();
  }
}

new ViewerPage().open();
