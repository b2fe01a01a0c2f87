import { Decoder } from "@msgpack/msgpack";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connect, type ConnectionState, MapClient, socketUrl } from "../src/sdk/client.js";
import { CLOSE_TOO_SLOW, CLOSE_UNAUTHORIZED, SUBPROTOCOL } from "../src/sdk/protocol.js";
import { frame } from "./fixtures.js";

type Sent = Readonly<Record<string, unknown>>;

/** A socket whose other end is this test. */
class FakeSocket {
  binaryType = "";
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly sent: Sent[] = [];
  closedWith: number | null = null;

  constructor(
    readonly url: string,
    readonly subprotocol: string,
  ) {}

  send(bytes: Uint8Array): void {
    this.sent.push(new Decoder({ useBigInt64: true }).decode(bytes.subarray(4)) as Sent);
  }

  close(code: number): void {
    this.closedWith = code;
    this.readyState = 3;
  }

  accept(): void {
    this.readyState = 1;
    this.onopen?.();
    this.deliver("welcome");
  }

  deliver(name: string): void {
    this.onmessage?.({ data: frame(name) });
  }

  drop(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }

  kinds(): unknown[] {
    return this.sent.map(({ t }) => t);
  }
}

const sockets: FakeSocket[] = [];

function open(token?: string): MapClient {
  return connect("https://map.example:8443/phone.html#token=x", {
    ...(token !== undefined && { token }),
    openSocket: (url, subprotocol) => {
      const socket = new FakeSocket(url, subprotocol);
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
  });
}

function newest(): FakeSocket {
  const socket = sockets.at(-1);
  if (socket === undefined) throw new Error("no socket was opened");
  return socket;
}

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
});
afterEach(() => vi.useRealTimers());

describe("MapClient", () => {
  it("says what to give where the runtime has no WebSocket", () => {
    vi.stubGlobal("WebSocket", undefined);
    expect(() => connect("https://map.example:8443")).toThrow(/give the option `openSocket`/);
    vi.unstubAllGlobals();
  });

  it("says hello with its token, in the first message and not in the address", () => {
    open("secret");
    expect(newest().url).toBe("wss://map.example:8443/v1/map");
    expect(newest().subprotocol).toBe(SUBPROTOCOL);
    newest().accept();
    expect(newest().sent[0]).toEqual({ t: "hello", client: "web", token: "secret" });
  });

  it("subscribes once it is welcome, also when asked before", () => {
    const client = open();
    client.subscribe("main", { layers: ["nav"], roi: { radius_m: 5, follow: "s1" }, maxHz: 10 });
    expect(newest().sent).toEqual([]);
    newest().accept();
    expect(newest().sent[1]).toEqual({
      t: "subscribe",
      scene: "main",
      codecs: ["meshopt", "short"],
      layers: ["nav"],
      roi: { radius_m: 5, follow: "s1" },
      max_hz: 10,
    });
  });

  it("asks once for a scene that the welcome made it choose", () => {
    const client = open();
    client.on("welcome", ({ scenes }) => client.subscribe(scenes[0]?.scene ?? ""));
    newest().accept();
    expect(newest().kinds().filter((t) => t === "subscribe")).toHaveLength(1);
  });

  it("acknowledges what it applied, every 250 ms and only news", () => {
    const client = open();
    client.subscribe("main");
    newest().accept();
    for (const name of ["snapshot_begin", "nav", "snapshot_end"]) newest().deliver(name);
    vi.advanceTimersByTime(1000);
    const acks = newest().sent.filter(({ t }) => t === "ack");
    expect(acks.map(({ seq }) => seq)).toEqual([43]);
    expect(typeof acks[0]?.applied_ns).toBe("bigint");
  });

  it("pings eight times quickly, then every five seconds", () => {
    open();
    newest().accept();
    vi.advanceTimersByTime(1000);
    const quick = newest().kinds().filter((t) => t === "ping").length;
    expect(quick).toBe(8);
    vi.advanceTimersByTime(10_000);
    expect(newest().kinds().filter((t) => t === "ping")).toHaveLength(10);
  });

  it("comes back after a loss and resumes from the last synced", () => {
    const client = open();
    const subscription = client.subscribe("main");
    newest().accept();
    for (const name of ["snapshot_begin", "nav", "snapshot_end", "synced"]) newest().deliver(name);
    newest().drop();
    expect(client.state).toBe("waiting");
    vi.advanceTimersByTime(250);
    expect(sockets).toHaveLength(2);
    newest().accept();
    expect(newest().sent[1]).toMatchObject({
      t: "subscribe",
      resume: { lineage: "lineage-a", seq: 41, roi: { radius_m: 4, center_m: [1, 0, 2] } },
    });
    expect(subscription.map.size).toBe(1);
  });

  it("waits longer after each failure, up to eight seconds", () => {
    const client = open();
    const waits: number[] = [];
    client.on("state", ({ retryInMs }) => retryInMs !== undefined && waits.push(retryInMs));
    for (let i = 0; i < 9; i++) {
      newest().drop();
      vi.advanceTimersByTime(8000);
    }
    expect(waits[0]).toBeLessThanOrEqual(250);
    expect(waits[8]).toBeGreaterThanOrEqual(4000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(8000);
  });

  it("says why it waits, and asks for less from then on when told to", () => {
    const client = open();
    const subscription = client.subscribe("main");
    const codes: unknown[] = [];
    client.on("state", ({ state, closeCode }) => {
      if (state !== "waiting") return;
      codes.push(closeCode);
      subscription.askNextFor({ layers: ["nav"], maxHz: 1 });
    });
    newest().accept();
    newest().drop(CLOSE_TOO_SLOW);
    expect(newest().sent.filter(({ t }) => t === "subscribe")).toHaveLength(1);
    vi.advanceTimersByTime(250);
    newest().accept();
    expect(codes).toEqual([4008]);
    expect(newest().sent[1]).toMatchObject({ t: "subscribe", scene: "main", layers: ["nav"], max_hz: 1 });
  });

  it("tries again at once when told to, and not twice", () => {
    const client = open();
    newest().drop();
    client.reconnectNow();
    client.reconnectNow();
    vi.advanceTimersByTime(300);
    expect(sockets).toHaveLength(2);
  });

  it("gives up a server that accepts but never welcomes", () => {
    open();
    newest().readyState = 1;
    newest().onopen?.();
    vi.advanceTimersByTime(5000);
    expect(newest().closedWith).toBe(1000);
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
  });

  it("stops for good at a bad token and says what to do", () => {
    const client = open("old");
    const errors: string[] = [];
    const states: ConnectionState[] = [];
    client.on("error", ({ detail, fatal }) => fatal && errors.push(detail));
    client.on("state", ({ state }) => states.push(state));
    newest().accept();
    newest().drop(CLOSE_UNAUTHORIZED);
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
    expect(states.at(-1)).toBe("closed");
    expect(errors[0]).toMatch(/new link/);
  });

  it("hears nothing after close", () => {
    const client = open();
    newest().accept();
    client.close();
    expect(newest().closedWith).toBe(1000);
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
  });

  it("closes on a frame that is not of the protocol, and comes back", () => {
    const client = open();
    const details: string[] = [];
    client.on("error", ({ detail }) => details.push(detail));
    newest().accept();
    newest().onmessage?.({ data: new ArrayBuffer(2) });
    expect(newest().closedWith).toBe(4400);
    expect(details).toHaveLength(1);
  });

  it("sends changes of one scene to its own subscription only", () => {
    const client = open();
    const main = client.subscribe("main");
    const other = client.subscribe("other");
    const heard: string[] = [];
    main.on("change", ({ kind }) => heard.push(kind));
    other.on("change", () => heard.push("other"));
    newest().accept();
    newest().deliver("snapshot_begin");
    newest().deliver("nav");
    main.close();
    newest().deliver("mesh");
    expect(heard).toEqual(["scene", "set"]);
    expect(newest().sent.at(-1)).toEqual({ t: "unsubscribe", scene: "main" });
  });
});

it("keeps a server's scheme, port and folder", () => {
  expect(socketUrl("http://127.0.0.1:8080/")).toBe("ws://127.0.0.1:8080/v1/map");
  expect(socketUrl("https://host/maps/?scene=a#token=b")).toBe("wss://host/maps/v1/map");
});
