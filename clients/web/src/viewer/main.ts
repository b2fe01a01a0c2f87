/** The viewer page: follows a scene and shows what is known, how old it is and where the time went. */

import { Api } from "../sdk/api.js";
import { byId } from "../page/dom.js";
import { DEFAULT_SCENE, readLink } from "../page/link.js";
import { connectAssets } from "../sdk/assets.js";
import { connect, type ConnectionState, type Subscription } from "../sdk/client.js";
import { Jobs } from "../sdk/jobs.js";
import type { Change } from "../sdk/map.js";
import type { SceneInfo } from "../sdk/protocol.js";
import { MapQueries } from "../sdk/queries.js";
import { AgentChoice } from "./avatars/agents.js";
import { AvatarList } from "./avatars/list.js";
import { Party } from "./avatars/party.js";
import { AvatarTool } from "./avatars/tool.js";
import { Framing } from "./framing.js";
import { JoinCard } from "./join.js";
import { LatencyMeter } from "./latency.js";
import { PathTool } from "./path.js";
import { PhoneList } from "./phones.js";
import { Portion } from "./portion.js";
import { Stage, type View } from "./stage.js";
import { showConnection, showFreshness, showScene, showScenes } from "./status.js";
import { ThingList } from "./things/list.js";
import { Things } from "./things/things.js";
import { ThingTool } from "./things/tool.js";
import { Workshop } from "./things/workshop.js";
import { WaterfallView } from "./waterfall.js";
import { SHOWN, type Shown, World } from "./world.js";

const PANEL_REFRESH_MS = 250;
/** Only one of them gets the clicks. */
const TOOLS = ["avatarTool", "thingTool", "pathTool"] as const;
type Tool = (typeof TOOLS)[number];

class ViewerPage {
  private readonly address = new URL(location.href);
  private readonly link = readLink(this.address);
  private readonly access = this.link.token === null ? {} : { token: this.link.token };
  private readonly api = new Api(document.baseURI, this.access);
  private readonly canvas = byId<HTMLCanvasElement>("stage");
  private readonly stage = new Stage(this.canvas);
  private readonly world = new World(this.stage, (what) => console.warn("unreadable tile:", what));
  private readonly framing = new Framing(this.stage, this.world);
  private readonly meter = new LatencyMeter();
  private readonly waterfall = new WaterfallView(byId("waterfall"));
  private readonly phones = new PhoneList(byId("phones"), (stream) => this.follow(stream));
  private readonly client = connect(document.baseURI, { name: "viewer", ...this.access });
  private readonly join = new JoinCard(this.api, () => this.scene, this.link.mayInvite);
  private readonly queries = new MapQueries(document.baseURI, this.access);
  private readonly path = new PathTool(
    this.stage,
    this.canvas,
    () => this.world.nav.floors(),
    (from, to, agent) => this.queries.path(this.scene, from.toArray(), to.toArray(), { agent }),
    (text) => this.hint(text),
  );
  private readonly assets = connectAssets(document.baseURI, { name: "viewer", ...this.access });
  private readonly things = new Things(this.stage, this.api, this.assets);
  private readonly workshop = new Workshop(
    this.api,
    new Jobs(document.baseURI, this.access),
    this.things,
    () => this.scene,
  );
  private readonly thingList = new ThingList(byId("things"), this.things, this.workshop, this.link.mayMake);
  private readonly thingTool = new ThingTool(
    this.stage,
    this.canvas,
    () => this.world.surfaces(),
    this.things,
    this.workshop,
    this.thingList,
    (text) => this.hint(text),
  );
  private readonly party = new Party({
    stage: this.stage,
    queries: this.queries,
    scene: () => this.scene,
    map: () => this.subscription?.map ?? null,
    floors: (agent) => this.world.nav.floors(agent),
    obstacles: () => this.things.obstacles,
  });
  private readonly agents = new AgentChoice(byId("agentChoice"), byId<HTMLSelectElement>("agents"), this.queries, (agent) =>
    this.world.showAgent(agent.name),
  );
  private readonly avatarTool = new AvatarTool(
    this.stage,
    this.canvas,
    this.party,
    this.world.nav,
    () => this.agents.chosen,
    (text) => this.hint(text),
  );
  private readonly avatarList = new AvatarList(byId("avatars"), this.party, (avatar) => {
    this.party.choose(avatar);
    this.use("avatarTool");
  });
  private scene = this.link.scene ?? "";
  private scenes: readonly SceneInfo[] = [];
  private subscription: Subscription | null = null;
  private readonly portion = new Portion();
  private followed: string | null = null;
  /** Where to come back to from the AR view. */
  private beforeBare: { followed: string | null; view: View } | null = null;
  /** True once the snapshot is complete: only what comes after it tells about latency now. */
  private isLive = false;

  open(): void {
    this.client.on("welcome", ({ scenes }) => this.greet(scenes));
    this.client.on("state", ({ state, closeCode }) => this.onConnection(state, closeCode));
    this.client.on("error", ({ detail, fatal }) => showConnection(fatal ? "closed" : this.client.state, detail));
    this.stage.onDrawn = () => {
      if (this.world.numWaiting === 0) this.meter.drawn(this.client.serverNowNs());
    };
    this.stage.isLoading = () => !this.isLive || this.world.numWaiting > 0;
    this.stage.onTakenOver = () => {
      this.framing.stop();
      this.setFollowed(null);
    };
    for (const layer of SHOWN) this.wireToggle(layer);
    byId("frame").onclick = () => this.showAll();
    this.stage.onTick = (seconds) => {
      this.world.build();
      this.party.tick(seconds);
    };
    this.assets.on("error", (why) => this.hint(`Things stay as they are: ${why}`));
    this.party.onNews = this.workshop.onNews = (text) => this.hint(text);
    for (const tool of TOOLS) byId(tool).onclick = () => this.use(isPressed(tool) ? null : tool);
    byId("arView").onclick = () => this.setBare(!isPressed("arView"));
    byId("layers").onclick = () => this.toggleSheet();
    byId("addAvatar").onclick = () => {
      this.use("avatarTool");
      this.avatarTool.addAnother();
    };
    byId("invite").onclick = () => this.toggleInvitation();
    byId<HTMLSelectElement>("scenes").onchange = ({ target }) => this.choose((target as HTMLSelectElement).value);
    document.addEventListener("visibilitychange", () => {
      this.portion.rest();
      this.client.reconnectNow();
    });
    addEventListener("online", () => this.client.reconnectNow());
    addEventListener("pagehide", () => {
      this.client.close();
      this.assets.close();
    });
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
    this.party.clear();
    this.things.choose(scene);
    this.meter.clear();
    this.framing.restart();
    this.setFollowed(null);
    this.isLive = false;
    this.beforeBare = null;
    this.scene = scene;
    this.address.searchParams.set("scene", scene);
    history.replaceState(null, "", this.address);
    const subscription = this.client.subscribe(scene, this.portion.request);
    subscription.on("change", (change) => this.onChange(change, subscription));
    this.subscription = subscription;
    showScenes(this.scenes, scene);
    void this.agents.load(scene);
    void this.join.refresh(true);
  }

  private onChange(change: Change, { map }: Subscription): void {
    if (change.kind === "scene") this.isLive = false;
    if (change.kind === "complete") this.isLive = true;
    if (change.kind === "set") this.meter.received(change.entry.delta, this.client.serverNowNs(), this.isLive);
    this.world.apply(change, map);
    this.party.mapChanged(change);
    this.framing.contentChanged();
  }

  private onConnection(state: ConnectionState, closeCode = 0): void {
    const isOwnFault = state === "waiting" && this.portion.lost(closeCode, performance.now());
    if (isOwnFault) this.showLess();
    const isTold = isOwnFault || (state === "connecting" && !this.portion.hasPoints);
    showConnection(state, isTold ? "This page could not keep up; showing it again without points …" : "");
    document.body.dataset.connection = state;
  }

  /** The next connection brings what this machine can show; a tick at Points asks for them again. */
  private showLess(): void {
    this.subscription?.askNextFor(this.portion.request);
    byId<HTMLInputElement>("show-points").checked = false;
    this.world.setVisible("points", false);
  }

  private showAllLayers(): void {
    this.portion.restore();
    this.choose(this.scene);
  }

  private follow(stream: string): void {
    this.framing.stop();
    this.setFollowed(this.followed === stream ? null : stream);
  }

  private setFollowed(stream: string | null): void {
    if (stream === this.followed) return;
    this.followed = stream;
    this.world.lookThrough(stream);
    this.stage.setFollow(stream === null ? null : () => this.world.cameras.eye(stream));
  }

  private showAll(): void {
    this.setFollowed(null);
    this.framing.restart();
    this.framing.contentChanged();
  }

  /** Take up one of the tools that clicks go to, or none. */
  private use(tool: Tool | null): void {
    this.hint("");
    for (const one of TOOLS) byId(one).setAttribute("aria-pressed", String(one === tool));
    this.canvas.classList.toggle("picking", tool !== null);
    this.framing.hold(tool !== null);
    this.path.setEnabled(tool === "pathTool");
    this.avatarTool.setEnabled(tool === "avatarTool");
    this.thingTool.setEnabled(tool === "thingTool");
    this.refreshPanels();
  }

  /** Nothing but the virtual, hidden behind the real; through the lens of a phone if there is one. */
  private setBare(isBare: boolean): void {
    byId("arView").setAttribute("aria-pressed", String(isBare));
    this.world.setBare(isBare);
    if (!isBare) return this.leaveBare();
    this.beforeBare = { followed: this.followed, view: this.stage.view };
    const placed = this.world.cameras.views.find(({ stream }) => this.world.cameras.eye(stream) !== null);
    if (this.followed === null && placed !== undefined) this.setFollowed(placed.stream);
  }

  /** Everything is shown as it was before, from where it was. */
  private leaveBare(): void {
    const before = this.beforeBare;
    this.beforeBare = null;
    if (before === null) return;
    this.setFollowed(before.followed);
    if (before.followed === null) this.stage.restore(before.view);
  }

  /** On narrow screens the panels of the left come up as a sheet. */
  private toggleSheet(): void {
    const isOpen = !isPressed("layers");
    byId("layers").setAttribute("aria-pressed", String(isOpen));
    byId("sides").dataset.sheet = isOpen ? "open" : "";
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
    box.onchange = () => {
      apply();
      if (layer === "points" && box.checked && !this.portion.hasPoints) this.showAllLayers();
    };
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
    if (document.visibilityState === "visible") this.portion.beat(performance.now());
    const ageS = views.length === 0 ? null : this.meter.ageS("pose", nowNs);
    const isComplete = isEmpty || (this.isLive && this.world.numWaiting === 0);
    showFreshness({ state: this.client.state, isComplete, ageS });
    byId("avatarCard").hidden = this.party.all.length === 0 && !isPressed("avatarTool");
    byId<HTMLButtonElement>("addAvatar").disabled = this.party.all.length === 0 || this.party.isFull;
    this.avatarList.update();
    byId("thingTool").hidden = !this.link.mayMake;
    byId("thingCard").hidden = this.things.all.length === 0;
    this.thingList.update();
    this.phones.update(views, nowNs, this.followed);
    this.waterfall.update(this.meter, nowNs);
    for (const layer of SHOWN) byId(`count-${layer}`).textContent = String(this.world.count(layer) || "");
    if (!this.portion.hasPoints) byId("count-points").textContent = "left out";
    showScene(this.subscription?.map.info ?? null, views, this.world.nav.areaM2);
    byId("empty").hidden = !isEmpty || this.client.state !== "open" || !byId("inviteCard").hidden;
    byId("invite").hidden = !this.join.isAvailable;
    byId("sides").dataset.empty = String(isEmpty);
    if (!byId("empty").hidden || !byId("inviteCard").hidden) void this.join.refresh();
  }
}

function isPressed(button: string): boolean {
  return byId(button).getAttribute("aria-pressed") === "true";
}

new ViewerPage().open();
