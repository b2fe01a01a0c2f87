/** Which streams this page gave the server, so that all of them can be deleted, also after a reload. */

import type { Api } from "../sdk/api.js";

const STORAGE_KEY = "commonground.streams";
const MAX_REMEMBERED = 50;

export function remember(streamId: string): void {
  const ids = [...remembered().filter((id) => id !== streamId), streamId].slice(-MAX_REMEMBERED);
  sessionStorage.setItem(STORAGE_KEY, JSON.stringify(ids));
}

/** Delete what every remembered stream left on the server. @throws ApiError, TypeError: nothing is forgotten then */
export async function eraseAll(api: Api): Promise<number> {
  const ids = remembered();
  for (const id of ids) {
    await api.request(`v1/streams/${encodeURIComponent(id)}`, { method: "DELETE" });
  }
  sessionStorage.removeItem(STORAGE_KEY);
  return ids.length;
}

function remembered(): string[] {
  try {
    const ids: unknown = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]");
    return Array.isArray(ids) ? ids.filter((id): id is string => typeof id === "string") : [];
  } catch {
    return [];
  }
}
