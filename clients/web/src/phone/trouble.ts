/** Every way it can fail, told to the person holding the phone: what happened and what to do next. */

import { ApiError } from "../sdk/api.js";

export interface Trouble {
  readonly title: string;
  readonly advice: string;
  /** Whether trying again by itself can help; otherwise somebody has to do something first. */
  readonly retry: boolean;
  readonly retryAfterS?: number;
  /** Nothing on this page can help: no button offers to try. */
  readonly isFinal?: true;
}

/** What is missing before the camera is even asked for, or null. */
export function missingSupport(): Trouble | null {
  if (!window.isSecureContext) {
    return {
      title: "This address is not secure",
      advice: "Browsers give the camera only to https pages. Scan the QR code again, or put https:// before the address.",
      retry: false,
      isFinal: true,
    };
  }
  if (!navigator.mediaDevices?.getUserMedia || typeof RTCPeerConnection === "undefined") {
    return {
      title: "This browser cannot send video",
      advice: "Open the link in Safari, Chrome or Firefox itself, not inside another app.",
      retry: false,
      isFinal: true,
    };
  }
  return null;
}

/** A link can name anything; null where a map may be called so. */
export function sceneTrouble(scene: string): Trouble | null {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(scene)) return null;
  return {
    title: "This link names no map",
    advice: `“${scene.slice(0, 64)}” cannot be a map’s name. Scan the QR code again, or ask for the link once more.`,
    retry: false,
    isFinal: true,
  };
}

export function cameraTrouble(error: unknown): Trouble {
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return {
        title: "The camera is blocked",
        advice: "Tap the lock or “aA” beside the address, allow the camera for this page, then try again.",
        retry: false,
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return { title: "No camera found", advice: "Use a phone with a camera on its back, then try again.", retry: false };
    case "NotReadableError":
    case "AbortError":
      return { title: "The camera is busy", advice: "Close the other app that uses it, then try again.", retry: false };
    default:
      return { title: "The camera did not start", advice: `Reload the page and try again. (${String(error)})`, retry: false };
  }
}

export function serverTrouble(error: unknown): Trouble {
  if (!(error instanceof ApiError)) {
    return {
      title: "The server is out of reach",
      advice: "Check that this phone is on the same network as the server. Trying again by itself …",
      retry: true,
    };
  }
  switch (error.status) {
    case 401:
    case 403:
      return { title: "This link has expired", advice: "Scan the QR code again to get a fresh one.", retry: false };
    case 404:
    case 405:
      return { title: "This map is closed", advice: "Ask for the link of the map that is running now.", retry: false };
    case 429:
    case 503: {
      const wait = error.retryAfterS ?? 5;
      return { title: "The server is full", advice: "A place is taken as soon as one is free …", retry: true, retryAfterS: wait };
    }
    default:
      return {
        title: "The server refused the video",
        advice: `${error.message} (${error.status})`,
        retry: error.status >= 500,
      };
  }
}
