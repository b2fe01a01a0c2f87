/**
 * A connection to a Commonground server that stays up: hello, clock, subscriptions, acknowledgements, and after a loss a
 * resume that receives only what changed meanwhile.
 */

import { ClockEstimate, localNowNs } from "./clock.js";
import { Listeners } from "./events.js";
import { type Change, SceneMap } from "./map.js";
import {
  CLOSE_BAD_MESSAGE,
  CLOSE_UNAUTHORIZED,
  CLOSE_UNSUPPORTED,
  type ClientMessage,
  CODECS,
  decode,
  DEFAULT_LAYERS,
  encode,
  type Layer,
  type Part,
  ProtocolError,
  type Roi,
  type ServerMessage,
  SUBPROTOCOL,
  type Welcome,
} from "./protocol.js";
import { openSocket } from "./socket.js";

export type ConnectionState = "connecting" | "open" | "waiting" | "closed";

export interface ClientOptions {
  token?: string;
  /** Shown in the server's logs and metrics. */
  name?: string;
  /** Largest message this client can take, for engines whose sockets are bounded. */
  maxMessageBytes?: number;
  /** For tests and for runtimes without a global WebSocket. */
  openSocket?: (url: string, subprotocol: string) => WebSocket;
}

export interface SubscribeOptions {
  layers?: readonly Layer[];
  roi?: Roi;
  /** At most this many updates a second for each key. */
  maxHz?: number;
  /** Whose nav tiles to receive; every agent's if left out. */
  agents?: readonly string[];
  /** What nav tiles bring besides polygons: `detail` the heights between corners, `blob` the tile for Detour. */
  parts?: readonly Part[];
}

interface ClientEvents {
  /** `closeCode` says why a connection is waited for, e.g. `CLOSE_TOO_SLOW`; 1006 or 0 where the server said nothing. */
  state: { state: ConnectionState; retryInMs?: number; closeCode?: number };
  welcome: Welcome;
  /** What the server refused, or why the connection cannot come back; says what to do. */
  error: { code: string; detail: string; fatal: boolean };
}

interface SubscriptionEvents {
  change: Change;
}

const ACK_INTERVAL_MS = 250;
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 8000;
const WELCOME_TIMEOUT_MS = 5000;

/** One scene of the connection; `map` is its newest state and `change` fires for every step of it. */
export class Subscription {
  readonly map = new SceneMap();
  readonly listeners = new Listeners<SubscriptionEvents>();
  readonly on = this.listeners.on.bind(this.listeners);

  constructor(
    readonly scene: string,
    private options: SubscribeOptions,
    private readonly send: (message: ClientMessage) => void,
    private readonly forget: () => void,
  ) {}

  updateRoi(roi: Roi | null): void {
    const { roi: _, ...rest } = this.options;
    this.options = roi === null ? rest : { ...rest, roi };
    this.send({ t: "update_roi", scene: this.scene, roi });
  }

  /** Ask for something else from the next connection on, as after one that brought too much. */
  askNextFor(options: SubscribeOptions): void {
    this.options = options;
  }

  close(): void {
    this.send({ t: "unsubscribe", scene: this.scene });
    this.forget();
  }

  /** The message that (re)starts this subscription; after a loss it says where we had got to. */
  request(): ClientMessage {
    const { layers = DEFAULT_LAYERS, roi, maxHz, agents, parts } = this.options;
    const { resume } = this.map;
    return {
      t: "subscribe",
      scene: this.scene,
      layers,
      ...(roi && { roi }),
      ...(maxHz !== undefined && { max_hz: maxHz }),
      ...(resume && { resume }),
      ...(agents && { agents }),
      ...(parts && { parts }),
      codecs: CODECS,
    };
  }
}

export class MapClient {
  readonly clock = new ClockEstimate();
  private readonly listeners = new Listeners<ClientEvents>();
  readonly on = this.listeners.on.bind(this.listeners);
  private readonly subscriptions = new Map<string, Subscription>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private socket: WebSocket | null = null;
  private currentState: ConnectionState = "connecting";
  private welcomed = false;
  private retryMs = FIRST_RETRY_MS;
  private ackedSeq = 0;

  constructor(
    private readonly url: string,
    private readonly options: ClientOptions = {},
  ) {
    this.connect();
  }

  get state(): ConnectionState {
    return this.currentState;
  }

  /** Server time now, Unix ns; exact to half the fastest round trip. */
  serverNowNs(): bigint {
    return this.clock.toServer(localNowNs());
  }

  /** Follow a scene; asking again for the same scene replaces the earlier request and keeps its map. */
  subscribe(scene: string, options: SubscribeOptions = {}): Subscription {
    const subscription = new Subscription(
      scene,
      options,
      (message) => this.send(message),
      () => this.subscriptions.delete(scene),
    );
    this.subscriptions.set(scene, subscription);
    this.send(subscription.request());
    return subscription;
  }

  /** Try again now rather than after the pause: call it when the page becomes visible or the network returns. */
  reconnectNow(): void {
    if (this.currentState === "waiting") this.connect();
  }

  close(): void {
    this.setState("closed");
    this.dropSocket();
  }

  private connect(): void {
    this.dropSocket();
    this.setState("connecting");
    const socket = (this.options.openSocket ?? openSocket)(this.url, SUBPROTOCOL);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.greet(socket);
    socket.onmessage = (event: MessageEvent<unknown>) => this.receive(socket, event.data);
    socket.onclose = (event) => this.lost(socket, event.code, event.reason);
    this.after(WELCOME_TIMEOUT_MS, () => {
      if (!this.welcomed) this.lost(socket, 0, "the server did not answer");
    });
  }

  private greet(socket: WebSocket): void {
    const { token, name = "web", maxMessageBytes } = this.options;
    const hello: ClientMessage = {
      t: "hello",
      client: name,
      ...(token && { token }),
      ...(maxMessageBytes !== undefined && { max_message_bytes: maxMessageBytes }),
    };
    socket.send(encode(hello));
  }

  private receive(socket: WebSocket, data: unknown): void {
    if (socket !== this.socket || !(data instanceof ArrayBuffer)) return;
    let message: ServerMessage | null;
    try {
      message = decode(data);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.listeners.emit("error", { code: "bad_message", detail: error.message, fatal: false });
      socket.close(CLOSE_BAD_MESSAGE, "bad message");
      return;
    }
    if (message !== null) this.dispatch(message);
  }

  private dispatch(message: ServerMessage): void {
    switch (message.t) {
      case "welcome":
        this.start(message);
        break;
      case "pong":
        this.clock.add(message.t0_ns, message.t1_ns, message.t2_ns, localNowNs());
        break;
      case "error":
        this.listeners.emit("error", { code: message.code, detail: message.detail, fatal: false });
        break;
      default: {
        const scene = typeof message.scene === "string" ? message.scene : message.scene.scene;
        const subscription = this.subscriptions.get(scene);
        if (subscription === undefined) return;
        for (const change of subscription.map.apply(message)) subscription.listeners.emit("change", change);
      }
    }
  }

  private start(welcome: Welcome): void {
    this.welcomed = true;
    this.retryMs = FIRST_RETRY_MS;
    this.ackedSeq = 0;
    for (const subscription of this.subscriptions.values()) this.send(subscription.request());
    this.setState("open");
    this.listeners.emit("welcome", welcome); // after the requests: a listener may subscribe, which sends its own
    this.ping(1);
    this.acknowledge();
  }

  private ping(count: number): void {
    this.send({ t: "ping", t0_ns: localNowNs() });
    this.after(this.clock.nextPingMs(count), () => this.ping(count + 1));
  }

  private acknowledge(): void {
    const seq = Math.max(0, ...[...this.subscriptions.values()].map((subscription) => subscription.map.seq));
    if (seq > this.ackedSeq) {
      this.ackedSeq = seq;
      this.send({ t: "ack", seq, applied_ns: this.serverNowNs() });
    }
    this.after(ACK_INTERVAL_MS, () => this.acknowledge());
  }

  private send(message: ClientMessage): void {
    if (this.welcomed && this.socket?.readyState === 1) this.socket.send(encode(message));
  }

  private lost(socket: WebSocket, code: number, reason: string): void {
    if (socket !== this.socket || this.currentState === "closed") return;
    this.dropSocket();
    const advice = FATAL_CLOSES[code];
    if (advice !== undefined) {
      this.setState("closed");
      this.listeners.emit("error", { code: String(code), detail: reason ? `${advice} (${reason})` : advice, fatal: true });
      return;
    }
    const retryInMs = this.retryMs * (0.5 + Math.random() / 2);
    this.retryMs = Math.min(2 * this.retryMs, LAST_RETRY_MS);
    this.after(retryInMs, () => this.connect());
    this.setState("waiting", { retryInMs, closeCode: code });
  }

  private dropSocket(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    const socket = this.socket;
    this.socket = null;
    this.welcomed = false;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState <= 1) socket.close(1000);
  }

  private after(delayMs: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      action();
    }, delayMs);
    this.timers.add(timer);
  }

  private setState(state: ConnectionState, why: { retryInMs?: number; closeCode?: number } = {}): void {
    this.currentState = state;
    this.listeners.emit("state", { state, ...why });
  }
}

const FATAL_CLOSES: Readonly<Record<number, string>> = {
  [CLOSE_UNAUTHORIZED]: "The server did not accept the token: ask for a new link.",
  [CLOSE_UNSUPPORTED]: "The server speaks another version of the protocol: update this client.",
};

/** The WebSocket address of a server's page address. */
export function socketUrl(server: string | URL): string {
  const url = new URL("v1/map", server);
  url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
  url.hash = "";
  return url.href;
}

/** Connect to a server, e.g. `connect("https://cameras.example:8443", { token })`. */
export function connect(server: string | URL, options: ClientOptions = {}): MapClient {
  return new MapClient(socketUrl(server), options);
}
