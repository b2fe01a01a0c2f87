import { readFileSync } from "node:fs";
import { decode, type Delta, type ServerMessage } from "../src/sdk/protocol.js";

/** Bytes of a golden frame, as a WebSocket would deliver them. */
export function frame(name: string): ArrayBuffer {
  return Uint8Array.from(readFileSync(new URL(`./fixtures/${name}.bin`, import.meta.url))).buffer;
}

export function message<T extends ServerMessage["t"]>(name: string, t: T): Extract<ServerMessage, { t: T }> {
  const decoded = decode(frame(name));
  if (decoded?.t !== t) throw new Error(`${name} is a ${String(decoded?.t)}`);
  return decoded as Extract<ServerMessage, { t: T }>;
}

export function delta(changes: Partial<Delta> = {}): Delta {
  return {
    t: "delta",
    scene: "main",
    seq: 1,
    epoch: 0,
    layer: "nav",
    key: [0, 0, "walker"],
    ver: 1,
    capture_ns: 1n,
    infer_ns: 2n,
    publish_ns: 3n,
    body: {},
    arrays: {},
    ...changes,
  };
}
