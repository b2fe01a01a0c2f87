/** The runtime's own WebSocket, for those who are given no other way to open one. */

/** @throws Error where there is none: Node before 22 */
export function openSocket(url: string, subprotocol: string): WebSocket {
  if (typeof WebSocket === "undefined") {
    throw new Error("this runtime has no WebSocket: give the option `openSocket`, such as (url, protocol) => new WS(url, protocol) with the package ws");
  }
  return new WebSocket(url, subprotocol);
}
