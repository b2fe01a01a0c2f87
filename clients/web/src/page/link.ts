/**
 * What the link that opened this page says. The token rides in the fragment (`#token=...&scene=...`), which browsers
 * never send to a server or write into a referrer.
 */

export interface Link {
  readonly token: string | null;
  readonly scene: string | null;
}

export const DEFAULT_SCENE = "main";

export function readLink(address: URL): Link {
  const fragment = address.hash.replace(/^#/, "");
  const fields = new URLSearchParams(fragment.includes("=") ? fragment : `token=${fragment}`);
  const token = fields.get("token") || null;
  return { token, scene: fields.get("scene") ?? address.searchParams.get("scene") ?? sceneOfToken(token) };
}

/** The scene a token grants, read without verifying it: only to ask for the right one, the server decides. */
function sceneOfToken(token: string | null): string | null {
  const payload = token?.split(".")[1];
  if (payload === undefined) return null;
  try {
    const claims: unknown = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    const scene = typeof claims === "object" && claims !== null && "scene" in claims ? claims.scene : null;
    return typeof scene === "string" && scene !== "*" ? scene : null;
  } catch {
    return null;
  }
}
