/**
 * Assets that change while a page shows them: bind a slot, and forget about it.
 *
 *     const bus = connectAssets("https://cameras.example:8443", { token });
 *     bus.bind("proxy_chair", { prepare: (v) => loadGlb(v.data), commit: show, rollback: show });
 *
 * Whatever is put into the slot is downloaded and checked, prepared, and shown by all clients on the same frame; when it
 * turns out bad for too many, all show the old one again. Lost connections are taken up where they broke off.
 */

import { type Access, Api } from "./api.js";
import { type AssetFile, Binding, type Callbacks, type Goal, type Surroundings } from "./asset-slot.js";
import { ClockEstimate, localNowNs } from "./clock.js";
import { Listeners } from "./events.js";
import { CLOSE_BAD_MESSAGE, CLOSE_UNAUTHORIZED, ProtocolError, Reader } from "./protocol.js";
import { openSocket } from "./socket.js";

export { type Accept, type AssetFile, Binding, type Callbacks, type Prepared, type Ref } from "./asset-slot.js";

export const ASSET_SUBPROTOCOL = "commonground.assets.v1";

export interface AssetOptions extends Access {
  /** Shown in the server's logs. */
  readonly name?: string;
  /** For tests, and for runtimes without these. */
  readonly openSocket?: (url: string, subprotocol: string) => WebSocket;
  /** Calls back between two frames; `requestAnimationFrame` where there is one. */
  readonly onFrame?: (callback: () => void) => void;
}

/** An event as the server told it; `type` says what else it holds. */
export type AssetEvent = Readonly<Record<string, unknown>> & { readonly type: string };

interface AssetEvents {
  event: AssetEvent;
  state: "connecting" | "open" | "waiting" | "closed";
  /** Why the connection ended for good. */
  error: string;
}

/** The server keeps so many of a connection. */
const MOST_BOUND = 256;
const QUICK_PINGS = 4;
const [QUICK_PING_MS, PING_MS] = [100, 5000];
const [FIRST_RETRY_MS, LAST_RETRY_MS] = [250, 8000];

export class AssetBus {
  private readonly listeners = new Listeners<AssetEvents>();
  readonly on = this.listeners.on.bind(this.listeners);
  private readonly clock = new ClockEstimate();
  private readonly bindings = new Map<string, Binding<unknown>>();
  private readonly around: Surroundings;
  private readonly api: Api;
  private socket: WebSocket | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isGreeted = false;
  private isClosed = false;
  private retryMs = FIRST_RETRY_MS;
  private pings = 0;
  /** Of the newest event that was seen. */
  seq = 0;
  private epoch = "";

  constructor(
    private readonly server: string | URL,
    private readonly options: AssetOptions = {},
  ) {
    this.api = new Api(server, options);
    this.around = {
      fetch: (file, signal) => this.fetch(file, signal),
      acknowledge: (slot, rev, isReady, reason) =>
        this.send({ type: "ack", slot, rev, state: isReady ? "ready" : "failed", ...(reason && { reason }) }),
      waitMs: (atMs) => (atMs === 0 ? 0 : atMs - Number(this.clock.toServer(localNowNs()) / 1000n) / 1000),
      onFrame: options.onFrame ?? nextFrame,
    };
    this.connect();
  }

  /** No slot more can be bound. */
  get isFull(): boolean {
    return this.bindings.size >= MOST_BOUND;
  }

  /** Show whatever is in a slot, from now on. @throws Error when it is bound already, or the bus is full */
  bind<R>(slot: string, callbacks: Callbacks<R>): Binding<R> {
    if (this.bindings.has(slot)) throw new Error(`slot ${slot} is bound already`);
    if (this.isFull) throw new Error(`at most ${MOST_BOUND} slots can be bound`);
    const binding = new Binding<R>(slot, callbacks, this.around);
    this.bindings.set(slot, binding as Binding<unknown>);
    this.send({ type: "bind", slot });
    return binding;
  }

  /** Show it no more; its resources are freed. */
  unbind(slot: string): void {
    this.bindings.get(slot)?.close();
    this.bindings.delete(slot);
    this.send({ type: "unbind", slot });
  }

  close(): void {
    this.isClosed = true;
    for (const binding of this.bindings.values()) binding.close();
    this.drop();
    this.listeners.emit("state", "closed");
  }

  /** The bytes of a file, checked against its hash (which browsers do on secure origins only). */
  async fetch(file: AssetFile, signal?: AbortSignal): Promise<ArrayBuffer> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const response = await this.api.request(`v1/blobs/sha256/${file.sha256}`, signal && { signal });
      const data = await response.arrayBuffer();
      if (data.byteLength === file.size && (await matches(data, file))) return data;
    }
    throw new Error(`the blob ${file.sha256} came with other bytes`);
  }

  private connect(): void {
    this.listeners.emit("state", "connecting");
    const url = new URL("v1/assets/events", this.server);
    url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
    url.hash = "";
    if (this.epoch) url.searchParams.set("since", String(this.seq));
    const socket = (this.options.openSocket ?? openSocket)(url.href, ASSET_SUBPROTOCOL);
    this.socket = socket;
    socket.onopen = () => {
      const { token, name = "web" } = this.options;
      const hello = { type: "hello", client: name, ...(token && { token }), ...(this.epoch && { epoch: this.epoch }) };
      socket.send(JSON.stringify(hello));
    };
    socket.onmessage = (message: MessageEvent<unknown>) => this.receive(socket, message.data);
    socket.onclose = (event) => this.lost(socket, event.code, event.reason);
  }

  private receive(socket: WebSocket, data: unknown): void {
    if (socket !== this.socket || typeof data !== "string") return;
    try {
      this.hear(JSON.parse(data) as AssetEvent);
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof SyntaxError)) throw error;
      socket.close(1002, "bad message");
    }
  }

  private hear(heard: AssetEvent): void {
    const r = new Reader(heard);
    if (typeof heard["seq"] === "number" && heard.type !== "hello") this.seq = Math.max(this.seq, heard["seq"]);
    switch (heard.type) {
      case "hello":
        this.greet(r);
        break;
      case "pong": {
        const [t0, t1, t2] = ["t0_ms", "t1_ms", "t2_ms"].map((name) => BigInt(Math.round(r.number(name) * 1000)) * 1000n);
        this.clock.add(t0 ?? 0n, t1 ?? 0n, t2 ?? 0n, localNowNs());
        break;
      }
      case "resync":
        for (const slot of this.bindings.keys()) this.send({ type: "bind", slot });
        break;
      default: {
        const slot = heard["slot"];
        const binding = typeof slot === "string" ? this.bindings.get(slot) : undefined;
        if (binding) direct(binding, heard);
      }
    }
    this.listeners.emit("event", heard);
  }

  private greet(r: Reader): void {
    const epoch = r.string("epoch");
    if (epoch !== this.epoch) {
      for (const binding of this.bindings.values()) binding.restarted();
      [this.epoch, this.seq] = [epoch, r.number("seq")];
    }
    this.isGreeted = true;
    this.retryMs = FIRST_RETRY_MS;
    this.pings = 0;
    for (const [slot, binding] of this.bindings) {
      this.send({ type: "bind", slot });
      binding.reconnected();
    }
    this.listeners.emit("state", "open");
    this.ping();
  }

  /** Keeps the clock, and says what is held. */
  private ping(): void {
    const held = [...this.bindings].flatMap(([slot, one]) => one.held.map((ref) => [slot, ref.asset, ref.version]));
    this.send({ type: "ping", t0_ms: Number(localNowNs() / 1000n) / 1000, held: held.slice(0, MOST_BOUND) });
    this.timer = setTimeout(() => this.ping(), ++this.pings < QUICK_PINGS ? QUICK_PING_MS : PING_MS);
  }

  private send(message: Readonly<Record<string, unknown>>): void {
    if (this.isGreeted && this.socket?.readyState === 1) this.socket.send(JSON.stringify(message));
  }

  private lost(socket: WebSocket, code: number, reason: string): void {
    if (socket !== this.socket || this.isClosed) return;
    this.drop();
    if (code === CLOSE_UNAUTHORIZED || code === CLOSE_BAD_MESSAGE) {
      this.listeners.emit("error", reason || "The server does not accept this client.");
      this.close();
      return;
    }
    this.listeners.emit("state", "waiting");
    this.timer = setTimeout(() => this.connect(), this.retryMs * (0.5 + Math.random() / 2));
    this.retryMs = Math.min(2 * this.retryMs, LAST_RETRY_MS);
  }

  private drop(): void {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    this.isGreeted = false;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState <= 1) socket.close(1000);
  }
}

/** Tell a binding what an event, or a view of its slot, means for it. */
function direct(binding: Binding<unknown>, heard: AssetEvent): void {
  switch (heard.type) {
    case "slot.prepare":
      binding.prepare(goal(heard, 0));
      break;
    case "slot.commit":
    case "slot.rolled_back":
      if (heard["to"]) binding.show(goal(heard, new Reader(heard).number("commit_at_ms")));
      break;
    case "slot.settled":
      if (heard["to"]) binding.show(goal(heard, 0));
      binding.settle(new Reader(heard).number("rev"));
      break;
    case "slot.removed":
      binding.restarted();
      break;
    case "bound": {
      const view = heard["view"] as Fields | null;
      const swap = (view?.["swap"] ?? null) as Fields | null;
      if (view === null) return;
      const isComing = swap?.["phase"] === "prepare";
      const rev = new Reader(view).number("rev");
      if (view["current"]) {
        const atMs = swap === null || isComing ? 0 : new Reader(swap).number("commit_at_ms");
        binding.show(goal({ ...view, type: heard.type, to: view["current"], rev: isComing ? rev - 1 : rev }, atMs));
      }
      if (isComing) binding.prepare(goal({ ...swap, type: heard.type, rev }, 0));
    }
  }
}

type Fields = Readonly<Record<string, unknown>>;

function goal(heard: AssetEvent, atMs: number): Goal {
  const r = new Reader(heard);
  const to = new Reader(r.value("to") as Fields);
  const files = r.list("files").map((file) => readFile(file as Fields));
  const isRollback = heard.type === "slot.rolled_back";
  return { rev: r.number("rev"), asset: to.string("asset"), version: to.number("version"), files, atMs, isRollback };
}

function readFile(fields: Fields): AssetFile {
  const r = new Reader(fields);
  return {
    role: r.string("role"),
    format: r.string("format"),
    sha256: r.string("sha256"),
    size: r.number("size"),
    mime: typeof fields["mime"] === "string" ? fields["mime"] : "application/octet-stream",
    extensions: Array.isArray(fields["extensions"]) ? fields["extensions"].map(String) : [],
    triangles: typeof fields["triangles"] === "number" ? fields["triangles"] : null,
  };
}

async function matches(data: ArrayBuffer, file: AssetFile): Promise<boolean> {
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") === file.sha256;
}

/** Between two frames where there are frames; at once where nothing is drawn. */
function nextFrame(callback: () => void): void {
  if (typeof requestAnimationFrame === "function" && globalThis.document?.visibilityState === "visible") {
    requestAnimationFrame(() => callback());
  } else callback();
}

/** Connect to a server's asset bus, e.g. `connectAssets("https://cameras.example:8443", { token })`. */
export function connectAssets(server: string | URL, options: AssetOptions = {}): AssetBus {
  return new AssetBus(server, options);
}
