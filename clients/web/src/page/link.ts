/**
 * What the link that opened this page says. The token rides in the fragment (`#token=...&scene=...`), which browsers
 * never send to a server or write into a referrer.
 */

export interface Link {
  readonly token: string | null;
  readonly scene: string | null;
  /** Whether asking for an invitation makes sense: without a token this machine may be an administrator's own. */
  readonly mayInvite: boolean;
  /** Whether changing what stands in the map makes sense. */
  readonly mayMake: boolean;
}

export const DEFAULT_SCENE = "main";

export function readLink(address: URL): Link {
  const fragment = address.hash.replace(/^#/, "");
  const fields = new URLSearchParams(fragment.includes("=") ? fragment : `token=${fragment}`);
  const token = fields.get("token") || null;
  const { scene, role } = claimsOf(token);
  return {
    token,
    scene: fields.get("scene") ?? address.searchParams.get("scene") ?? (scene === "*" ? null : scene),
    mayInvite: token === null || role === "admin",
    mayMake: token === null || role === "admin" || role === "publish",
  };
}

/** What a token grants, read without verifying it: only to ask for the right things, the server decides. */
function claimsOf(token: string | null): { scene: string | null; role: string | null } {
  const payload = token?.split(".")[1];
  let claims: unknown = null;
  try {
    claims = JSON.parse(atob((payload ?? "").replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    // not a JWT: the server will say what it thinks of it
  }
  const read = (name: string): string | null => {
    const value = typeof claims === "object" && claims !== null ? (claims as Readonly<Record<string, unknown>>)[name] : null;
    return typeof value === "string" ? value : null;
  };
  return { scene: read("scene"), role: read("role") };
}
